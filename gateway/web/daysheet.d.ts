/** Types of daysheet.js. */

/**
 * `idle` until the first attempt, which is `connecting`; `live`; `stale` while the server is there, but what is shown
 * may be old: it says so, it has not been heard for a while, or something is being asked for again; `reconnecting`
 * while the connection is lost, or could not be made; `closed` is the end.
 */
export type State = 'idle' | 'connecting' | 'live' | 'stale' | 'reconnecting' | 'closed';

/** What to watch, and where. */
export interface Subscription {
  /** YYYY-MM-DD, in the hospital. */
  date: string;
  /** The server, as http, https, ws or wss. By default the one that the page is from; a file has to name it. */
  url?: string;
  /** One doctor alone, in a shape of its own. */
  doctorId?: string;
  /** Only these doctors. */
  doctors?: string[];
  /** Only this department. */
  department?: string;
  /** `public`: what everybody in the waiting room may see. */
  view?: 'full' | 'public';
  /** `delta`, unless told otherwise: only what changes travels. */
  mode?: 'delta' | 'full';
  /** Seconds, 5 to 60, by default 10; null for none, and then a connection that dies in silence is taken for alive. */
  heartbeat?: number | null;
  /** Where there is none at hand, or another one is wanted: Node's `ws`, for instance. */
  WebSocket?: new (url: string) => unknown;
}

export interface Listeners<Shown> {
  /** The newest state. It is never changed: the next one shares with it what stayed the same. */
  onDay?(day: Shown): void;
  onState?(state: State): void;
  /** What happened since the last state. Not `complete`: some of it was missed, or is more than the server tells. */
  onEvents?(events: Happened[], complete: boolean): void;
  /** Something went wrong. It is over if the state is `closed`, and tried again otherwise. */
  onError?(error: QueueError): void;
}

export interface Monitor<Shown> extends AsyncIterable<Shown> {
  readonly state: State;
  /** The newest state, null until there is one. */
  readonly day: Shown | null;
  /** Where `day` stands: a position in the log, and which log. */
  readonly sequence: number | null;
  readonly epoch: string | null;
  /** What last went wrong, until it goes well again. */
  readonly error: QueueError | null;
  /** The end: the socket closes, and no callback is called any more. */
  close(): void;
}

/**
 * What the server refused: `code` is one of its own, or `refused` where it closed the connection for good, or
 * `not_understood` where what it says is no message.
 */
export class QueueError extends Error {
  constructor(code: string, message: string);
  readonly code: string;
}

/** Watches a date from now on. Throws TypeError where `url` is none. */
export function watch(
  options: Subscription & { doctorId: string; view: 'public' } & Listeners<PublicDoctorDay>,
): Monitor<PublicDoctorDay>;
export function watch(
  options: Subscription & { doctorId: string; view?: 'full' } & Listeners<DoctorDay>,
): Monitor<DoctorDay>;
export function watch(
  options: Subscription & { doctorId?: undefined; view: 'public' } & Listeners<PublicDay>,
): Monitor<PublicDay>;
export function watch(
  options: Subscription & { doctorId?: undefined; view?: 'full' } & Listeners<Day>,
): Monitor<Day>;

/** The day, or one doctor's day, after a delta's `data`. Both stay as they are; what did not change is shared. */
export function apply(day: Day, change: DayChange): Day;
export function apply(day: DoctorDay, change: DayChange): DoctorDay;
export function apply(day: PublicDay, change: PublicDayChange): PublicDay;
export function apply(day: PublicDoctorDay, change: PublicDayChange): PublicDoctorDay;

// --- from here on made by scripts/types: what goes over the wire

/** What a subscription shows. */
export type Shown =
  | Day
  | DoctorDay
  | PublicDay
  | PublicDoctorDay;

/** What a delta carries. */
export type Change =
  | DayChange
  | PublicDayChange;

/** All that the server says. */
export type ServerMessage =
  | Snapshot<Shown>
  | Update<Shown>
  | Delta<Change>
  | Heartbeat
  | Status
  | Unsubscribed
  | ReplayEnd
  | Pong
  | ErrorMessage;

/** All that a client says. */
export type ClientMessage =
  | Subscribe
  | Replay
  | Pause
  | Play
  | Seek
  | Unsubscribe
  | Ping;

