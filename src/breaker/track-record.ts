import type { Evidence } from './advice.js';
import type { BreakerConfig } from './config.js';
import type { FailureNote } from './failure-note.js';
import { formatPercent, formatSeconds } from './format.js';
import type { CallCount } from './options.js';
import type { Permit } from './permit.js';
import { SlowCallWatch } from './slow-call-watch.js';
import { resized, windowOf } from './count-window.js';
import type { CallWindow } from './window.js';

/** What can be read of a track record, of a target that was never called as well. */
export type TrackRecordView = Readonly<
  Pick<
    TrackRecord,
    | 'consecutiveFailures'
    | 'consecutiveSuccesses'
    | 'evidence'
    | 'failureRate'
    | 'slowCallRate'
    | 'hasCalls'
    | 'isOneFailureAway'
  >
>;

/**
 * How a target has done of late: what happened in a row, the calls of the window, and those in flight that are slow by
 * now. It knows the three limits of a closed circuit; the circuit acts on them.
 */
export class TrackRecord {
  consecutiveFailures = 0;
  consecutiveSuccesses = 0;
  lastFailure: FailureNote | undefined;
  /** Whether every failure since the last success says that no connection could be made. */
  isUnreachable = false;
  /** When the call began that succeeded last. */
  lastSuccessStart = -Infinity;
  // When the first of the failures in a row began.
  #troubleSince = -Infinity;
  /** Calls in flight, where slow ones count. */
  slowCalls: SlowCallWatch | undefined;
  #window: CallWindow;

  constructor({ window, slowCallDuration }: Pick<BreakerConfig, 'window' | 'slowCallDuration'>, now: number) {
    this.#window = windowOf(window, now);
    this.#watchSlowCalls(slowCallDuration);
  }

  /** Takes new options and keeps what it knows. */
  reconfigure({ window, slowCallDuration }: BreakerConfig, previous: BreakerConfig, now: number): void {
    if (window !== previous.window) this.#window = resized(this.#window, window, now);
    if (slowCallDuration !== previous.slowCallDuration) this.#watchSlowCalls(slowCallDuration);
  }

  /** The circuit closes: all that was before is over. */
  begin(): void {
    this.#window.clear();
    this.consecutiveFailures = 0;
    this.isUnreachable = false;
    this.lastFailure = undefined;
  }

  /** The circuit enters a state: what began in an earlier one no longer counts. */
  circuitChanges(): void {
    this.consecutiveSuccesses = 0;
    this.slowCalls?.clear();
  }

  succeeded(): void {
    this.consecutiveFailures = 0;
    this.consecutiveSuccesses++;
    this.isUnreachable = false;
  }

  /**
   * A call of a closed circuit ended well.
   *
   * @returns whether a limit may be reached all the same: for failures of the window, or slow calls
   */
  endedWell(call: Permit, now: number): boolean {
    this.succeeded();
    if (this.slowCalls !== undefined) {
      this.ended(call, false, now);
      return true;
    }
    this.#window.recordSuccess(now);
    return this.#window.failures > 0;
  }

  /** Whether a limit may be reached by a call that ends well: for failures of the window, or slow calls. */
  get heedsSuccess(): boolean {
    return this.slowCalls !== undefined || this.#window.failures > 0;
  }

  /**
   * @param isUnreached whether it says that no connection could be made
   * @param startedAt of the call; NaN where nobody knows
   */
  failed(isUnreached: boolean, startedAt: number, now: number): void {
    this.consecutiveSuccesses = 0;
    this.consecutiveFailures++;
    if (this.consecutiveFailures === 1) this.#troubleSince = startedAt >= 0 ? startedAt : now;
    this.isUnreachable = isUnreached && (this.consecutiveFailures === 1 || this.isUnreachable);
  }

  /** A call of a closed circuit ended with a verdict. */
  ended(call: Permit, failed: boolean, now: number): void {
    const { slowCalls } = this;
    slowCalls?.ended(call);
    this.#window.record(now, failed, slowCalls !== undefined && isSlow(call, now));
  }

  /**
   * A call of a closed circuit ended without a verdict. Given up after a long time it is a slow call, or calls that hang
   * would be seen by those only who wait for ever.
   *
   * @returns whether it was slow
   */
  endedWithoutVerdict(call: Permit, now: number): boolean {
    const { slowCalls } = this;
    if (slowCalls === undefined) return false;
    slowCalls.ended(call);
    const wasSlow = isSlow(call, now);
    if (wasSlow) this.#window.recordSlowWithoutVerdict(now);
    return wasSlow;
  }

