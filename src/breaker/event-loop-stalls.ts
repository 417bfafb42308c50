import { AsyncResource } from 'node:async_hooks';

/** What the event loop of this thread can be asked, so that tests can answer in its place. */
export interface LoopSeams {
  /** Milliseconds that only ever grow. */
  readonly now: () => number;
  /** Of these, so many the event loop has spent waiting for something to happen. */
  readonly idle: () => number;
  /** Calls back once, later; must keep no process alive. */
  readonly later: (callback: () => void, ms: number) => void;
}

// Captured at load: the fake timers of an application's tests must not make its event loop look blocked.
const { setTimeout } = globalThis;
const { nodeTiming } = performance;
// A timer keeps the async context it is made in: here that of no request.
const outside = new AsyncResource('otel-breaker');
const realSeams: LoopSeams = {
  now: performance.now.bind(performance),
  idle: () => nodeTiming.idleTime,
  later: (callback, ms) => outside.runInAsyncScope(() => void setTimeout(callback, ms).unref()),
};

// Often enough to place a stall, rare enough to cost nothing: a look takes less than a tenth of a microsecond.
const LOOK_EVERY = 20;
// Shorter ones are the ordinary life of a process.
const STALL = 100;
// What a target may be deprived of before its silence says nothing about it.
const SHARE = 0.25;
const MAX_STALLS = 32;
// Once time ran out for a call, the loop is watched closely for so long.
const TICK = 50;
const WATCH_FOR = 10_000;

/** A time in which the event loop could not listen. */
interface Stall {
  readonly from: number;
  readonly to: number;
  readonly ms: number;
}

/**
 * Whether the event loop could listen at all while a call waited for its answer: an answer that nobody could take in time
 * is not one that did not come.
 *
 * There is no timer while nothing is wrong. The loop counts how long it has waited; calls that start note that number
 * now and then, and what lies between two notes and was not waiting was work. A first timeout is judged by this, which
 * takes much work in small pieces for one long piece where few calls are made. From then on a timer of our own shows, for
 * a while, that the loop turns, and by how much it is late: also where the process as a whole was held up.
 */
export class LoopWatch {
  /** The next call that starts at this time or later is to `look`. */
  due = -Infinity;
  readonly #stalls: Stall[] = [];
  #at: number;
  #idle: number;
  #watchUntil = -Infinity;
  #ticking = false;

  constructor(private readonly seams: LoopSeams = realSeams) {
    this.#at = seams.now();
    this.#idle = seams.idle();
  }

  look(now: number): void {
    const idle = this.seams.idle();
    const elapsed = now - this.#at;
    // A tick of ours that is overdue says the same, and more: time taken from the whole process looks like waiting.
    this.#note(now, this.#ticking ? elapsed - TICK : elapsed - (idle - this.#idle));
    this.#at = now;
    this.#idle = idle;
    this.due = now + LOOK_EVERY;
  }

  /** Whether time ran out for a call since the loop could not listen for a good part of it. */
  excuses(startedAt: number, now: number): boolean {
    this.look(now);
    this.#watchClosely(now);
    let stalled = 0;
    for (const { from, to, ms } of this.#stalls) {
      stalled += Math.min(ms, Math.max(0, Math.min(to, now) - Math.max(from, startedAt)));
    }
    return stalled >= STALL && stalled >= SHARE * (now - startedAt);
  }

  #note(to: number, ms: number): void {
    if (ms < STALL) return;
    this.#stalls.push({ from: this.#at, to, ms });
    if (this.#stalls.length > MAX_STALLS) this.#stalls.shift();
  }

  #watchClosely(now: number): void {
    this.#watchUntil = now + WATCH_FOR;
    if (this.#ticking) return;
    this.#ticking = true;
    this.seams.later(this.#tick, TICK);
  }

  readonly #tick = (): void => {
    const now = this.seams.now();
    this.look(now);
    if (now < this.#watchUntil) this.seams.later(this.#tick, TICK);
    else this.#ticking = false;
  };
}

/** The event loop of this thread. */
export const eventLoop = new LoopWatch();