/**
 * What is another than before in one doctor's block; all of it absolute. Fields that are not there stay.
 *
 * `appointments`: those that changed, whole. `positions`: of those of whom nothing else changed. `removed`: those
 * that are not listed any more.
 */
export interface BlockChange {
  doctor_id: string;
  doctor?: BoardDoctor;
  total_appointments?: number;
  checked_in_count?: number;
  clinic?: ClinicBlock;
  appointments: BoardAppointment[];
  positions: Record<string, number>;
  removed: string[];
}

export interface BoardAppointment {
  appointment_id: string;
  slot: number;
  status: 'cancelled' | 'completed' | 'confirmed' | 'no_show' | 'unseen';
  priority: 'emergency' | 'routine' | 'urgent';
  patient: Patient;
  queue: QueueEntry | null;
}

export interface BoardDoctor {
  id: string;
  name: string;
  code: string;
  specialty: string;
}

/** `booked`: slots held; `waiting`: the line. */
export interface ClinicBlock {
  status: 'closed' | 'finished' | 'open';
  capacity: number;
  booked: number;
  free: number;
  waiting: number;
  starts_at: string;
  slot_minutes: number;
  room: string | null;
  delay_minutes: number;
  note: string | null;
}

/** All clinics of one date. */
export interface Day {
  date: string;
  total_appointments: number;
  total_doctors: number;
  doctors: DoctorBlock[];
  timestamp: string;
}

/**
 * What became another on a date since a sequence: its totals, and the blocks that changed.
 *
 * `removed_doctors`: whose blocks a subscription does not show any more.
 */
export interface DayChange {
  total_appointments: number;
  total_doctors: number;
  doctors: BlockChange[];
  removed_doctors?: string[];
  timestamp: string;
}

/** What changed after `from`. It may be applied to any state from `from` on, and twice. */
export interface Delta<Data> {
  type: 'delta';
  epoch: string;
  from: number;
  sequence: number;
  events: Happened[] | null;
  data: Data;
}

export interface DoctorBlock {
  doctor: BoardDoctor;
  total_appointments: number;
  checked_in_count: number;
  clinic: ClinicBlock;
  appointments: BoardAppointment[];
}

/** One doctor on one date; `clinic` is null where there is none. */
export interface DoctorDay {
  date: string;
  doctor: BoardDoctor;
  total_appointments: number;
  checked_in_count: number;
  clinic: ClinicBlock | null;
  appointments: BoardAppointment[];
  timestamp: string;
}

/** Something was wrong with a message. The connection stays. */
export interface ErrorMessage {
  type: 'error';
  code: 'invalid_date' | 'invalid_json' | 'invalid_message' | 'too_many_subscriptions' | 'unavailable' | 'unknown_action';
  message: string;
}

/** One event that led to a state. A change of a person's details has no doctor and no appointment. */
export interface Happened {
  sequence: number;
  type: string;
  doctor_id: string | null;
  appointment_id: string | null;
}

/**
 * A client whose own sequence is below `sequence` has missed something.
 *
 * `head`: the newest event of the log. `lag_seconds`: how long ago what the server shows was known to be the newest.
 */
export interface Heartbeat {
  type: 'heartbeat';
  sequence: number;
  head: number;
  lag_seconds: number;
  timestamp: string;
}

/** A patient on a board. `age`: whole years on the date shown. */
export interface Patient {
  id: string;
  name: string;
  phone: string | null;
  age: number | null;
  gender: 'female' | 'male' | 'other' | 'unknown';
}

/** Let the replay stand still. */
export interface Pause {
  action: 'pause';
}

/** Are you there? */
export interface Ping {
  action: 'ping';
}

/** Let the replay go on, as fast as before where no speed is given. */
export interface Play {
  action: 'play';
  speed?: number | null;
}

/** The answer to a ping. */
export interface Pong {
  type: 'pong';
  timestamp: string;
}

export interface PublicAppointment {
  appointment_id: string;
  slot: number;
  status: 'cancelled' | 'completed' | 'confirmed' | 'no_show' | 'unseen';
  priority: 'emergency' | 'routine' | 'urgent';
  patient: PublicPatient;
  queue: QueueEntry | null;
}

