import type { Timers } from '../../src/telemetry/metrics/metrics-publisher.js';

/** Timers that fire when a test says so. */
export class FakeTimers implements Timers {
  #now = 0;
  #pending: { readonly at: number; readonly act: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  after(ms: number, act: () => void): void {
    this.#pending.push({ at: this.#now + ms, act });
  }

  /** Lets time pass, and whatever is due happen in order, with everything that it starts. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (let next = this.#takeUntil(end); next !== undefined; next = this.#takeUntil(end)) {
      this.#now = next.at;
      next.act();
      await settled();
    }
    this.#now = end;
  }

  get pending(): number {
    return this.#pending.length;
  }

  #takeUntil(end: number) {
    this.#pending.sort((a, b) => a.at - b.at);
    return this.#pending[0] !== undefined && this.#pending[0].at <= end ? this.#pending.shift() : undefined;
  }
}

/** Everything that needs no more than promises has happened. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
