import { setImmediate, setTimeout } from '../breaker/real-time.js';

/** Makes a text piece by piece: yields after each small step how many bytes there are so far, returns all of them. */
export type Pieces = Generator<number, readonly Buffer[]>;

// As long as this the application waits at most, and then has its turn.
const SLICE_MS = 4;
// Of the time that passes, this share at most goes into making answers, however many ask for them.
const MAX_SHARE = 1 / 4;
/** A text longer than this is not sent: no scraper would take it, and it would be in memory more than once. */
export const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/**
 * Work whose result goes to all who ask while it is done: once at a time, and it rests after it, so that no number of askers
 * takes the process.
 */
class SharedWork<T> {
  #underWay: Promise<T> | undefined;
  #restsUntil = 0;

  /** @param work tells its result, and how many milliseconds of this process it has taken */
  constructor(private readonly work: () => Promise<readonly [result: T, workedMs: number]>) {}

  /** @returns rejects as the work does; then the next who asks begins anew */
  get(): Promise<T> {
    return (this.#underWay ??= this.#begin().finally(() => (this.#underWay = undefined)));
  }

  async #begin(): Promise<T> {
    const rest = this.#restsUntil - performance.now();
    if (rest > 0) await new Promise((resolve) => setTimeout(resolve, rest));
    const [result, workedMs] = await this.work();
    this.#restsUntil = performance.now() + workedMs * (1 / MAX_SHARE - 1);
    return result;
  }
}

/** A value that takes work to find. */
export class Shared<T> {
  readonly #work: SharedWork<T>;

  constructor(find: () => Promise<T>) {
    this.#work = new SharedWork(async () => {
      const began = performance.now();
      const found = find();
      // Waiting for others, such as the workers of a cluster, is no work of this process.
      const workedMs = performance.now() - began;
      return [await found, workedMs];
    });
  }

  /** @returns rejects as the search does; then the next who asks begins anew */
  get(): Promise<T> {
    return this.#work.get();
  }
}

/** An answer that takes long to make. It gives the event loop back every few milliseconds. */
export class SharedAnswer {
  readonly #work: SharedWork<Buffer>;

  constructor(begin: () => Pieces | Promise<Pieces>) {
    this.#work = new SharedWork(async () => make(await begin()));
  }

  /** @returns rejects with what went wrong; then the next who asks begins anew */
  bytes(): Promise<Buffer> {
    return this.#work.get();
  }
}

async function make(pieces: Pieces): Promise<[bytes: Buffer, workedMs: number]> {
  let worked = 0;
  let sliceBegan = performance.now();
  for (;;) {
    const { done, value } = pieces.next();
    const now = performance.now();
    if (done === true) {
      const all = Buffer.concat(value);
      return [all, worked + performance.now() - sliceBegan];
    }
    if (value > MAX_ANSWER_BYTES) throw new RangeError(`it would have more than ${MAX_ANSWER_BYTES} bytes`);
    if (now - sliceBegan < SLICE_MS) continue;
    worked += now - sliceBegan;
    await new Promise((resolve) => setImmediate(resolve));
    sliceBegan = performance.now();
  }
}

/** Collects a text by its pieces, and knows how long it is so far. */
export class PieceWriter {
  readonly pieces: Buffer[] = [];
  #bytes = 0;

  /** @returns how many bytes there are now */
  add(text: string): number {
    const piece = Buffer.from(text);
    this.pieces.push(piece);
    return (this.#bytes += piece.length);
  }

  /** The items of a list as JSON, one at a time, with commas between them. */
  *addItems<T>(items: Iterable<T>, write: (item: T) => string): Generator<number, void> {
    let first = true;
    for (const item of items) {
      yield this.add(first ? write(item) : `,${write(item)}`);
      first = false;
    }
  }
}

/** A list as JSON, one item at a time, between what comes before and after it. */
export function* jsonList<T>(head: object, key: string, items: Iterable<T>, view: (item: T) => unknown): Pieces {
  const writer = new PieceWriter();
  const opening = JSON.stringify(head, null, 2).replace(/\n?\}$/, '');
  const before = writer.add(`${opening}${opening === '{' ? '' : ','}\n  ${JSON.stringify(key)}: [`);
  let after = before;
  for (const bytes of writer.addItems(items, (item) => `\n    ${indented(view(item))}`)) yield (after = bytes);
  yield writer.add(after === before ? ']\n}\n' : '\n  ]\n}\n');
  return writer.pieces;
}

function indented(value: unknown): string {
  return JSON.stringify(value, null, 2).replaceAll('\n', '\n    ');
}
