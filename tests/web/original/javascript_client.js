// Connect to central WebSocket (no doctor ID!)
const ws = new WebSocket('ws://localhost:8000/api/v1/ws/queue');

ws.onopen = () => {
  console.log('Connected to central queue!');
  
  // Subscribe to a date
  ws.send(JSON.stringify({
    action: 'subscribe',
    date: '2025-11-17'
  }));
};

ws.onmessage = (event) => {
  const message = JSON.parse(event.data);
  console.log('Received:', message);
  
  if (message.type === 'snapshot' || message.type === 'update') {
    const data = message.data;
    console.log(`${data.total_doctors} doctors, ${data.total_appointments} appointments`);
    
    // Iterate through all doctors
    data.doctors.forEach(doctorData => {
      console.log(`\nDr. ${doctorData.doctor.name}:`);
      console.log(`  - ${doctorData.total_appointments} appointments`);
      console.log(`  - ${doctorData.checked_in_count} checked in`);
      
      doctorData.appointments.forEach(appt => {
        console.log(`    Slot ${appt.slot}: ${appt.patient.name}`);
      });
    });
  }
};

ws.onerror = (error) => {
  console.error('WebSocket error:', error);
};

ws.onclose = () => {
  console.log('Disconnected');
};
