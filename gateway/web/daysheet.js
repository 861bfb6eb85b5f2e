/**
 * A day of a hospital's queues, kept up to date over the WebSocket of a Daysheet server.
 *
 *   import { watch } from './daysheet.js';
 *
 *   const monitor = watch({ date: '2025-11-17', onDay: draw, onState: mark });
 *   …
 *   monitor.close();
 *
 * or, where one can wait:  for await (const day of watch({ date })) draw(day);
 *
 * It reconnects by itself, asks for what it missed, and says when what it shows may be old. What did not change in a
 * day is the same object as before. No dependency, no build step, and the syntax of 2019, since televisions in waiting
 * rooms have browsers of that age. Types are in daysheet.d.ts.
 */

const PATH = '/api/v1/ws/queue';
const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 20000;
const OPENING_MS = 10000; // then nobody is there, whatever the socket says
const ANSWER_MS = 3000; // the same, of a server that was asked because it may have gone while we were away
const HEARTBEATS_UNTIL_STALE = 1.5;
const HEARTBEATS_UNTIL_LOST = 2.5;
const OPEN = 1;
const POLICY = 1008; // the close code of a server that will say the same next time
const PASSING = ['unavailable', 'rate_limited', 'too_many_subscriptions']; // what it says no to for now only

/**
 * What the server refused: `code` is one of its own, or `refused` where it closed the connection for good, or
 * `not_understood` where what it says is no message.
 */
export class QueueError extends Error {
  constructor(code, message) {
    super(message);
    this.name = 'QueueError';
    this.code = code;
  }
}

/** Watches a date from now on: daysheet.d.ts says how. Throws TypeError where `url` is none. */
export function watch(options) {
  return new Monitor(options);
}

class Monitor {
  constructor(options) {
    this.state = 'idle';
    this.day = null;
    this.epoch = null;
    this.sequence = null; // of `day`, in the log that `epoch` names
    this.error = null; // what last went wrong, until it goes well again

    this._options = options;
    this._callbacks = options;
    this._heartbeatMs = (options.heartbeat === undefined ? 10 : options.heartbeat) * 1000;
    this._address = addressOf(options.url, options.doctorId);
    this._socket = null;
    this._asked = true; // a subscription is not answered yet
    this._behind = false; // the server says that it does not follow what happens
    this._attempts = 0;
    this._retry = undefined; // the timer of the next attempt
    this._patience = undefined; // the timer of somebody who ought to have said something
    this._sleepers = []; // iterators that wait for the next day
    this._hurry = () => this._lookAgain();
    // Not at once: whoever asked first gets hold of what they asked for.
    Promise.resolve().then(() => this._start());
  }

  /** The end: the socket closes, and no callback is called any more. */
  close() {
    if (this.state === 'closed') return;
    this._callbacks = {};
    this._end(null);
  }

  /** Each day as it becomes; the newest only, for who is slow. Leaving the loop closes. Throws what ended it. */
  async *[Symbol.asyncIterator]() {
    let shown = null;
    try {
      while (this.state !== 'closed') {
        if (this.day !== shown) yield (shown = this.day);
        else await new Promise((wake) => this._sleepers.push(wake));
      }
      if (this.error) throw this.error;
    } finally {
      this.close();
    }
  }

  // --- the connection ----------------------------------------------------------------------------

  _start() {
    if (this.state === 'closed') return;
    if (typeof addEventListener === 'function') {
      addEventListener('online', this._hurry);
      addEventListener('visibilitychange', this._hurry);
    }
    this._connect();
  }

  _connect() {
    clearTimeout(this._retry);
    let socket;
    try {
      socket = new (this._options.WebSocket || WebSocket)(this._address);
    } catch (error) { // a page from https may not ask a server without it
      this._end(new QueueError('refused', error.message));
      return;
    }
    this._socket = socket;
    this._behind = false;
    this._expect(OPENING_MS, () => this._lose());
    const ours = (handle) => (event) => { if (this._socket === socket) handle(event); };
    socket.onopen = ours(() => this._subscribe());
    socket.onmessage = ours((event) => this._read(event.data));
    socket.onclose = ours((event) => {
      if (event.code === POLICY) this._end(new QueueError('refused', event.reason || 'the server closed with 1008'));
      else this._lose();
    });
    socket.onerror = () => {}; // onclose says all there is to say; but Node's `ws` throws what nobody listens for
    if (this.state === 'idle') this._become('connecting');
  }

