import { AsyncResource } from 'node:async_hooks';
import { reportOnce } from './diagnostics.js';
import { setTimeout, setImmediate } from './real-time.js';

/** What the event loop of this thread can be asked, so that tests can answer in its place. */
export interface LoopSeams {
  /** Milliseconds that only ever grow. */
  readonly now: () => number;
  /** How many of these milliseconds the event loop has spent waiting for something to happen. */
  readonly idle: () => number;
  /** Calls back once, later; must keep no process alive. */
  readonly later: (callback: () => void, ms: number) => void;
  /** Calls back once, after the loop has next taken in what the system has for it; must keep no process alive. */
  readonly afterPoll: (callback: () => void) => void;
}

const { nodeTiming } = performance;
// A timer keeps the async context it is made in: here that of no request.
const outside = new AsyncResource('otel-breaker');
export const realSeams: LoopSeams = {
  now: performance.now.bind(performance),
  idle: () => nodeTiming.idleTime,
  later: (callback, ms) => outside.runInAsyncScope(() => void setTimeout(callback, ms).unref()),
  afterPoll: (callback) => outside.runInAsyncScope(() => void setImmediate(callback).unref()),
};

// Shorter ones are the ordinary life of a process.
const STALL = 100;
// The one timer of a breaker that waits for nobody: without it, nobody knows when the loop stood.
const TICK = 50;
// It goes on for so long after the last timed call began, and calls say so once in a second.
const TICKS_FOR = 30_000;
const CALLS_SAY_EVERY = 1_000;
const MAX_STALLS = 32;
// How long an answer may take that came while nobody could listen: twice the slowest good one, and some milliseconds.
const TIMES_SLOWEST = 2;
const GRACE = 100;

/** A time in which the event loop could not listen. */
interface Stall {
  readonly from: number;
  readonly to: number;
}

/**
 * Knows when the event loop of this thread stood still: an answer that nobody could take in time is not an answer that
 * did not come.
 *
 * One timer for the process shows by how much it is late, also where the process as a whole was held up. It ticks only
 * while timed calls are made, and keeps no process alive.
 */
export class LoopWatch {
  /** The next timed call that begins at this time or later is to say so with `callBegins`. */
  due = -Infinity;
  readonly #stalls: Stall[] = [];
  #tickedAt = 0;
  #idle = 0;
  #ticksUntil = -Infinity;
  #ticking = false;
  // The loop stood, and nothing that has arrived meanwhile has been taken in yet.
  #hasNotPolledSince = false;

  constructor(private readonly seams: LoopSeams = realSeams) {}

  callBegins(now: number): void {
    this.due = now + CALLS_SAY_EVERY;
    this.#ticksUntil = now + TICKS_FOR;
    if (this.#ticking) return;
    this.#ticking = true;
    this.#nextTick(now);
  }

  /**
   * Whether time ran out for a call because the loop stood: it stood within the wait, and the time that is left is not
   * more than a good answer may take. Where no good answer is known, whether it stood just now, so that the answer may
   * have arrived and wait to be read.
   *
   * @param slowest milliseconds that a good answer has taken at most; negative where not known
   */
  excuses(startedAt: number, now: number, slowest: number): boolean {
    const waited = now - startedAt;
    if (!(waited >= STALL)) return false;
    const unseen = this.#ticking ? this.#stoodBefore(now) : 0;
    if (slowest < 0) return this.#hasNotPolledSince || unseen >= STALL;
    let stood = unseen >= STALL ? Math.min(unseen, waited) : 0;
    for (const { from, to } of this.#stalls) stood += Math.max(0, to - Math.max(from, startedAt));
    return stood >= STALL && waited - stood <= TIMES_SLOWEST * slowest + GRACE;
  }

  /** How long the loop has stood since the last tick, as far as one can tell. */
  #stoodBefore(now: number): number {
    const elapsed = now - this.#tickedAt;
    // Time taken from the whole process looks like waiting to the loop, but makes the tick late.
    return Math.max(elapsed - TICK, elapsed - (this.seams.idle() - this.#idle));
  }

  // A timer of ours: nobody else would catch what it throws.
  readonly #tick = (): void => {
    try {
      this.#look(this.seams.now());
    } catch (error) {
      this.#stop();
      reportOnce('Watching the event loop failed', error);
    }
  };

  #look(now: number): void {
    const stood = this.#stoodBefore(now);
    if (stood >= STALL) this.#note({ from: now - stood, to: now });
    if (now < this.#ticksUntil) this.#nextTick(now);
    else this.#stop();
  }

  #stop(): void {
    this.#ticking = false;
    this.due = -Infinity;
  }

  #nextTick(now: number): void {
    this.#tickedAt = now;
    this.#idle = this.seams.idle();
    this.seams.later(this.#tick, TICK);
  }

  #note(stall: Stall): void {
    this.#stalls.push(stall);
    if (this.#stalls.length > MAX_STALLS) this.#stalls.shift();
    this.#hasNotPolledSince = true;
    this.seams.afterPoll(this.#polled);
  }

  readonly #polled = (): void => {
    this.#hasNotPolledSince = false;
  };
}

/** The event loop of this thread. */
export const eventLoop = new LoopWatch();
