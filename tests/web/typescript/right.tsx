// What must compile: a page's author who is told the truth about what there is.
import { apply, watch } from './daysheet.js';
import type { ClientMessage, Day, DayChange, Delta, ServerMessage, Snapshot } from './daysheet.js';
import { useCentralQueueMonitor } from './use-central-queue-monitor.js';

const monitor = watch({
  date: '2025-11-17',
  onDay: (day) => day.doctors.map(({ doctor, clinic }) => `${doctor.name}: ${clinic.waiting} waiting`),
  onState: (state) => state === 'live',
  onEvents: (events, complete) => complete && events.every((event) => event.sequence > 0),
  onError: (error) => error.code.toUpperCase(),
});
const phone: string | null | undefined = monitor.day?.doctors[0]?.appointments[0]?.patient.phone;

watch({ date: '2025-11-17', doctorId: 'an id', onDay: (day) => day.clinic?.room ?? 'no room' });
watch({ date: '2025-11-17', view: 'public', onDay: (day) => day.doctors[0]?.appointments[0]?.patient.name ?? '?' });

export async function follow(url: string): Promise<void> {
  for await (const day of watch({ url, date: '2025-11-17', doctorId: 'an id', view: 'public', heartbeat: null })) {
    console.log(day.doctor.name, day.appointments.map(({ queue }) => queue?.ticket), phone);
  }
}

export function told(message: ServerMessage, day: Day): Day | null {
  switch (message.type) {
    case 'delta':
      return apply(day, (message as Delta<DayChange>).data);
    case 'snapshot':
      return (message as Snapshot<Day>).data;
    case 'heartbeat':
      return message.lag_seconds > 5 ? null : day;
    default:
      return day;
  }
}

export const asked: ClientMessage[] = [
  { action: 'subscribe', date: '2025-11-17', mode: 'delta', resume: { epoch: 'e', sequence: 1 } },
  { action: 'ping' },
];

export function Public() {
  const { queueData, isConnected, stale } = useCentralQueueMonitor('2025-11-17', { view: 'public' });
  return <p>{isConnected && !stale ? queueData?.doctors[0]?.appointments[0]?.patient.name : 'wait'}</p>;
}
