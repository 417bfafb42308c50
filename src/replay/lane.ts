import type { BreakerConfig } from '../breaker/config.js';
import type { CircuitState } from '../breaker/state.js';
import { windowMs } from '../breaker/window.js';
import type { Verdict } from '../breaker/verdict.js';
import type { System } from '../target.js';
import { Buckets } from './buckets.js';
import type { Change, Episode, Rejected } from './report.js';

const noneRejected = (): Rejected => ({ failed: 0, succeeded: 0, other: 0 });

const MAX_CHANGES = 10_000;
const MAX_EPISODES = 1_000;
const MAX_FAILURES = 10_000;

/** What one breaker went through, and what became of the calls to its targets. */
export class Lane {
  calls = 0;
  succeeded = 0;
  failed = 0;
  other = 0;
  readonly rejections: Rejected = noneRejected();
  /** How long the rejected calls that failed had taken. */
  savedMs = 0;
  /** How many times it opened, the times after a failed probe not counted. */
  opened = 0;
  /** For how long it was not closed, as far as that is over. */
  openMs = 0;
  readonly episodes: Episode[] = [];
  readonly changes: Change[] = [];
  readonly buckets: Buckets | undefined;
  #episode: Episode | undefined;
  #openedAt = 0;
  // When the failures of this trouble began: those since the last success, and those of the window.
  #firstSinceSuccess: number | undefined;
  readonly #failures: number[] = [];
  #lastAt = 0;

  constructor(
    readonly name: string,
    readonly system: System,
    readonly config: BreakerConfig,
    inFull: boolean,
  ) {
    this.buckets = inFull ? new Buckets() : undefined;
  }

  called(now: number, durationMs: number, verdict: Verdict): void {
    this.calls++;
    this.#lastAt = Math.max(this.#lastAt, now + durationMs);
    if (isFailure(verdict)) this.failed++;
    else if (verdict === 'success') this.succeeded++;
    else this.other++;
    this.buckets?.add(now, isFailure(verdict) ? 'failed' : 'called');
  }

  rejected(now: number, durationMs: number, verdict: Verdict): void {
    const kind = isFailure(verdict) ? 'failed' : verdict === 'success' ? 'succeeded' : 'other';
    this.rejections[kind]++;
    if (this.#episode !== undefined) this.#episode.rejected[kind]++;
    if (kind === 'failed') this.savedMs += durationMs;
    this.buckets?.add(now, kind === 'succeeded' ? 'price' : 'saved');
  }

  /** A call that was let through has ended. */
  ended(now: number, startedAt: number, verdict: Verdict): void {
    if (verdict === 'success') this.#firstSinceSuccess = undefined;
    if (!isFailure(verdict)) return;
    this.#firstSinceSuccess ??= startedAt;
    this.#failures.push(now, startedAt);
    if (this.#failures.length > 2 * MAX_FAILURES) this.#failures.splice(0, MAX_FAILURES);
  }

  changed(at: number, from: CircuitState, to: CircuitState, reason: string): void {
    if (this.buckets !== undefined && this.changes.length < MAX_CHANGES) this.changes.push({ at, from, to, reason });
    if (from === 'closed') this.#open(at, reason);
    else if (to === 'closed') this.#close(at);
    else if (to === 'open' && this.#episode !== undefined) this.#episode.reopened++;
  }

  /** For how long it was not closed, until the last call where it still is not. */
  get openForMs(): number {
    return this.#openedAt === 0 ? this.openMs : this.openMs + Math.max(0, this.#lastAt - this.#openedAt);
  }

  #open(at: number, reason: string): void {
    this.opened++;
    this.#openedAt = at;
    const began = this.#troubleBegan(at, reason);
    this.#episode = {
      openedAt: at,
      closedAt: null,
      reason,
      noticedAfterMs: at - began,
      reopened: 0,
      rejected: noneRejected(),
    };
    if (this.episodes.length < MAX_EPISODES) this.episodes.push(this.#episode);
  }

  /** Consecutive failures began after the last success; a rate is of all failures in the window. */
  #troubleBegan(at: number, reason: string): number {
    const sinceSuccess = this.#firstSinceSuccess ?? at;
    if (reason.includes('consecutive')) return sinceSuccess;
    for (let index = 0; index < this.#failures.length; index += 2) {
      if (this.#failures[index]! >= at - windowMs(this.config.window)) return this.#failures[index + 1]!;
    }
    return sinceSuccess;
  }

  #close(at: number): void {
    this.openMs += at - this.#openedAt;
    this.#openedAt = 0;
    if (this.#episode !== undefined) this.#episode.closedAt = at;
    this.#episode = undefined;
    this.#failures.length = 0;
    this.#firstSinceSuccess = undefined;
  }
}

function isFailure(verdict: Verdict): boolean {
  return verdict === 'failure' || verdict === 'timeout';
}
