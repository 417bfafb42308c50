interface Started {
  readonly startedAt: number;
}

/**
 * Calls in flight, oldest first, and which of them already take too long: a call that hangs is counted as slow before
 * it ends, by whoever looks next.
 */
export class SlowCallWatch {
  readonly #pending = new Set<Started>();
  readonly #overdue = new Set<Started>();

  constructor(readonly slowCallDuration: number) {}

  started(call: Started): void {
    this.#pending.add(call);
  }

  ended(call: Started): void {
    if (!this.#pending.delete(call)) this.#overdue.delete(call);
  }

  /** A call in flight is another object from now on. Rare, so that the order may cost a copy. */
  handOver(from: Started, to: Started): void {
    for (const calls of [this.#pending, this.#overdue]) {
      if (!calls.has(from)) continue;
      const inOrder = [...calls];
      calls.clear();
      for (const call of inOrder) calls.add(call === from ? to : call);
    }
  }

  /** The number of calls in flight that are slow by now. */
  overdue(now: number): number {
    // A Set keeps the order of insertion, so the first call that is not overdue ends the search.
    for (const call of this.#pending) {
      if (now - call.startedAt < this.slowCallDuration) break;
      this.#pending.delete(call);
      this.#overdue.add(call);
    }
    return this.#overdue.size;
  }

  clear(): void {
    this.#pending.clear();
    this.#overdue.clear();
  }
}
