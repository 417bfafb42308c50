import type { CircuitBreaker } from '../../breaker/circuit-breaker.js';
import { DURATION_BOUNDS, type DurationTotals } from '../../telemetry/metrics/durations.js';
import { BUCKET_MS, BUCKETS, type LatencyView } from '../api.js';
import { setTimeout, clearTimeout } from '../../breaker/real-time.js';

/** What is remembered of one bucket: succeeded, failed and rejected calls. */
const COLUMNS = 3;
// Durations are remembered once a minute, and those of the last five minutes make the percentiles.
const MARK_EVERY = 12;
const MARKS = 5;

/** Counts as they were when they were last looked at. */
type Counts = readonly [succeeded: number, failed: number, rejected: number];

interface Past {
  counts: Counts;
  /** A ring of buckets; made with the first call. */
  ring: Uint32Array | undefined;
  /** The newest bucket in the ring. */
  newest: number;
  /** Durations by bucket as they were at the last marks, the oldest first. */
  readonly marks: (readonly number[])[];
}

/** How many calls breakers had in the last five minutes: 720 bytes of each that is called. */
export class RecentCalls {
  readonly #pasts = new WeakMap<CircuitBreaker, Past>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #sinceMark = 0;

  /** @param now milliseconds since 1970; for tests */
  constructor(private readonly now: () => number = Date.now) {}

  /** Looks at the breakers every five seconds from now on, and keeps no process alive by it. */
  start(
    breakers: Iterable<CircuitBreaker>,
    durationsOf: (breaker: CircuitBreaker) => DurationTotals | undefined,
  ): void {
    if (this.#timer !== undefined) return;
    const again = () => {
      this.#timer = setTimeout(
        () => {
          this.sample(breakers, durationsOf);
          again();
        },
        BUCKET_MS - (this.now() % BUCKET_MS),
      );
      this.#timer.unref();
    };
    // Calls made until now were made nobody knows when.
    for (const breaker of breakers) this.#pastOf(breaker).counts = countsOf(breaker);
    again();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  sample(
    breakers: Iterable<CircuitBreaker>,
    durationsOf: (breaker: CircuitBreaker) => DurationTotals | undefined,
  ): void {
    // The timer fires when a bucket has just ended.
    const bucket = Math.floor(this.now() / BUCKET_MS) - 1;
    const marks = ++this.#sinceMark >= MARK_EVERY;
    if (marks) this.#sinceMark = 0;
    for (const breaker of breakers) {
      const past = this.#pastOf(breaker);
      const counts = countsOf(breaker);
      if (counts.some((count, column) => count !== past.counts[column])) add(past, bucket, counts);
      if (!marks) continue;
      const durations = durationsOf(breaker);
      if (durations === undefined) continue;
      past.marks.push(durations.counts);
      if (past.marks.length > MARKS) past.marks.shift();
    }
  }

  /** Three numbers of each bucket, the oldest first and the present one last; empty where there were no calls. */
  of(breaker: CircuitBreaker): number[] {
    const past = this.#pastOf(breaker);
    const present = Math.floor(this.now() / BUCKET_MS);
    const numbers: number[] = [];
    for (let bucket = present - BUCKETS + 1; bucket < present; bucket++) {
      for (let column = 0; column < COLUMNS; column++) {
        const count = isIn(past, bucket) ? past.ring![(bucket % BUCKETS) * COLUMNS + column]! : 0;
        // Nothing before the first call.
        if (numbers.length > 0 || count > 0) numbers.push(...(numbers.length === 0 ? zeros(column) : []), count);
      }
    }
    const now = countsOf(breaker).map((count, column) => count - past.counts[column]!);
    if (numbers.length === 0 && now.every((count) => count === 0)) return [];
    return [...numbers, ...now];
  }

  /** How long the calls of the last minutes took. */
  latency(breaker: CircuitBreaker, durations: DurationTotals | undefined): LatencyView | null {
    if (durations === undefined) return null;
    const before = this.#pasts.get(breaker)?.marks;
    const oldest = before?.length === MARKS ? before[0] : undefined;
    const counts = oldest === undefined ? durations.counts : durations.counts.map((count, at) => count - oldest[at]!);
    const total = counts.reduce((sum, count) => sum + count, 0);
    if (total === 0) return null;
    const at = (share: number) => quantile(counts, total * share);
    return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
  }

  #pastOf(breaker: CircuitBreaker): Past {
    let past = this.#pasts.get(breaker);
    if (past === undefined) {
      past = { counts: [0, 0, 0], ring: undefined, newest: -1, marks: [] };
      this.#pasts.set(breaker, past);
    }
    return past;
  }
}

function countsOf({ tally }: CircuitBreaker): Counts {
  return [tally.success, tally.failure, tally.rejectedOpen + tally.rejectedHalfOpen];
}

function zeros(count: number): number[] {
  return new Array<number>(count).fill(0);
}

function isIn({ ring, newest }: Past, bucket: number): boolean {
  return ring !== undefined && bucket <= newest && bucket > newest - BUCKETS;
}

function add(past: Past, bucket: number, counts: Counts): void {
  const ring = (past.ring ??= new Uint32Array(BUCKETS * COLUMNS));
  // Buckets without calls were not written, and hold what was there an hour ago.
  for (let empty = Math.max(past.newest + 1, bucket - BUCKETS + 1); empty <= bucket; empty++) {
    ring.fill(0, (empty % BUCKETS) * COLUMNS, ((empty % BUCKETS) + 1) * COLUMNS);
  }
  past.newest = Math.max(past.newest, bucket);
  counts.forEach((count, column) => {
    ring[(bucket % BUCKETS) * COLUMNS + column]! += Math.max(count - past.counts[column]!, 0);
  });
  past.counts = counts;
}

/** In milliseconds, with two digits: as Prometheus reads it off, evenly spread within a bucket. */
function quantile(counts: readonly number[], rank: number): number {
  let below = 0;
  for (const [bucket, count] of counts.entries()) {
    if (below + count < rank || count === 0) {
      below += count;
      continue;
    }
    const from = bucket === 0 ? 0 : DURATION_BOUNDS[bucket - 1]!;
    // Of the last one nobody knows where it ends.
    const to = DURATION_BOUNDS[bucket] ?? from;
    return Number(((from + ((to - from) * (rank - below)) / count) * 1_000).toPrecision(2));
  }
  return DURATION_BOUNDS.at(-1)! * 1_000;
}
