wscat -c ws://localhost:8000/api/v1/ws/queue

# Once connected, type:
{"action": "subscribe", "date": "2025-11-17"}
