import type { BreakerConfig } from './config.js';
import { formatPercent, formatSeconds } from './format.js';
import { parseQuorum } from './options.js';
import { ANSWERED, COUNTED, type Permit } from './permit.js';
import { isSlow } from './track-record.js';

// A probe that was answered well counts as good once its answer has gone on for so long.
const GOOD_ANSWER_MS = 1_000;
// With this share of calls a recovery begins.
const FIRST_SHARE = 0.1;

/**
 * How one half-open state finds out whether its target is back: by probes, and once these have succeeded, where
 * `recoveryDuration` asks for it, by a growing share of calls.
 *
 * Probes without an answer hold its slots, those with a good one no longer do. It knows what proves that the target is
 * back, and that it is not; the circuit acts on that.
 */
export class HalfOpen {
  readonly #waiting: Permit[] = [];
  readonly #answered: Permit[] = [];
  readonly #answeredAt: number[] = [];
  #bad = 0;
  /** How many probes have succeeded. */
  good = 0;
  /** Whether it is still tried by probes. */
  isProbing = true;
  /** The growing share of calls, once the probes have succeeded. */
  recovery: Recovery | undefined;

  /** @param slowIsBad the circuit was opened because calls were slow: a probe as slow as these proves nothing */
  constructor(readonly slowIsBad: boolean) {}

  /** Whether a probe waits for its answer, or for the end of it. */
  get isWaiting(): boolean {
    return this.isProbing && this.#waiting.length + this.#answered.length > 0;
  }

  /** Whether another may start. One that was silent for too long gives its slot back; its verdict counts whenever it comes. */
  hasRoom(now: number, { halfOpenMaxCalls, halfOpenTimeout }: BreakerConfig): boolean {
    const waiting = this.#waiting;
    if (waiting.length < halfOpenMaxCalls) return true;
    // They stand in the order of their start, so only the first ones can be too old.
    while (waiting.length > 0 && now - waiting[0]!.startedAt >= halfOpenTimeout) waiting.shift();
    return waiting.length < halfOpenMaxCalls;
  }

  start(probe: Permit): void {
    this.#waiting.push(probe);
  }

  /** A good answer has begun. */
  answered(probe: Permit, now: number): void {
    this.end(probe);
    this.#answered.push(probe);
    this.#answeredAt.push(now);
  }

  /** A probe no longer goes on; what it shows is said by `succeeded` or `failed`, or nothing is. */
  end(probe: Permit): void {
    if ((probe.flags & ANSWERED) === 0) {
      const at = this.#waiting.indexOf(probe);
      if (at !== -1) this.#waiting.splice(at, 1);
      return;
    }
    const at = this.#answered.indexOf(probe);
    if (at === -1) return;
    this.#answered.splice(at, 1);
    this.#answeredAt.splice(at, 1);
  }

  /** A probe has another permit from now on. */
  handOver(from: Permit, to: Permit): void {
    for (const probes of [this.#waiting, this.#answered]) {
      const at = probes.indexOf(from);
      if (at !== -1) probes[at] = to;
    }
  }

  /** Whether a probe with a good answer is as slow as the calls were for which the circuit was opened. */
  isTooSlow(probe: Permit, now: number): boolean {
    return this.slowIsBad && isSlow(probe, now);
  }

  /** @returns why the target is back, with the numbers; `undefined` where more probes have to succeed */
  succeeded({ successThreshold }: BreakerConfig): string | undefined {
    this.good++;
    const { needed, of } = parseQuorum(successThreshold)!;
    if (this.good < needed) return undefined;
    return needed === of
      ? `${this.good} successful probes in a row (threshold ${needed})`
      : `${this.good} of ${this.good + this.#bad} probes succeeded (threshold ${needed} of ${of})`;
  }

  /**
   * @param slowFrom its answer was good and as slow as that, in milliseconds
   * @returns why the target is not back; `undefined` where the other probes can still prove that it is
   */
  failed({ successThreshold }: BreakerConfig, slowFrom?: number): string | undefined {
    this.#bad++;
    const { needed, of } = parseQuorum(successThreshold)!;
    if (this.#bad <= of - needed) return undefined;
    if (slowFrom !== undefined) return `a probe was slow, slow from ${formatSeconds(slowFrom)}`;
    return this.#bad === 1 ? 'a probe failed' : `${this.#bad} probes failed`;
  }

  /** The next probe whose good answer has gone on for a while: it counts as good now, and no more at its end. */
  takeProven(now: number): Permit | undefined {
    while (this.#answered.length > 0 && now - this.#answeredAt[0]! >= GOOD_ANSWER_MS) {
      this.#answeredAt.shift();
      const probe = this.#answered.shift()!;
      // The end of a slow one says how slow it was.
      if (this.isTooSlow(probe, now)) continue;
      probe.flags |= COUNTED;
      return probe;
    }
    return undefined;
  }

  /** The probes have succeeded: from now on a growing share of calls goes through. */
  recover(now: number, duration: number): void {
    this.isProbing = false;
    this.recovery = new Recovery(now, duration);
  }
}

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
