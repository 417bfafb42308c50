import type { CircuitBreaker } from '../../breaker/circuit-breaker.js';
import type { DurationRecorder } from '../../breaker/observer.js';

/** Upper bounds of the buckets, in seconds; a last bucket without bound follows. */
export const DURATION_BOUNDS: readonly number[] = [
  0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];

const BOUNDS_MS = [...DURATION_BOUNDS.map((bound) => bound * 1_000), Infinity];
const BUCKETS = BOUNDS_MS.length;

// Recording into an OpenTelemetry histogram costs microseconds, several times a whole call through a breaker: calls are
// collected here and handed over at a scrape, or by the hundreds, so that no scrape has to make up for millions.
const HAND_OVER_AT = 256;
// A provider that arrives later than this many calls gets the durations from then on: it takes values one by one, and
// the process would stand still meanwhile.
const MAX_REPLAY = 100_000;

/** How long all calls of a breaker took: how many by bucket, and the sum in seconds. */
export interface DurationTotals {
  readonly counts: readonly number[];
  readonly sum: number;
}

/** Durations of one breaker's calls, in buckets. */
export class Durations implements DurationRecorder {
  // Made with the first duration: calls that are ignored have none.
  #waiting: Buckets | undefined;
  #handedOver: Buckets | undefined;

  /** @param onFull is called when enough durations have gathered to be worth handing over before the next scrape */
  constructor(
    readonly breaker: CircuitBreaker,
    private readonly onFull: (durations: Durations) => void,
  ) {}

  record(ms: number): void {
    if (!(ms >= 0)) return;
    const waiting = (this.#waiting ??= new Buckets());
    let bucket = 0;
    // Most calls are short, so counting up ends early. A value on a bound belongs below it, as in Prometheus' `le`.
    while (ms > BOUNDS_MS[bucket]!) bucket++;
    if (waiting.add(bucket, 1, ms) % HAND_OVER_AT === 0) this.onFull(this);
  }

  /**
   * Hands over each call since the last time as one value in seconds. Calls of a bucket stand at their mean: counts per
   * bucket and the sum over all are exact.
   */
  handOver(record: (seconds: number) => void): void {
    const waiting = this.#waiting;
    if (waiting === undefined || waiting.total === 0) return;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const calls = waiting.calls(bucket);
      if (calls === 0) continue;
      const seconds = waiting.sum(bucket) / calls / 1_000;
      for (let call = 0; call < calls; call++) record(seconds);
    }
    (this.#handedOver ??= new Buckets()).take(waiting);
  }

  /** All calls there were, handed over or not; `undefined` where there were none. */
  totals(): DurationTotals | undefined {
    if (this.#waiting === undefined) return undefined;
    const all = new Buckets();
    for (const some of [this.#waiting, this.#handedOver]) if (some !== undefined) all.addAll(some);
    const buckets = Array.from({ length: BUCKETS }, (_, bucket) => bucket);
    return {
      counts: buckets.map((bucket) => all.calls(bucket)),
      sum: buckets.reduce((sum, bucket) => sum + all.sum(bucket), 0) / 1_000,
    };
  }

  /** Begins again from the first call, for a receiver that has heard of no call yet. */
  replay(): void {
    if (this.#waiting === undefined) return;
    const handedOver = (this.#handedOver ??= new Buckets());
    if (handedOver.total + this.#waiting.total > MAX_REPLAY) handedOver.take(this.#waiting);
    else this.#waiting.take(handedOver);
  }
}

/** How many calls took how long, by bucket. */
class Buckets {
  // Calls and milliseconds of each bucket, side by side: a call touches one place. No typed array: that is larger than what it
  // would hold here, and of 32 bits a busy process would have it full within days.
  readonly #numbers = new Array<number>(2 * BUCKETS).fill(0);
  total = 0;

  calls(bucket: number): number {
    return this.#numbers[2 * bucket]!;
  }

  /** Milliseconds of all calls of a bucket. */
  sum(bucket: number): number {
    return this.#numbers[2 * bucket + 1]!;
  }

  /** @returns how many calls there are now in all buckets */
  add(bucket: number, calls: number, ms: number): number {
    this.#numbers[2 * bucket]! += calls;
    this.#numbers[2 * bucket + 1]! += ms;
    return (this.total += calls);
  }

  addAll(other: Buckets): void {
    for (let bucket = 0; bucket < BUCKETS; bucket++) this.add(bucket, other.calls(bucket), other.sum(bucket));
  }

  /** Moves what another holds into this one. */
  take(other: Buckets): void {
    this.addAll(other);
    other.#numbers.fill(0);
    other.total = 0;
  }
}
