import type { BreakerConfig } from './config.js';
import { parseQuorum } from './options.js';
import { ANSWERED, type Permit } from './permit.js';

// A probe that was answered well counts as good once its answer has gone on for so long.
const GOOD_ANSWER_MS = 1_000;

/** The probes of one half-open state: those without an answer hold its slots, those with a good one no longer do. */
export class Probes {
  readonly #waiting: Permit[] = [];
  readonly #answered: Permit[] = [];
  readonly #answeredAt: number[] = [];
  /** Those that succeeded, and those that failed. */
  good = 0;
  bad = 0;

  /** Whether one waits for its answer, or for the end of it. */
  get isWaiting(): boolean {
    return this.#waiting.length + this.#answered.length > 0;
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

  /** Why the circuit closes, with the numbers; `undefined` where more probes have to succeed. */
  whyProven({ successThreshold }: BreakerConfig): string | undefined {
    const { needed, of } = parseQuorum(successThreshold)!;
    if (this.good < needed) return undefined;
    return needed === of
      ? `${this.good} successful probes in a row (threshold ${needed})`
      : `${this.good} of ${this.good + this.bad} probes succeeded (threshold ${needed} of ${of})`;
  }

  /** Whether so many have failed that the others cannot prove anything. */
  isHopeless({ successThreshold }: BreakerConfig): boolean {
    const { needed, of } = parseQuorum(successThreshold)!;
    return this.bad > of - needed;
  }

  /** The next probe whose good answer has gone on for a while: its verdict need not wait for its end. */
  takeProven(now: number): Permit | undefined {
    if (this.#answered.length === 0 || now - this.#answeredAt[0]! < GOOD_ANSWER_MS) return undefined;
    this.#answeredAt.shift();
    return this.#answered.shift();
  }
}
