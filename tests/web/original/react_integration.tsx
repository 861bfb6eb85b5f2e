import { useEffect, useState } from 'react';

interface DoctorQueueData {
  doctor: {
    id: string;
    name: string;
    code: string;
    specialty: string;
  };
  total_appointments: number;
  checked_in_count: number;
  appointments: Array<{
    appointment_id: string;
    slot: number;
    status: string;
    patient: {
      name: string;
      phone: string;
      age: number;
      gender: string;
    };
    queue?: {
      position: number;
      status: string;
      checked_in_at?: string;
    };
  }>;
}

interface CentralQueueData {
  date: string;
  total_appointments: number;
  total_doctors: number;
  doctors: DoctorQueueData[];
  timestamp: string;
}

export function useCentralQueueMonitor(date: string) {
  const [queueData, setQueueData] = useState<CentralQueueData | null>(null);
  const [isConnected, setIsConnected] = useState(false);

  useEffect(() => {
    if (!date) return;

    // No doctor ID needed - central WebSocket!
    const ws = new WebSocket(`ws://localhost:8000/api/v1/ws/queue`);

    ws.onopen = () => {
      setIsConnected(true);
      ws.send(JSON.stringify({
        action: 'subscribe',
        date: date
      }));
    };

    ws.onmessage = (event) => {
      const message = JSON.parse(event.data);
      
      if (message.type === 'snapshot' || message.type === 'update') {
        setQueueData(message.data);
      }
    };

    ws.onerror = () => {
      setIsConnected(false);
    };

    ws.onclose = () => {
      setIsConnected(false);
    };

    // Cleanup
    return () => {
      ws.close();
    };
  }, [date]);

  return { queueData, isConnected };
}

// Usage in component - Central Dashboard
function CentralQueueDashboard({ date }: { date: string }) {
  const { queueData, isConnected } = useCentralQueueMonitor(date);

  if (!isConnected) return <div>Connecting...</div>;
  if (!queueData) return <div>Loading...</div>;

  return (
    <div className="dashboard">
      <h1>Central Queue Monitor - {queueData.date}</h1>
      <div className="stats">
        <div>Total Doctors: {queueData.total_doctors}</div>
        <div>Total Appointments: {queueData.total_appointments}</div>
      </div>
      
      {queueData.doctors.map(doctorData => (
        <div key={doctorData.doctor.id} className="doctor-section">
          <h2>{doctorData.doctor.name}</h2>
          <p>{doctorData.doctor.specialty}</p>
          <p>
            {doctorData.total_appointments} appointments • 
            {doctorData.checked_in_count} checked in
          </p>
          
          {doctorData.appointments.map(appt => (
            <div key={appt.appointment_id} className="appointment">
              <strong>Slot {appt.slot}:</strong> {appt.patient.name}
              {appt.queue && (
                <span> - Position #{appt.queue.position} ({appt.queue.status})</span>
              )}
            </div>
          ))}
        </div>
      ))}
    </div>
  );
}
