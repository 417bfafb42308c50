// What a breaker and a fleet know of each other.
import { diagnostics } from './diagnostics.js';

/** What a breaker can say of its target to others that call it as well. Times are those of its own clock, in milliseconds. */
export interface Evidence {
  /** Failures in a row. */
  readonly streak: number;
  /** When the first of them began. */
  readonly troubleSince: number;
  /** When the call began that succeeded last; `-Infinity` before the first. */
  readonly lastSuccessStart: number;
  /** Failures within the window, and their share of its calls. */
  readonly failures: number;
  readonly rate: number;
  /** Whether the rate is one that opens the circuit. */
  readonly isFailing: boolean;
  /** Whether a probe waits for its answer. */
  readonly isProbing: boolean;
}

/** Who knows more of a target than one process sees, such as a fleet. Its answers come from memory. */
export interface Advisor<Breaker> {
  /** Whether a call may be a probe now. Asked before an open circuit turns half-open, and before each probe. */
  mayProbe(breaker: Breaker, now: number): boolean;
  /** One goes out. */
  onProbe(breaker: Breaker): void;
  /** A connection to the target was made. */
  onSignOfLife(breaker: Breaker): void;
}

/** Who may have an advisor. */
export interface Advised<Breaker> {
  readonly name: string;
  readonly advisor: Advisor<Breaker> | undefined;
}

/** Asks the advisor of a breaker: what a fleet trips over must not become the error of a call. */
export function askAdvisor<Breaker extends Advised<Breaker>, Answer>(
  breaker: Breaker,
  ask: (advisor: Advisor<Breaker>) => Answer,
  otherwise: Answer,
): Answer {
  if (breaker.advisor === undefined) return otherwise;
  try {
    return ask(breaker.advisor);
  } catch (error) {
    diagnostics.report(`Asking the fleet about circuit breaker "${breaker.name}" failed`, error);
    return otherwise;
  }
}
