// What must not compile: a mistake in each line that says so.
import { apply, watch } from './daysheet.js';
import type { ClientMessage, Day } from './daysheet.js';
import { useCentralQueueMonitor } from './use-central-queue-monitor.js';

watch({ department: 'no date' }); // mistake
watch({ date: '2025-11-17', mode: 'fast' }); // mistake
watch({ date: '2025-11-17', onDay: (day) => day.patients }); // mistake
watch({ date: '2025-11-17', onDay: (day) => day.doctors[0]!.appointments[0]!.queue.position }); // mistake
watch({ date: '2025-11-17', doctorId: 'an id', onDay: (day) => day.doctors }); // mistake
watch({ date: '2025-11-17', view: 'public', onDay: (day) => day.doctors[0]!.appointments[0]!.patient.phone }); // mistake
watch({ date: '2025-11-17' }).state = 'live'; // mistake
watch({ date: '2025-11-17', onState: (state) => state === 'open' }); // mistake

export const whole = (day: Day) => apply(day, day); // mistake
export const unknown: ClientMessage = { action: 'watch', date: '2025-11-17' }; // mistake
export const { queue } = useCentralQueueMonitor('2025-11-17'); // mistake
useCentralQueueMonitor('2025-11-17', { date: '2025-11-18' }); // mistake
