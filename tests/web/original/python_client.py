import asyncio
import websockets
import json

async def monitor_central_queue():
    uri = "ws://localhost:8000/api/v1/ws/queue"
    
    async with websockets.connect(uri) as websocket:
        # Subscribe to date
        await websocket.send(json.dumps({
            "action": "subscribe",
            "date": "2025-11-17"
        }))
        
        # Listen for updates
        async for message in websocket:
            data = json.loads(message)
            print(f"Received: {data['type']}")
            
            if data['type'] in ['snapshot', 'update']:
                queue = data['data']
                print(f"\nDate: {queue['date']}")
                print(f"Total: {queue['total_doctors']} doctors, {queue['total_appointments']} appointments\n")
                
                for doctor_data in queue['doctors']:
                    doctor = doctor_data['doctor']
                    print(f"Dr. {doctor['name']} ({doctor['specialty']}):")
                    print(f"  {doctor_data['total_appointments']} appointments, {doctor_data['checked_in_count']} checked in")
                    
                    for appt in doctor_data['appointments']:
                        status = f"[{appt['queue']['status']}]" if appt['queue'] else ""
                        print(f"    Slot {appt['slot']}: {appt['patient']['name']} {status}")
                    print()

asyncio.run(monitor_central_queue())
