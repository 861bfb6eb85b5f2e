curl -X POST http://localhost:8000/api/v1/checkins \
  -H "Content-Type: application/json" \
  -d '{"appointment_id": "...", "patient_id": "..."}'
