import { reportOnce } from './diagnostics.js';
import { setImmediate, setTimeout } from './real-time.js';

/** Clock and timers, so that tests can move them. */
export interface PacingSeams {
  /** Milliseconds that only ever grow. */
  readonly now: () => number;
  /** Calls back when the event loop has turned. */
  readonly soon: (callback: () => void) => void;
  /** Calls back after this number of milliseconds. */
  readonly later: (callback: () => void, ms: number) => void;
  /** As `soon`; keeps no process alive. */
  readonly afterTurn: (callback: () => void) => void;
}

// All but the last keep the process alive, since a caller waits.
const realSeams: PacingSeams = {
  now: performance.now.bind(performance),
  soon: (callback) => void setImmediate(callback),
  later: (callback, ms) => void setTimeout(callback, ms),
  afterTurn: (callback) => void setImmediate(callback).unref(),
};

const PACE_MS = 5;
const FULL_CREDIT = 50;

/**
 * When rejections reach their callers. A loop that retries at once must not stop the process: a rejection that comes in a
 * microtask would never let the event loop turn, so that nothing could ever show that the target is back.
 *
 * Rejections therefore come after the event loop has turned; turns that have rejections use up a credit, and without credit
 * rejections are slow. Turns are counted, not rejections: a thousand calls rejected together are no loop.
 */
export class Pacer {
  #credit = FULL_CREDIT;
  #refilledAt: number;
  #isInTurn = false;
  #isPaced = false;
  #inTurn = 0;
  // Promises to be rejected when the loop has turned.
  #promises: (() => void)[] = [];

  constructor(private readonly seams: PacingSeams = realSeams) {
    this.#refilledAt = seams.now();
  }

  /**
   * Calls back when the caller of a rejected call may hear of it. Each has a timer of its own, so that the callback runs
   * in the async context of its call.
   *
   * @param atOnce this many rejections in a turn are called back before this returns; default none
   */
  defer(callback: () => void, atOnce = 0): void {
    if (!this.#isInTurn) this.#beginTurn();
    if (this.#inTurn++ < atOnce) callback();
    else if (this.#isPaced) this.seams.later(callback, PACE_MS);
    else this.seams.soon(callback);
  }

  /** Whether a rejection may be heard of before this turn ends, where `atOnce` of them may; it is counted then. */
  mayComeAtOnce(atOnce: number): boolean {
    if (!this.#isInTurn) this.#beginTurn();
    if (this.#inTurn >= atOnce) return false;
    this.#inTurn++;
    return true;
  }

  /**
   * As `defer`, to reject a promise, which needs no timer of its own: what follows it runs in the async context of whoever
   * waits for it.
   */
  deferPromise(reject: () => void): void {
    if (!this.#isInTurn) this.#beginTurn();
    this.#inTurn++;
    if (this.#isPaced) this.seams.later(reject, PACE_MS);
    else if (this.#promises.push(reject) === 1) this.seams.soon(this.#rejectPromises);
  }

  readonly #rejectPromises = (): void => {
    const promises = this.#promises;
    this.#promises = [];
    for (const reject of promises) reject();
  };

  #beginTurn(): void {
    const now = this.seams.now();
    this.#credit = Math.min(FULL_CREDIT, this.#credit + (now - this.#refilledAt) / PACE_MS);
    this.#refilledAt = now;
    this.#isInTurn = true;
    this.#inTurn = 0;
    this.#isPaced = this.#credit < 1;
    // Before the rejections of this turn: what their callers do next belongs to the next turn.
    if (this.#isPaced) {
      this.seams.later(this.#endPacedTurn, PACE_MS);
    } else {
      this.#credit--;
      this.seams.afterTurn(this.#endTurn);
    }
  }

  readonly #endTurn = (): void => {
    this.#isInTurn = false;
  };

  readonly #endPacedTurn = (): void => {
    // Waiting earns no credit, or every other turn of a loop would go unpaced.
    this.#refilledAt = this.seams.now();
    this.#isInTurn = false;
  };
}

const pacer = new Pacer();

const PACING_FAILED = 'Pacing rejected calls failed';

/**
 * Calls back when the caller of a rejected call may hear of it: after the event loop has turned, or later where rejections
 * come turn after turn. In the async context of whoever calls this.
 *
 * @param atOnce this many rejections in a turn are called back before this returns; default none
 */
export function deferRejection(callback: () => void, atOnce?: number): void {
  try {
    pacer.defer(callback, atOnce);
  } catch (error) {
    reportOnce(PACING_FAILED, error);
    setImmediate(callback);
  }
}

/**
 * Rejects the promise that is resolved with it one microtask later, when its caller has it in hand: a promise that is
 * rejected from the start is unhandled for a moment, and what Node notes down of that costs as much as the rest.
 */
class Rejection {
  constructor(private readonly error: Error) {}

  then(_: unknown, reject: (error: Error) => void): void {
    reject(this.error);
  }
}

/** The promise of a rejected call. @param atOnce this many in a turn are rejected already */
export function rejectedPromise(rejection: Error, atOnce: number): Promise<never> {
  try {
    if (pacer.mayComeAtOnce(atOnce)) return Promise.resolve(new Rejection(rejection) as unknown as PromiseLike<never>);
  } catch (error) {
    reportOnce(PACING_FAILED, error);
  }
  return new Promise((_, reject) => {
    // Here, or the promise would be rejected with a fault of ours.
    try {
      pacer.deferPromise(() => reject(rejection));
    } catch (error) {
      reportOnce(PACING_FAILED, error);
      setImmediate(() => reject(rejection));
    }
  });
}
