// What those hear who watch breakers.
import { reportOnce } from './diagnostics.js';
import type { CircuitOpenError } from './errors.js';
import type { CircuitState } from './state.js';

/** Who changed a circuit: its own calls and time, the fleet it belongs to, or somebody by `forceOpen()` and `reset()`. */
export type ChangedBy = 'self' | 'fleet' | 'hand';

/** One change of a circuit's state. */
export interface Transition {
  /** The breaker's name. */
  readonly name: string;
  readonly from: CircuitState;
  readonly to: CircuitState;
  readonly at: Date;
  /** A sentence with the numbers: "5 consecutive failures (threshold 5)". */
  readonly reason: string;
  /** The failure that opened the circuit, where one did. */
  readonly cause: unknown;
  /** Share of failures within the window at that moment, 0 to 1. */
  readonly failureRate: number;
  /** Milliseconds until the first probe, where the circuit opened and not by hand. */
  readonly retryAfterMs: number | undefined;
  readonly by: ChangedBy;
}

/**
 * Who sees what breakers do: telemetry. One observer serves any number of breakers.
 *
 * `Breaker` is always `CircuitBreaker`; a parameter, so that this file need not import the machine that it observes.
 */
export interface BreakerObserver<Breaker> {
  /** A call failed, and the failure counts for the circuit. */
  onFailure?(breaker: Breaker, context: unknown): void;
  /** A call goes out although the circuit is not closed: a probe, or one that mode `observe` lets through. */
  onProbe?(breaker: Breaker, context: unknown): void;
  /** A probe succeeded. Whether that is proof enough shows next. */
  onProbeSuccess?(breaker: Breaker): void;
  /** At least this number of calls have waited for a minute, and no rule says how long is too long. Told once an hour. */
  onHangingCalls?(breaker: Breaker, calls: number): void;
  /** @param context what the call that caused it was acquired with */
  onTransition(breaker: Breaker, transition: Transition, context: unknown): void;
  /** @param enforced false where mode `observe`, or panic, let the call through all the same */
  onRejection(breaker: Breaker, rejection: CircuitOpenError, enforced: boolean, context: unknown): void;
}

/** Who has an observer. */
export interface Observed<Breaker> {
  readonly name: string;
  readonly observer: BreakerObserver<Breaker> | undefined;
}

/** Tells the observer of a breaker: what telemetry trips over must not become the error of a call. */
export function tellObserver<Breaker extends Observed<Breaker>>(
  breaker: Breaker,
  tell: (observer: BreakerObserver<Breaker>) => void,
): void {
  if (breaker.observer === undefined) return;
  try {
    tell(breaker.observer);
  } catch (error) {
    reportOnce(`Telemetry of circuit breaker "${breaker.name}" failed`, error, 'its circuit works on');
  }
}

/** Who keeps how long calls took, for any number of breakers. */
export interface DurationKeeper<Breaker> {
  /** The first timed call of a breaker begins. @returns where its duration goes, and that of each later one */
  recorderOf(breaker: Breaker): DurationRecorder | undefined;
}

/** Takes the duration of each call that succeeded or failed, in milliseconds. */
export interface DurationRecorder {
  /** @param ms NaN for a call that takes long by design: then nothing */
  record(ms: number): void;
}
