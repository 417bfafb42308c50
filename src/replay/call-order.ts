/** Takes calls in the order of their start. */
export type OnCall = (
  startMs: number,
  durationMs: number,
  target: number,
  ending: number,
  longRunning: boolean,
) => void;

/** A span that ends late comes late: exporters send what has ended. */
export const MAX_LATE_MS = 5 * 60_000;
const BUCKET_MS = 10_000;
const FIRST_CAPACITY = 256;
const LONG_RUNNING = 1;

/** Calls whose starts are within the same ten seconds, in columns: a million of them take some 30 MB. */
class Bucket {
  size = 0;
  #starts = new Float64Array(FIRST_CAPACITY);
  #durations = new Float64Array(FIRST_CAPACITY);
  #targets = new Uint32Array(FIRST_CAPACITY);
  // The ending, and in the lowest bit whether the call is long by design.
  #endings = new Uint32Array(FIRST_CAPACITY);

  add(start: number, duration: number, target: number, ending: number, longRunning: boolean): void {
    if (this.size === this.#starts.length) this.#grow();
    const place = this.size++;
    this.#starts[place] = start;
    this.#durations[place] = duration;
    this.#targets[place] = target;
    this.#endings[place] = (ending << 1) | (longRunning ? LONG_RUNNING : 0);
  }

  empty(onCall: OnCall): void {
    const starts = this.#starts;
    const order = Uint32Array.from({ length: this.size }, (_, index) => index);
    // Those with the same start stay in the order in which they came.
    order.sort((a, b) => starts[a]! - starts[b]! || a - b);
    for (const place of order) {
      const ending = this.#endings[place]!;
      const longRunning = (ending & LONG_RUNNING) !== 0;
      onCall(starts[place]!, this.#durations[place]!, this.#targets[place]!, ending >>> 1, longRunning);
    }
  }

  #grow(): void {
    const grown = <Column extends Float64Array | Uint32Array>(column: Column, larger: Column): Column => {
      larger.set(column);
      return larger;
    };
    const capacity = 2 * this.size;
    this.#starts = grown(this.#starts, new Float64Array(capacity));
    this.#durations = grown(this.#durations, new Float64Array(capacity));
    this.#targets = grown(this.#targets, new Uint32Array(capacity));
    this.#endings = grown(this.#endings, new Uint32Array(capacity));
  }
}

/** Puts calls in the order of their start, as far as they come within five minutes of each other. */
export class CallOrder {
  readonly #buckets = new Map<number, Bucket>();
  #newest = -Infinity;
  /** Buckets before this one have been given out. */
  #first = -Infinity;

  constructor(private readonly onCall: OnCall) {}

  /** @returns whether it came in time */
  add(start: number, duration: number, target: number, ending: number, longRunning: boolean): boolean {
    const number = Math.floor(start / BUCKET_MS);
    if (number < this.#first) return false;
    let bucket = this.#buckets.get(number);
    if (bucket === undefined) this.#buckets.set(number, (bucket = new Bucket()));
    bucket.add(start, duration, target, ending, longRunning);
    if (number > this.#newest) {
      this.#newest = number;
      this.#giveOut(Math.floor((start - MAX_LATE_MS) / BUCKET_MS));
    }
    return true;
  }

  end(): void {
    this.#giveOut(Infinity);
  }

  /** Gives out what began before a bucket: nothing that still comes belongs before it. */
  #giveOut(before: number): void {
    if (before <= this.#first) return;
    const due = [...this.#buckets.keys()].filter((number) => number < before).sort((a, b) => a - b);
    this.#first = before;
    for (const number of due) {
      const bucket = this.#buckets.get(number)!;
      this.#buckets.delete(number);
      bucket.empty(this.onCall);
    }
  }
}
