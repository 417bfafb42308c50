import type { CallCount } from './options.js';

const BUCKETS = 10;

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
  // The four counts above, bucket by bucket. What the newest bucket has may stand in the totals alone: a call counts there and
  // touches nothing else.
  #callsBy: ByBucket;
  #failuresBy: ByBucket;
  #slowBy: ByBucket;
  #slowWithoutVerdictBy: ByBucket;
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
    const window = new SlidingWindow(duration, now);
    this.rotate(now);
    let bucket = this.#newest - BUCKETS;
    for (const counts of this.recent(now)) {
      const moved = Math.floor((++bucket * this.#bucketDuration) / window.#bucketDuration);
      if (moved > window.#newest - BUCKETS) window.#add(moved, counts);
    }
    return window;
  }

  /** What it counts bucket by bucket, the oldest first. */
  *recent(now: number): Iterable<Counts> {
    this.rotate(now);
    this.#writeDown(this.#newest);
    for (let bucket = this.#newest - BUCKETS + 1; bucket <= this.#newest; bucket++) {
      const place = placeOf(bucket);
      yield {
        calls: this.#callsBy?.[place] ?? 0,
        failures: this.#failuresBy?.[place] ?? 0,
        slow: this.#slowBy?.[place] ?? 0,
        slowWithoutVerdict: this.#slowWithoutVerdictBy?.[place] ?? 0,
      };
    }
  }

  /** Forgets what is older than the window. */
  rotate(now: number): void {
    const current = Math.floor(now / this.#bucketDuration);
    if (current > this.#newest) this.#rotateTo(current);
  }

  clear(): void {
    this.#callsBy = this.#failuresBy = this.#slowBy = this.#slowWithoutVerdictBy = undefined;
    this.calls = this.failures = this.slow = this.slowWithoutVerdict = 0;
  }

  #rotateTo(current: number): void {
    const before = this.#newest;
    this.#newest = current;
    this.#newestEnds = (current + 1) * this.#bucketDuration;
    if (this.calls === 0 && this.slowWithoutVerdict === 0) return;
    if (current - before >= BUCKETS) return this.clear();
    this.#writeDown(before);
    for (let bucket = before + 1; bucket <= current; bucket++) {
      this.calls -= emptied(this.#callsBy, bucket);
      this.failures -= emptied(this.#failuresBy, bucket);
      this.slow -= emptied(this.#slowBy, bucket);
      this.slowWithoutVerdict -= emptied(this.#slowWithoutVerdictBy, bucket);
    }
  }

  #writeDown(newest: number): void {
    this.#callsBy = withNewest(this.#callsBy, newest, this.calls);
    this.#failuresBy = withNewest(this.#failuresBy, newest, this.failures);
    this.#slowBy = withNewest(this.#slowBy, newest, this.slow);
    this.#slowWithoutVerdictBy = withNewest(this.#slowWithoutVerdictBy, newest, this.slowWithoutVerdict);
  }

  #add(bucket: number, { calls, failures, slow, slowWithoutVerdict }: Counts): void {
    this.calls += calls;
    this.failures += failures;
    this.slow += slow;
    this.slowWithoutVerdict += slowWithoutVerdict;
    this.#callsBy = withMore(this.#callsBy, bucket, calls);
    this.#failuresBy = withMore(this.#failuresBy, bucket, failures);
    this.#slowBy = withMore(this.#slowBy, bucket, slow);
    this.#slowWithoutVerdictBy = withMore(this.#slowWithoutVerdictBy, bucket, slowWithoutVerdict);
  }
}

/**
 * One count by bucket, in a ring; `undefined` as long as it is zero in all: to most targets no call ever fails or is slow. No
 * typed array: one of this size lives outside of the heap and is larger than the breaker that it belongs to.
 */
type ByBucket = number[] | undefined;

/** Writes down what of a count the newest bucket has: what all others have not. */
function withNewest(ring: ByBucket, newest: number, total: number): ByBucket {
  if (ring === undefined) return withMore(ring, newest, total);
  ring[placeOf(newest)] = 0;
  const older = ring.reduce((sum, count) => sum + count, 0);
  return withMore(ring, newest, total - older);
}

function withMore(ring: ByBucket, bucket: number, more: number): ByBucket {
  if (more === 0) return ring;
  const counts = ring ?? new Array<number>(BUCKETS).fill(0);
  counts[placeOf(bucket)]! += more;
  return counts;
}

/** @returns what was in it */
function emptied(ring: ByBucket, bucket: number): number {
  if (ring === undefined) return 0;
  const place = placeOf(bucket);
  const count = ring[place]!;
  ring[place] = 0;
  return count;
}

/** Where a bucket is in its ring. A clock may begin below zero. */
function placeOf(bucket: number): number {
  return ((bucket % BUCKETS) + BUCKETS) % BUCKETS;
}