/** A BlockChange for a display that everybody can read. */
export interface PublicBlockChange {
  doctor_id: string;
  doctor?: BoardDoctor;
  total_appointments?: number;
  checked_in_count?: number;
  clinic?: ClinicBlock;
  appointments: PublicAppointment[];
  positions: Record<string, number>;
  removed: string[];
}

/** A Day for a display that everybody can read. */
export interface PublicDay {
  date: string;
  total_appointments: number;
  total_doctors: number;
  doctors: PublicDoctorBlock[];
  timestamp: string;
}

/** A DayChange for a display that everybody can read. */
export interface PublicDayChange {
  total_appointments: number;
  total_doctors: number;
  doctors: PublicBlockChange[];
  removed_doctors?: string[];
  timestamp: string;
}

export interface PublicDoctorBlock {
  doctor: BoardDoctor;
  total_appointments: number;
  checked_in_count: number;
  clinic: ClinicBlock;
  appointments: PublicAppointment[];
}

/** A DoctorDay for a display that everybody can read. */
export interface PublicDoctorDay {
  date: string;
  doctor: BoardDoctor;
  total_appointments: number;
  checked_in_count: number;
  clinic: ClinicBlock | null;
  appointments: PublicAppointment[];
  timestamp: string;
}

/** A patient as everybody in the waiting room may know them; null for one who wants to be nobody there. */
export interface PublicPatient {
  name: string | null;
}

export interface QueueEntry {
  position: number;
  checked_in_at: string;
  called_at: string | null;
  completed_at: string | null;
  status: 'called' | 'checked_in' | 'completed' | 'in_consultation' | 'no_show' | 'on_hold' | 'unseen';
  ticket: string;
}

/**
 * Show me this date's past, event by event, as it was recorded or as it was in effect.
 *
 * It begins at `from`, or before the first event. All but `date` is optional, and null is the same as left out.
 */
export interface Replay {
  action: 'replay';
  date: string;
  from?: number | string | null;
  speed?: number | null;
  by?: 'effective' | 'recorded' | null;
}

/** A replay has shown all there is. It may still be sought in, and played on when more has happened. */
export interface ReplayEnd {
  type: 'replay_end';
}

/**
 * Where a replay is: the last event in the state, when it was recorded or effective, and its type.
 *
 * A snapshot may stand elsewhere than at an event: `at` is the time that was sought. Before the first event `sequence`
 * is 0 and `event` null. `begins` and `ends`, in a snapshot: the times of the first and the last event of the date's
 * own hours; null where it has none.
 */
export interface Replayed {
  sequence: number;
  at: string;
  event: string | null;
  begins?: string | null;
  ends?: string | null;
}

/** The last state that the client has. */
export interface Resume {
  epoch: string;
  sequence: number;
}

/** Let the replay be elsewhere, and go on from there if it is playing. */
export interface Seek {
  action: 'seek';
  to: number | string;
}

/** The whole state: the first answer to a subscription, to a replay and to a seek. */
export interface Snapshot<Data> {
  type: 'snapshot';
  epoch: string;
  sequence: number;
  data: Data;
  replay?: Replayed;
}

/** Whether boards follow what happens. While they do not, the last one stays; `since` when. */
export interface Status {
  type: 'status';
  live: boolean;
  since: string;
}

/** Show me this date from now on. All but `date` is optional, and null is the same as left out. */
export interface Subscribe {
  action: 'subscribe';
  date: string;
  mode?: 'delta' | 'full' | null;
  resume?: Resume | null;
  heartbeat?: number | null;
  doctors?: string[] | null;
  department?: string | null;
  view?: 'full' | 'public' | null;
}

/** Show me nothing for now: neither a date as it is nor one as it was. */
export interface Unsubscribe {
  action: 'unsubscribe';
}

/** Nothing is shown any more. */
export interface Unsubscribed {
  type: 'unsubscribed';
}

/**
 * The whole state again, after something happened.
 *
 * `from`: the state published before this one. `events`: what happened after it; null where that is more than 100,
 * and none in the public view. In a replay, by effective time, a late entry's state has the `sequence` of newer ones.
 */
export interface Update<Data> {
  type: 'update';
  epoch: string;
  from: number;
  sequence: number;
  events: Happened[] | null;
  data: Data;
  replay?: Replayed;
}
