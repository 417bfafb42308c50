import type { CircuitState } from './state.js';

/** What a breaker has counted and where it stands, at one moment. */
export interface BreakerStats {
  readonly name: string;
  readonly state: CircuitState;
  /** Failures since the last success, as far as they count; 0 once the circuit has closed. */
  readonly consecutiveFailures: number;
  /** Successes since the last failure or change of state. */
  readonly consecutiveSuccesses: number;
  /** Changes of state since the breaker was made. */
  readonly transitionCount: number;
  /** The last change of state; when the breaker was made, where there was none. */
  readonly lastStateChange: Date;
  /** Calls since the breaker was made, by what became of them, and those under way. */
  readonly calls: {
    readonly success: number;
    readonly failure: number;
    readonly ignored: number;
    readonly rejected: number;
    readonly inFlight: number;
    /**
     * A lower bound of the age of the oldest call in flight, in milliseconds; `null` where there is none, and where calls are not
     * timed: without a metrics exporter and without `slowCallDuration`.
     */
    readonly oldestMs: number | null;
  };
  /** Share of failures within the window, 0 to 1. */
  readonly failureRate: number;
  /** Share of slow calls within the window, those in flight included; 0 to 1. */
  readonly slowCallRate: number;
  /** When the next probe may go through; `null` while closed or half-open, and where the circuit was opened by hand. */
  readonly openUntil: Date | null;
}

/** Everything a breaker has counted since it was made; plain numbers, read by a scrape. */
export class Tally {
  success = 0;
  failure = 0;
  ignored = 0;
  inFlight = 0;
  rejectedOpen = 0;
  rejectedHalfOpen = 0;
  /** What would have been rejected, but for mode `observe` or panic. */
  unenforcedOpen = 0;
  unenforcedHalfOpen = 0;
}

/** What became of calls, for `stats()`. @param oldestMs a lower bound of the age of the oldest call in flight */
export function callsOf(tally: Tally, oldestMs: number | null): BreakerStats['calls'] {
  const { success, failure, ignored, inFlight, rejectedOpen, rejectedHalfOpen } = tally;
  return { success, failure, ignored, rejected: rejectedOpen + rejectedHalfOpen, inFlight, oldestMs };
}
