const MINUTE_MS = 60_000;
const MAX_WRONG = 10;
// One for each address would be memory that strangers fill.
const MAX_ADDRESSES = 1_000;

/** Who brought wrong tokens lately, and how many. */
export class Attempts {
  readonly #wrong = new Map<string, { since: number; count: number }>();
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Notes a wrong token. @returns whether that address has brought more than ten within a minute */
  isTooMany(address: string): boolean {
    const now = this.#now();
    const before = this.#wrong.get(address);
    if (before !== undefined && now - before.since < MINUTE_MS) return ++before.count > MAX_WRONG;
    this.#wrong.delete(address);
    this.#wrong.set(address, { since: now, count: 1 });
    if (this.#wrong.size > MAX_ADDRESSES) {
      const [oldest] = this.#wrong.keys();
      this.#wrong.delete(oldest!);
    }
    return false;
  }
}
