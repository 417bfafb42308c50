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
  // Per bucket the four counts above. Made with the first call, and no typed array: one of this size lives outside of the
  // heap and is larger than the breaker that it belongs to.
  #counts: number[] | undefined;
  #newest: number;
  // When the newest bucket ends, and where it begins in the counts: nearly every call finds both as they were.
  #newestEnds: number;
  #newestAt: number;

  constructor(duration: number, now: number) {
    this.#bucketDuration = duration / BUCKETS;
    this.#newest = Math.floor(now / this.#bucketDuration);
    this.#newestEnds = (this.#newest + 1) * this.#bucketDuration;
    this.#newestAt = offsetOf(this.#newest);
  }

  recordSuccess(now: number): void {
    if (now >= this.#newestEnds) this.rotate(now);
    (this.#counts ?? this.#makeCounts())[this.#newestAt]!++;
    this.calls++;
  }

  record(now: number, failed: boolean, slow: boolean): void {
    this.rotate(now);
    this.#add(this.#newest, 1, failed ? 1 : 0, slow ? 1 : 0, 0);
  }

  /** A slow call ended without a verdict: its caller gave it up. */
  recordSlowWithoutVerdict(now: number): void {
    this.rotate(now);
    this.#add(this.#newest, 0, 0, 0, 1);
  }

  /** The same calls in a window of another length. None becomes younger than it is. */
  resized(duration: number, now: number): SlidingWindow {
    this.rotate(now);
    const window = new SlidingWindow(duration, now);
    const counts = this.#counts;
    if (counts === undefined) return window;
    for (let bucket = this.#newest - BUCKETS + 1; bucket <= this.#newest; bucket++) {
      const at = offsetOf(bucket);
      const moved = Math.floor((bucket * this.#bucketDuration) / window.#bucketDuration);
      if (moved <= window.#newest - BUCKETS) continue;
      window.#add(moved, counts[at]!, counts[at + 1]!, counts[at + 2]!, counts[at + 3]!);
    }
    return window;
  }

  /** What it counts, the oldest first. */
  *recent(now: number): Iterable<Counts> {
    this.rotate(now);
    const counts = this.#counts;
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
    const steps = current - this.#newest;
    if (steps <= 0) return;
    this.#newest = current;
    this.#newestEnds = (current + 1) * this.#bucketDuration;
    this.#newestAt = offsetOf(current);
    if (this.#counts === undefined) return;
    if (steps >= BUCKETS) {
      this.clear();
      return;
    }
    for (let bucket = current - steps + 1; bucket <= current; bucket++) {
      this.#empty(this.#counts, offsetOf(bucket));
    }
  }

  clear(): void {
    this.#counts?.fill(0);
    this.calls = this.failures = this.slow = this.slowWithoutVerdict = 0;
  }

  #add(bucket: number, calls: number, failures: number, slow: number, slowWithoutVerdict: number): void {
    const at = offsetOf(bucket);
    const counts = this.#counts ?? this.#makeCounts();
    counts[at]! += calls;
    counts[at + 1]! += failures;
    counts[at + 2]! += slow;
    counts[at + 3]! += slowWithoutVerdict;
    this.calls += calls;
    this.failures += failures;
    this.slow += slow;
    this.slowWithoutVerdict += slowWithoutVerdict;
  }

  #makeCounts(): number[] {
    return (this.#counts = new Array<number>(BUCKETS * FIELDS).fill(0));
  }

  #empty(counts: number[], at: number): void {
    this.calls -= counts[at]!;
    this.failures -= counts[at + 1]!;
    this.slow -= counts[at + 2]!;
    this.slowWithoutVerdict -= counts[at + 3]!;
    counts[at] = counts[at + 1] = counts[at + 2] = counts[at + 3] = 0;
  }
}

/** Where a bucket begins in the counts. */
function offsetOf(bucket: number): number {
  return (((bucket % BUCKETS) + BUCKETS) % BUCKETS) * FIELDS;
}
