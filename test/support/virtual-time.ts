import type { BreakerSeams } from '../../src/breaker/circuit-breaker.js';
import { LoopWatch } from '../../src/breaker/event-loop-stalls.js';
import { seededRandom } from './random.js';

interface Due {
  readonly at: number;
  readonly run: () => void;
}

/** An event loop that nothing keeps busy. */
class IdleLoop extends LoopWatch {
  override due = Infinity;

  override excuses(): boolean {
    return false;
  }
}

/** Hours that pass in moments: whatever is due next happens next. */
export class VirtualTime implements BreakerSeams {
  readonly random: () => number;
  readonly loop = new IdleLoop();
  #ms = 0;
  #stopsAt = Infinity;
  // A binary heap: the parent of entry n is entry (n - 1) / 2, and due no later.
  readonly #heap: Due[] = [];

  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  readonly now = (): number => this.#ms;
  readonly wallNow = (): number => 1_700_000_000_000 + this.#ms;

  after(ms: number, run: () => void): void {
    if (ms === Infinity) return;
    const heap = this.#heap;
    const due = { at: this.#ms + ms, run };
    let index = heap.length;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (heap[parent]!.at <= due.at) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = due;
  }

  /** Lets everything happen that is due within so many milliseconds. */
  pass(ms: number): void {
    const end = this.#ms + ms;
    while (this.#ms < this.#stopsAt && this.#heap.length > 0 && this.#heap[0]!.at <= end) {
      const { at, run } = this.#takeFirst();
      this.#ms = at;
      run();
    }
    this.#ms = end;
  }

  /** Nothing happens any more after so many milliseconds. */
  stopAfter(ms: number): void {
    this.#stopsAt = this.#ms + ms;
  }

  /** A number that is spread around a median as waiting times are: few are several times as large (log-normal). */
  around(median: number, spread = 0.5): number {
    const normal = Math.sqrt(-2 * Math.log(1 - this.random())) * Math.cos(2 * Math.PI * this.random());
    return median * Math.exp(spread * normal);
  }

  between(least: number, most: number): number {
    return least + this.random() * (most - least);
  }

  /** The time until the next of events that happen at random, so often on average (exponential). */
  untilNext(mean: number): number {
    return -Math.log(1 - this.random()) * mean;
  }

  chance(share: number): boolean {
    return this.random() < share;
  }

  /** Again and again at random, every so many milliseconds on average. */
  often(mean: number, run: () => void): void {
    this.after(this.untilNext(mean), () => {
      run();
      this.often(mean, run);
    });
  }

  /** Again and again, in step. */
  every(ms: number, run: () => void): void {
    this.after(ms, () => {
      run();
      this.every(ms, run);
    });
  }

  #takeFirst(): Due {
    const heap = this.#heap;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.at < heap[child]!.at) child++;
      if (heap[child]!.at >= last.at) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
    return first;
  }
}
