import { formatPercent } from './format.js';

const FIRST_SHARE = 0.1;

/**
 * The time after good probes in which the share of calls that are let through grows from a tenth to all: a target that has just
 * come back must not get its full load at once.
 *
 * Shares are kept by counting, and not by chance: one of ten calls is the tenth.
 */
export class Recovery {
  admitted = 0;
  rejected = 0;
  // What of a call is let through; a whole one is. The first is.
  #credit = 1 - FIRST_SHARE;

  constructor(
    readonly startedAt: number,
    readonly duration: number,
  ) {}

  isOver(now: number): boolean {
    return now - this.startedAt >= this.duration;
  }

  /** Milliseconds until all calls are let through. */
  left(now: number): number {
    return Math.max(0, this.startedAt + this.duration - now);
  }

  share(now: number): number {
    return Math.min(1, FIRST_SHARE + (1 - FIRST_SHARE) * ((now - this.startedAt) / this.duration));
  }

  admits(now: number): boolean {
    this.#credit += this.share(now);
    if (this.#credit < 1) {
      this.rejected++;
      return false;
    }
    this.#credit--;
    this.admitted++;
    return true;
  }

  /** What a call is told that is not let through. */
  describe(now: number): string {
    return `its target has just come back, and ${formatPercent(this.share(now))} of calls are let through`;
  }

  /** What it came to. */
  get summary(): string {
    return `recovered: ${this.admitted} of ${this.admitted + this.rejected} calls were let through meanwhile, and no limit was reached`;
  }
}
