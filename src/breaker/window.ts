import type { CallCount } from './options.js';

const BUCKETS = 10;
const FIELDS = 4;

/** Calls, failures and slow calls of late. */
export interface CallWindow {
  /** Calls with a verdict. */
  readonly calls: number;
  readonly failures: number;
  readonly slow: number;
  /** Calls without a verdict that were slow: they count for the rate of slow calls only. */
  readonly slowWithoutVerdict: number;
  /** A call ended well and was not slow: what most calls do. */
  recordSuccess(now: number): void;
  record(now: number, failed: boolean, slow: boolean): void;
  /** A slow call ended without a verdict: its caller gave it up. */
  recordSlowWithoutVerdict(now: number): void;
  /** Forgets what is older than the window. */
  rotate(now: number): void;
  clear(): void;
}

/** Some calls of a window: as many as ended at about the same time. */
export interface Counts {
  readonly calls: number;
  readonly failures: number;
  readonly slow: number;
  readonly slowWithoutVerdict: number;
}

// What has to do with time, and not with rates, goes by this where a window counts calls.
const TIME_OF_CALLS_MS = 30_000;

/** For how long calls are of the present, in milliseconds. */
export function windowMs(window: number | CallCount): number {
  return typeof window === 'number' ? window : TIME_OF_CALLS_MS;
}

/**
 * Calls, failures and slow calls of the last `duration` milliseconds.
 *
 * The window is a ring of ten buckets that is rotated by whoever touches it next: idle time ages calls out without a
 * timer. A call therefore counts for between 9/10 of the window and all of it.
 */
export class SlidingWindow implements CallWindow {
  /** Calls with a verdict. */
  calls = 0;
  failures = 0;
  slow = 0;
  /** Calls without a verdict that were slow: they count for the rate of slow calls only. */
  slowWithoutVerdict = 0;

  readonly #bucketDuration: number;
  // Per bucket the four counts above; zeros for the newest one, which has what of them all others have not: a call counts in
  // the four fields and touches nothing else. Made when the first bucket with calls is over, and no typed array: one of this
  // size lives outside of the heap and is larger than the breaker that it belongs to.
  #counts: number[] | undefined;
  #newest: number;
  // When the newest bucket ends: nearly every call finds it as it was, and need not divide.
  #newestEnds: number;

  constructor(duration: number, now: number) {
    this.#bucketDuration = duration / BUCKETS;
    this.#newest = Math.floor(now / this.#bucketDuration);
    this.#newestEnds = (this.#newest + 1) * this.#bucketDuration;
  }

  recordSuccess(now: number): void {
    if (now >= this.#newestEnds) this.rotate(now);
    this.calls++;
  }

  record(now: number, failed: boolean, slow: boolean): void {
    this.rotate(now);
    this.calls++;
    if (failed) this.failures++;
    if (slow) this.slow++;
  }

  /** A slow call ended without a verdict: its caller gave it up. */
  recordSlowWithoutVerdict(now: number): void {
    this.rotate(now);
    this.slowWithoutVerdict++;
  }

  /** The same calls in a window of another length. None becomes younger than it is. */
  resized(duration: number, now: number): SlidingWindow {
    this.rotate(now);
    const window = new SlidingWindow(duration, now);
    const counts = this.#withNewest();
    if (counts === undefined) return window;
    for (let bucket = this.#newest - BUCKETS + 1; bucket <= this.#newest; bucket++) {
      const at = offsetOf(bucket);
      const moved = Math.floor((bucket * this.#bucketDuration) / window.#bucketDuration);
      if (moved > window.#newest - BUCKETS) window.#add(moved, counts, at);
    }
    return window;
  }

  /** What it counts, the oldest first. */
  *recent(now: number): Iterable<Counts> {
    this.rotate(now);
    const counts = this.#withNewest();
    if (counts === undefined) return;
    for (let bucket = this.#newest - BUCKETS + 1; bucket <= this.#newest; bucket++) {
      const at = offsetOf(bucket);
      yield {
        calls: counts[at]!,
        failures: counts[at + 1]!,
        slow: counts[at + 2]!,
        slowWithoutVerdict: counts[at + 3]!,
      };
    }
  }

  /** Forgets what is older than the window. */
  rotate(now: number): void {
    const current = Math.floor(now / this.#bucketDuration);
    if (current > this.#newest) this.#rotateTo(current);
  }

  clear(): void {
    this.#counts?.fill(0);
    this.calls = this.failures = this.slow = this.slowWithoutVerdict = 0;
  }

  #rotateTo(current: number): void {
    const before = this.#newest;
    this.#newest = current;
    this.#newestEnds = (current + 1) * this.#bucketDuration;
    if (this.calls === 0 && this.slowWithoutVerdict === 0) return;
    const steps = current - before;
    if (steps >= BUCKETS) return this.clear();
    const counts = (this.#counts ??= new Array<number>(BUCKETS * FIELDS).fill(0));
    this.#fill(counts, offsetOf(before));
    for (let bucket = before + 1; bucket <= current; bucket++) this.#empty(counts, offsetOf(bucket));
  }

  /** Writes down what the newest bucket has: what all others have not. */
  #fill(counts: number[], at: number): void {
    let { calls, failures, slow, slowWithoutVerdict } = this;
    for (let other = 0; other < counts.length; other += FIELDS) {
      calls -= counts[other]!;
      failures -= counts[other + 1]!;
      slow -= counts[other + 2]!;
      slowWithoutVerdict -= counts[other + 3]!;
    }
    counts[at] = calls;
    counts[at + 1] = failures;
    counts[at + 2] = slow;
    counts[at + 3] = slowWithoutVerdict;
  }

  /** The counts of all buckets; `undefined` where they are all zero. */
  #withNewest(): number[] | undefined {
    if (this.calls === 0 && this.slowWithoutVerdict === 0) return undefined;
    const counts = this.#counts?.slice() ?? new Array<number>(BUCKETS * FIELDS).fill(0);
    this.#fill(counts, offsetOf(this.#newest));
    return counts;
  }

  /** Adds counts to those of a bucket. */
  #add(bucket: number, from: readonly number[], fromAt: number): void {
    this.calls += from[fromAt]!;
    this.failures += from[fromAt + 1]!;
    this.slow += from[fromAt + 2]!;
    this.slowWithoutVerdict += from[fromAt + 3]!;
    if (bucket === this.#newest) return;
    const counts = (this.#counts ??= new Array<number>(BUCKETS * FIELDS).fill(0));
    const at = offsetOf(bucket);
    for (let field = 0; field < FIELDS; field++) counts[at + field]! += from[fromAt + field]!;
  }

  #empty(counts: number[], at: number): void {
    this.calls -= counts[at]!;
    this.failures -= counts[at + 1]!;
    this.slow -= counts[at + 2]!;
    this.slowWithoutVerdict -= counts[at + 3]!;
    counts[at] = counts[at + 1] = counts[at + 2] = counts[at + 3] = 0;
  }
}

/** Where the counts of a bucket begin. A clock may begin below zero. */
function offsetOf(bucket: number): number {
  return (((bucket % BUCKETS) + BUCKETS) % BUCKETS) * FIELDS;
}
