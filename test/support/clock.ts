import type { BreakerSeams } from '../../src/breaker/circuit-breaker.js';

/** Time and chance that stand still until a test moves them. */
export class FakeClock implements BreakerSeams {
  /** What `random()` gives; 0.5 is the middle, where jitter changes nothing. */
  chance = 0.5;
  #ms = 1_000_000;

  readonly now = (): number => this.#ms;
  readonly wallNow = (): number => 1_700_000_000_000 + this.#ms;
  readonly random = (): number => this.chance;

  advance(ms: number): void {
    this.#ms += ms;
  }
}
