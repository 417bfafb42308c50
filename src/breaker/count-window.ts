import type { CallCount } from './options.js';
import { SlidingWindow, type CallWindow, type Counts } from './window.js';

// What is remembered of a call.
const VERDICT = 1;
const FAILED = 2;
const SLOW = 4;

/** Calls, failures and slow calls of the last so many calls, however long ago they were. */
export class CountWindow implements CallWindow {
  calls = 0;
  failures = 0;
  slow = 0;
  slowWithoutVerdict = 0;

  // A ring: the next call takes the place of the oldest one. Made with the first call.
  #ended: Uint8Array | undefined;
  #next = 0;

  constructor(readonly size: number) {}

  recordSuccess(): void {
    this.#add(VERDICT);
  }

  record(_now: number, failed: boolean, slow: boolean): void {
    this.#add(VERDICT | (failed ? FAILED : 0) | (slow ? SLOW : 0));
  }

  recordSlowWithoutVerdict(): void {
    this.#add(SLOW);
  }

  /** The last calls in a window of another size. */
  resized(size: number): CountWindow {
    const window = new CountWindow(size);
    for (let age = this.size; age > 0; age--) {
      const call = this.#ended?.[(this.#next + this.size - age) % this.size] ?? 0;
      if (call !== 0) window.#add(call);
    }
    return window;
  }

  /** Takes in calls of which only the numbers are known: failures and slow ones spread among the others. */
  addAll({ calls, failures, slow, slowWithoutVerdict }: Counts): void {
    for (let call = 1; call <= calls; call++) {
      const falls = (some: number) => Math.floor((call * some) / calls) > Math.floor(((call - 1) * some) / calls);
      this.record(0, falls(failures), falls(slow));
    }
    for (let call = 0; call < slowWithoutVerdict; call++) this.recordSlowWithoutVerdict();
  }

  rotate(): void {}

  clear(): void {
    this.#ended?.fill(0);
    this.calls = this.failures = this.slow = this.slowWithoutVerdict = 0;
  }

  #add(call: number): void {
    const ended = (this.#ended ??= new Uint8Array(this.size));
    this.#count(ended[this.#next]!, -1);
    this.#count(call, 1);
    ended[this.#next] = call;
    this.#next = (this.#next + 1) % this.size;
  }

  #count(call: number, by: 1 | -1): void {
    if (call === SLOW) this.slowWithoutVerdict += by;
    if ((call & VERDICT) === 0) return;
    this.calls += by;
    if ((call & FAILED) !== 0) this.failures += by;
    if ((call & SLOW) !== 0) this.slow += by;
  }
}

/** An empty window. */
export function windowOf(length: number | CallCount, now: number): CallWindow {
  return typeof length === 'number' ? new SlidingWindow(length, now) : new CountWindow(length.calls);
}

/**
 * A window of another length with what of the calls can be kept. From a time to a number of calls that is the last ones; from a
 * number to a time nothing: nobody knows how long ago they were, and none may become younger than it is.
 */
export function resized(window: CallWindow, length: number | CallCount, now: number): CallWindow {
  if (typeof length === 'number') {
    return window instanceof SlidingWindow ? window.resized(length, now) : windowOf(length, now);
  }
  if (window instanceof CountWindow) return window.resized(length.calls);
  const counting = new CountWindow(length.calls);
  if (window instanceof SlidingWindow) for (const counts of window.recent(now)) counting.addAll(counts);
  return counting;
}
