import type { BreakerSeams } from '../../src/breaker/circuit-breaker.js';
import { LoopWatch, type LoopSeams } from '../../src/breaker/event-loop-stalls.js';

/** Time and chance that stand still until a test moves them. */
export class FakeClock implements BreakerSeams, LoopSeams {
  /** What `random()` gives; 0.5 is the middle, where jitter changes nothing. */
  chance = 0.5;
  #ms = 1_000_000;
  #idle = 0;
  #afterPoll: (() => void)[] = [];
  #timers: { readonly at: number; readonly callback: () => void }[] = [];

  readonly now = (): number => this.#ms;
  readonly wallNow = (): number => 1_700_000_000_000 + this.#ms;
  readonly random = (): number => this.chance;
  readonly idle = (): number => this.#idle;
  readonly later = (callback: () => void, ms: number): void => {
    this.#timers.push({ at: this.#ms + ms, callback });
  };
  readonly afterPoll = (callback: () => void): void => {
    this.#afterPoll.push(callback);
  };
  // The last field: it asks the others.
  readonly loop = new LoopWatch(this);

  /** Timers that wait to be called. */
  get pendingTimers(): number {
    return this.#timers.length;
  }

  /** Time goes by while nothing happens; timers are called in time. */
  advance(ms: number): void {
    const end = this.#ms + ms;
    for (let next = this.#dueBy(end); next !== undefined; next = this.#dueBy(end)) {
      this.#wait(next.at - this.#ms);
      this.#timers.splice(this.#timers.indexOf(next), 1);
      next.callback();
    }
    this.#wait(end - this.#ms);
  }

  /** The event loop is kept busy; what was due in that time is called at its end. */
  block(ms: number): void {
    this.#ms += ms;
    this.advance(0);
  }

  /** The whole process is held up, and its event loop believes that it has waited. */
  suspend(ms: number): void {
    this.#idle += ms;
    this.block(ms);
  }

  #wait(ms: number): void {
    if (ms <= 0) return;
    for (const callback of this.#afterPoll.splice(0)) callback();
    this.#ms += ms;
    this.#idle += ms;
  }

  #dueBy(end: number): { readonly at: number; readonly callback: () => void } | undefined {
    return this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
  }
}
