/** What happened in one stretch of time. */
export interface Bucket {
  /** Calls that were made and had not failed. */
  readonly called: number;
  /** Calls that were made and had failed. */
  readonly failed: number;
  /** Of these, calls that would have been rejected and had failed, and those that had not. */
  readonly saved: number;
  readonly price: number;
}

export type Kind = keyof Bucket;

const COUNT = 240;
const FIRST_WIDTH_MS = 1_000;
const KINDS = ['called', 'failed', 'saved', 'price'] as const;

/** Calls over time, in at most 240 stretches: these become twice as long whenever the recording turns out to be longer. */
export class Buckets {
  widthMs = FIRST_WIDTH_MS;
  #begin = NaN;
  readonly #counts = new Uint32Array(COUNT * KINDS.length);

  /** @param now not before any that was given */
  add(now: number, kind: Kind): void {
    if (Number.isNaN(this.#begin)) this.#begin = now;
    let place = Math.floor((now - this.#begin) / this.widthMs);
    while (place >= COUNT) {
      this.#halve();
      place = Math.floor((now - this.#begin) / this.widthMs);
    }
    this.#counts[place * KINDS.length + KINDS.indexOf(kind)]!++;
  }

  /** When the first of them begins, in milliseconds since 1970. */
  get beginMs(): number {
    return this.#begin;
  }

  list(): Bucket[] {
    const at = (place: number, kind: number) => this.#counts[place * KINDS.length + kind]!;
    const all = Array.from({ length: COUNT }, (_, place) => ({
      called: at(place, 0),
      failed: at(place, 1),
      saved: at(place, 2),
      price: at(place, 3),
    }));
    return all.slice(0, all.findLastIndex((bucket) => bucket.called + bucket.failed > 0) + 1);
  }

  #halve(): void {
    const counts = this.#counts;
    const size = KINDS.length;
    for (let place = 0; place < COUNT; place++) {
      for (let kind = 0; kind < size; kind++) {
        const [even, odd] = [counts[2 * place * size + kind] ?? 0, counts[(2 * place + 1) * size + kind] ?? 0];
        counts[place * size + kind] = even + odd;
      }
    }
    this.widthMs *= 2;
  }
}