  _subscribe() {
    const { date, doctors, department, view, mode = 'delta' } = this._options;
    const heartbeat = this._heartbeatMs ? this._heartbeatMs / 1000 : undefined;
    const resume = this.day ? { epoch: this.epoch, sequence: this.sequence } : undefined;
    const message = { action: 'subscribe', date, mode, heartbeat, doctors, department, view, resume };
    this._asked = true;
    this._socket.send(JSON.stringify(message));
    if (this.state === 'live') this._become('stale');
  }

  _lose() {
    this._letGo();
    this._tryLater();
    this._become('reconnecting');
  }

  /** Does not wait for a goodbye that may never come. */
  _letGo() {
    clearTimeout(this._patience);
    const socket = this._socket;
    this._socket = null;
    if (socket) socket.close();
  }

  _end(error) {
    this._letGo();
    clearTimeout(this._retry);
    if (typeof removeEventListener === 'function') {
      removeEventListener('online', this._hurry);
      removeEventListener('visibilitychange', this._hurry);
    }
    this.error = error;
    this._become('closed');
    if (error) this._tell('onError', error);
    this._wake();
  }

  // --- when to try again, and how long to wait for somebody ---------------------------------------

  /** After a time drawn from all up to the longest, or the monitors of a house would all come back at once. */
  _tryLater() {
    const longest = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** this._attempts);
    this._attempts += 1;
    this._retry = setTimeout(() => this._connect(), Math.random() * longest);
  }

  /** The network is back, or somebody looks at the page again. */
  _lookAgain() {
    if (typeof document !== 'undefined' && document.visibilityState === 'hidden') return;
    if (this._socket && this._socket.readyState === OPEN) {
      this._socket.send('{"action":"ping"}');
      this._expect(ANSWER_MS, () => this._lose());
    } else { // also instead of an attempt that was begun before
      this._attempts = 0;
      this._letGo();
      this._connect();
    }
  }

  _expect(withinMs, otherwise) {
    clearTimeout(this._patience);
    this._patience = setTimeout(otherwise, withinMs);
  }

  /** A connection can be dead for long before the browser notices; heartbeats that do not come show it. */
  _expectHeartbeat() {
    clearTimeout(this._patience);
    if (!this._heartbeatMs) return;
    this._expect(HEARTBEATS_UNTIL_STALE * this._heartbeatMs, () => {
      if (this.state === 'live') this._become('stale');
      this._expect((HEARTBEATS_UNTIL_LOST - HEARTBEATS_UNTIL_STALE) * this._heartbeatMs, () => this._lose());
    });
  }

  // --- what the server says ----------------------------------------------------------------------

  _read(text) {
    let message = null;
    try {
      message = JSON.parse(text);
    } catch (error) { // it stays what it is
    }
    if (message && message.type) this._hear(message);
    else this._end(new QueueError('not_understood', 'the server says what is no message'));
  }

  _hear(message) {
    this._expectHeartbeat();
    switch (message.type) {
      case 'snapshot':
        this._show(message, message.data);
        break;
      case 'update':
        if (this._isNewer(message)) this._show(message, message.data);
        else this._settle();
        break;
      case 'delta':
        this._hearDelta(message);
        break;
      case 'heartbeat':
        if (!this._asked && message.sequence > this.sequence) this._subscribe(); // something was missed
        else this._settle();
        break;
      case 'status':
        this._behind = !message.live;
        this._settle();
        break;
      case 'pong':
        this._settle();
        break;
      case 'error':
        this._fail(new QueueError(message.code, message.message));
        break;
    }
  }

  _hearDelta(message) {
    const fits = message.epoch === this.epoch && message.from <= this.sequence;
    if (fits) this._asked = false;
    if (fits && this._isNewer(message)) this._show(message, apply(this.day, message.data));
    else if (!fits && !this._asked) this._subscribe();
    else this._settle();
  }

  _isNewer(message) {
    return message.epoch !== this.epoch || message.sequence > this.sequence;
  }

  _show(message, day) {
    const isFirst = this.day === null;
    const known = this.epoch === message.epoch ? this.sequence : -1;
    this.day = day;
    this.epoch = message.epoch;
    this.sequence = message.sequence;
    this._asked = false;
    this._tell('onDay', day);
    this._settle();
    this._wake();
    const events = (message.events || []).filter((event) => event.sequence > known);
    const complete = Boolean(message.events) && message.from <= known;
    if (!isFirst && (events.length || !complete)) this._tell('onEvents', events, complete);
  }

  /** What is shown is as new as the server's. */
  _settle() {
    if (this._asked) return;
    this._attempts = 0;
    this.error = null;
    this._become(this._behind ? 'stale' : 'live');
  }

  _fail(error) {
    if (!PASSING.includes(error.code)) {
      this._end(error);
      return;
    }
    this.error = error;
    this._lose();
    this._tell('onError', error);
  }

  // --- whom it tells -----------------------------------------------------------------------------

  _become(state) {
    if (this.state === state || this.state === 'closed') return;
    this.state = state;
    this._tell('onState', state);
  }

  /** The last thing to do in a step: whoever is called may close. */
  _tell(callback, ...what) {
    if (this._callbacks[callback]) this._callbacks[callback](...what);
  }

  _wake() {
    for (const wake of this._sleepers.splice(0)) wake();
  }
}

