"""The client: a date, live, as typed and frozen states.

    from gateway.client import watch

    async for day in watch("http://127.0.0.1:8000", date(2025, 11, 17)):
        print(day.total_appointments, [block.clinic.waiting for block in day.doctors])

It goes on until it is left: lost connections are made anew and continued where they ended, so that nothing is shown
twice and nothing is missed. `break` closes the connection soon, `contextlib.aclosing` before the next line. Who wants
to know more than the day takes a Monitor:

    async with Monitor("http://127.0.0.1:8000", date(2025, 11, 17), department="Cardiology") as monitor:
        async for shown in monitor:
            print(shown.sequence, shown.events, monitor.connection)

Both end with a WatchEnded where trying again would change nothing. A date's past is what a Replay shows.
"""

from gateway.client.days import watch
from gateway.client.endings import NotAdmitted, NotUnderstood, Rejected, Unaskable, WatchEnded
from gateway.client.monitor import Monitor
from gateway.client.options import Connection
from gateway.client.replay import Moment, Replay
from gateway.client.shown import Shown

__all__ = [
    "Connection",
    "Moment",
    "Monitor",
    "NotAdmitted",
    "NotUnderstood",
    "Rejected",
    "Replay",
    "Shown",
    "Unaskable",
    "WatchEnded",
    "watch",
]
