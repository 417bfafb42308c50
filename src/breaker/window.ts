const BUCKETS = 10;

/**
 * Calls, failures and slow calls of the last `duration` milliseconds.
 *
 * The window is a ring of ten buckets that is rotated by whoever touches it next: idle time ages calls out without a
 * timer. A call therefore counts for between 9/10 of the window and all of it.
 */
export class SlidingWindow {
  calls = 0;
  failures = 0;
  slow = 0;

  readonly #bucketDuration: number;
  // Per bucket: calls, failures, slow calls. Made with the first call, and no typed array: one of this size lives outside
  // of the heap and is larger than the breaker that it belongs to.
  #counts: number[] | undefined;
  #newest: number;

  constructor(duration: number, now: number) {
    this.#bucketDuration = duration / BUCKETS;
    this.#newest = Math.floor(now / this.#bucketDuration);
  }

  record(now: number, failed: boolean, slow: boolean): void {
    this.add(now, 1, failed ? 1 : 0, slow ? 1 : 0);
  }

  /** Adds counts to the newest bucket: also how the calls of a window move into one of another length. */
  add(now: number, calls: number, failures: number, slow: number): void {
    this.rotate(now);
    const at = (this.#newest % BUCKETS) * 3;
    const counts = (this.#counts ??= new Array<number>(BUCKETS * 3).fill(0));
    counts[at]! += calls;
    counts[at + 1]! += failures;
    counts[at + 2]! += slow;
    this.calls += calls;
    this.failures += failures;
    this.slow += slow;
  }

  /** Forgets what is older than the window. */
  rotate(now: number): void {
    const current = Math.floor(now / this.#bucketDuration);
    const steps = current - this.#newest;
    if (steps <= 0) return;
    this.#newest = current;
    if (this.#counts === undefined) return;
    if (steps >= BUCKETS) {
      this.clear();
      return;
    }
    for (let bucket = current - steps + 1; bucket <= current; bucket++) {
      this.#empty(this.#counts, (bucket % BUCKETS) * 3);
    }
  }

  clear(): void {
    this.#counts?.fill(0);
    this.calls = this.failures = this.slow = 0;
  }

  #empty(counts: number[], at: number): void {
    this.calls -= counts[at]!;
    this.failures -= counts[at + 1]!;
    this.slow -= counts[at + 2]!;
    counts[at] = counts[at + 1] = counts[at + 2] = 0;
  }
}