/** The WebSocket's address at a server named as http, https, ws or wss, by default the one that the page is from. */
function addressOf(server = pageOrigin(), doctorId) {
  const url = new URL(server);
  url.protocol = /^(https|wss):$/.test(url.protocol) ? 'wss:' : 'ws:';
  const path = url.pathname.replace(/\/$/, '');
  url.pathname = (path.endsWith(PATH) ? path : path + PATH) + (doctorId ? `/${doctorId}` : '');
  url.hash = '';
  return url.href;
}

function pageOrigin() {
  if (typeof location !== 'undefined' && /^https?:$/.test(location.protocol)) return location.origin;
  throw new TypeError('this is no page of a server: name the server in `url`');
}

// --- deltas --------------------------------------------------------------------------------------

/** The day, or one doctor's day, after a delta's `data`. Both stay as they are; what did not change is shared. */
export function apply(day, change) {
  const { doctors: blocks, removed_doctors: removed = [], ...totals } = change;
  if (!day.doctors) {
    const block = blocks.find(({ doctor_id: id }) => id === day.doctor.id);
    return { ...(block ? applyToBlock(day, block) : day), timestamp: change.timestamp };
  }
  const left = new Map(day.doctors.map((block) => [block.doctor.id, block]));
  for (const id of removed) left.delete(id);
  for (const block of blocks) {
    left.set(block.doctor_id, applyToBlock(left.get(block.doctor_id) || { appointments: [] }, block));
  }
  const doctors = [...left.values()].sort((a, b) => byCodePoints(a.doctor.code, b.doctor.code));
  return { ...day, ...totals, doctors };
}

function applyToBlock(block, { doctor_id: _, appointments: whole, positions, removed, ...fields }) {
  const isSame = !whole.length && !removed.length && !Object.keys(positions).length;
  const appointments = isSame ? block.appointments : applyToList(block.appointments, whole, positions, removed);
  return { ...block, ...fields, appointments };
}

function applyToList(appointments, whole, positions, removed) {
  const left = new Map(appointments.map((appointment) => [appointment.appointment_id, appointment]));
  for (const id of removed) left.delete(id);
  for (const appointment of whole) left.set(appointment.appointment_id, appointment);
  for (const [id, position] of Object.entries(positions)) {
    const appointment = left.get(id);
    if (appointment) left.set(id, { ...appointment, queue: { ...appointment.queue, position } });
  }
  return [...left.values()].sort((a, b) => a.slot - b.slot);
}

/** As the server sorts. JavaScript's own order is another where characters take two of its units. */
function byCodePoints(a, b) {
  for (let at = 0; at < Math.min(a.length, b.length); at += 1) {
    if (a[at] !== b[at]) return a.codePointAt(at) - b.codePointAt(at);
  }
  return a.length - b.length;
}
