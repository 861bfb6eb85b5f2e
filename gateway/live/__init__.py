"""The WebSocket: messages, monitors, and one frame for everybody."""
