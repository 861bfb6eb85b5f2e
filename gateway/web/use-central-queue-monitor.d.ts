import type { Day, DoctorDay, PublicDay, PublicDoctorDay, QueueError, State, Subscription } from './daysheet.js';

/** `queueData`, `isConnected`: as in the original document. The rest is more than that. */
export interface CentralQueueMonitor<Shown> {
  /** The newest state of the date, null until it is here. */
  queueData: Shown | null;
  /** The server is there. */
  isConnected: boolean;
  state: State;
  /** There is something to show, and it may be old. */
  stale: boolean;
  /** What last went wrong, until it goes well again. */
  error: QueueError | null;
}

/** All but the date. In data only: they are compared as JSON. */
export type MonitorOptions = Omit<Subscription, 'date' | 'WebSocket'>;

export function useCentralQueueMonitor(
  date: string,
  options: MonitorOptions & { doctorId: string; view: 'public' },
): CentralQueueMonitor<PublicDoctorDay>;
export function useCentralQueueMonitor(
  date: string,
  options: MonitorOptions & { doctorId: string; view?: 'full' },
): CentralQueueMonitor<DoctorDay>;
export function useCentralQueueMonitor(
  date: string,
  options: MonitorOptions & { doctorId?: undefined; view: 'public' },
): CentralQueueMonitor<PublicDay>;
export function useCentralQueueMonitor(
  date: string,
  options?: MonitorOptions & { doctorId?: undefined; view?: 'full' },
): CentralQueueMonitor<Day>;