  /** Whether failures reach a limit, and the reason with its numbers. Asked right after a call has ended. */
  whyFailing(config: BreakerConfig): string | undefined {
    const { consecutiveFailures } = this;
    const { calls, failures } = this.#window;
    // Each limit takes a failure. Of many breakers in use, the options are then not even fetched from memory.
    if (consecutiveFailures === 0 && failures === 0) return undefined;
    const { failureThreshold, minimumCalls, failureRateThreshold, window } = config;
    if (consecutiveFailures >= failureThreshold) {
      return `${consecutiveFailures} consecutive failures (threshold ${failureThreshold})`;
    }
    if (calls < minimumCalls || failures < calls * failureRateThreshold) return undefined;
    return `failure rate ${describeRate(failures / calls, calls, window, failureRateThreshold)}`;
  }

  /** Whether slow calls reach their limit, and the reason with its numbers. */
  whySlow(now: number, config: BreakerConfig): string | undefined {
    if (this.slowCalls === undefined) return undefined;
    const { minimumCalls, slowCallRateThreshold, window } = config;
    const { calls, slow } = this.#slowAmongCalls(now);
    if (calls < minimumCalls || slow < calls * slowCallRateThreshold) return undefined;
    const rate = describeRate(slow / calls, calls, window, slowCallRateThreshold);
    const { slowCallDuration } = this.slowCalls;
    const from = slowCallDuration === Infinity ? '' : `, slow from ${formatSeconds(slowCallDuration)}`;
    return `slow-call rate ${rate}${from}`;
  }

  /** What it shows of the target to others that call it. */
  evidence(now: number, config: BreakerConfig, isProbing: boolean): Evidence {
    this.#window.rotate(now);
    const { calls, failures } = this.#window;
    const rate = calls === 0 ? 0 : failures / calls;
    return {
      streak: this.consecutiveFailures,
      troubleSince: this.#troubleSince,
      lastSuccessStart: this.lastSuccessStart,
      failures,
      rate,
      isFailing: calls >= config.minimumCalls && rate >= config.failureRateThreshold,
      isProbing,
    };
  }

  /** Whether one more failure would reach a limit. */
  isOneFailureAway(now: number, { failureThreshold, minimumCalls, failureRateThreshold }: BreakerConfig): boolean {
    if (this.consecutiveFailures + 1 >= failureThreshold) return true;
    this.#window.rotate(now);
    const calls = this.#window.calls + 1;
    return calls >= minimumCalls && this.#window.failures + 1 >= calls * failureRateThreshold;
  }

  /** Whether calls ended within the window. */
  hasCalls(now: number): boolean {
    this.#window.rotate(now);
    return this.#window.calls > 0;
  }

  /** Share of failures among the calls of the window, 0 to 1; 0 where there were none. */
  failureRate(now: number): number {
    this.#window.rotate(now);
    const { calls, failures } = this.#window;
    return calls === 0 ? 0 : failures / calls;
  }

  /** Share of slow calls, those in flight that are slow by now included, 0 to 1; 0 where there were none. */
  slowCallRate(now: number): number {
    const { calls, slow } = this.#slowAmongCalls(now);
    return calls === 0 ? 0 : slow / calls;
  }

  /** A call of the circuit is judged by how slow it is, although others are not. */
  watchSlowCalls(): void {
    this.slowCalls ??= new SlowCallWatch(Infinity);
  }

  #slowAmongCalls(now: number): { calls: number; slow: number } {
    this.#window.rotate(now);
    const { calls, slow, slowWithoutVerdict } = this.#window;
    const given = slowWithoutVerdict + (this.slowCalls?.overdue(now) ?? 0);
    return { calls: calls + given, slow: slow + given };
  }

  #watchSlowCalls(slowCallDuration: number | undefined): void {
    this.slowCalls = slowCallDuration === undefined ? undefined : new SlowCallWatch(slowCallDuration);
  }
}

/** That of a target that was never called: one for all of them. */
export const NOTHING_KNOWN: TrackRecordView = new TrackRecord({ window: 1 }, 0);

/** Whether a call is slow by now. NaN, of one that is slow by design, is never. */
export function isSlow({ startedAt, breaker }: Permit, now: number): boolean {
  return now - startedAt >= (breaker.config.slowCallDuration ?? Infinity);
}

function describeRate(rate: number, calls: number, window: number | CallCount, threshold: number): string {
  const which = typeof window === 'number' ? `${calls} calls in ${formatSeconds(window)}` : `the last ${calls} calls`;
  return `${formatPercent(rate)} of ${which} (threshold ${formatPercent(threshold)})`;
}
