"""One path from end to end: a booking, a check-in and a call travel from HTTP to the monitor."""

from tests.server import Server


async def test_a_booking_a_check_in_and_a_call_travel_to_the_monitor(server: Server) -> None:
    today = await server.today()
    doctor = await server.a_doctor(code="DOC001")
    patient = await server.a_patient(name="John Doe", phone="+1234567890", gender="male")
    async with server.monitor() as monitor:
        await monitor.send_json({"action": "subscribe", "date": today})
        snapshot = await monitor.receive_json()
        assert (snapshot["type"], snapshot["data"]["total_doctors"]) == ("snapshot", 0)

        booked = (await server.post("/appointments", {"doctor_id": doctor, "patient_id": patient, "date": today})).body
        update = await monitor.receive_json()
        assert update["from"] == snapshot["sequence"]
        assert update["sequence"] == booked["sequence"]
        assert [event["type"] for event in update["events"]] == ["ClinicOpened", "AppointmentBooked"]
        (shown,) = update["data"]["doctors"][0]["appointments"]
        assert (shown["appointment_id"], shown["queue"]) == (booked["appointment_id"], None)

        await server.post("/checkins", {"appointment_id": booked["appointment_id"], "patient_id": patient})
        (shown,) = (await monitor.receive_json())["data"]["doctors"][0]["appointments"]
        assert (shown["queue"]["status"], shown["queue"]["position"]) == ("checked_in", 1)
        assert shown["queue"]["ticket"] == "DOC001-1"

        await server.post("/queue/call-next", {"doctor_id": doctor})
        (shown,) = (await monitor.receive_json())["data"]["doctors"][0]["appointments"]
        assert (shown["queue"]["status"], shown["queue"]["position"]) == ("called", 0)
