import { diagnostics, reportOnce } from './diagnostics.js';
import type { BreakerConfig } from './config.js';
import type { FailedCall } from './options.js';
import type { Verdict } from './verdict.js';

/** What errors say, asked by breakers, which know no client and none of its codes. */
export interface Classification {
  /** As `classify`, of an error that says nothing but a message, as most that a function throws; `undefined` of any other. */
  classifyPlain: (error: unknown, config: BreakerConfig) => Verdict | undefined;
  /** What the error of a call says of its target. @param signal what its caller could give up with */
  classify: (error: unknown, config: BreakerConfig, signal?: AbortSignal) => Verdict;
  /** Whether an error that is ignored says that the caller gave up. */
  hasGivenUp: (error: unknown, signal?: AbortSignal) => boolean;
  /** How long the answer that an error stands for asked to be left alone, in milliseconds, where the options honour that. */
  askedWait: (error: unknown, config: BreakerConfig) => number | undefined;
  /** Whether the cause of a failure says that our own machine could not make the call: no word on the target. */
  isOwnTrouble: (cause: unknown) => boolean;
  /** What is known of a call by what it was acquired with. */
  describeCall: (context: unknown) => Omit<FailedCall, 'name'>;
  /** Whether the cause of a failure says that the target could not be reached: refused, no route, unknown name. */
  isUnreachable: (cause: unknown) => boolean;
}

/** What can be said without knowing a client: the caller gave up, time ran out, or the call failed. */
export const plainClassification: Classification = {
  classifyPlain: () => undefined,
  classify(error) {
    const name: unknown = (error as { name?: unknown } | null | undefined)?.name;
    if (name === 'TimeoutError') return 'timeout';
    return name === 'AbortError' ? 'ignored' : 'failure';
  },
  hasGivenUp: (_, signal) => signal?.aborted === true,
  askedWait: () => undefined,
  isOwnTrouble: () => false,
  describeCall: () => ({}),
  isUnreachable: () => false,
};

/** The classification in force. Whoever composes the core puts the one of `src/outcomes/` here. */
export const classification: Classification = { ...plainClassification };

/** As `classify`, whatever the error is: one that cannot even be read, since a getter of it throws, is a failure. */
export function verdictOf(error: unknown, config: BreakerConfig, signal?: AbortSignal): Verdict {
  try {
    return classification.classify(error, config, signal);
  } catch (fault) {
    reportOnce(JUDGING_FAILED, fault);
    return 'failure';
  }
}

/**
 * As `Classification.classifyPlain`; never throws. What has a verdict by it says nothing of waits, of our own machine or of
 * a target that cannot be reached, and none of the tables below need be asked.
 */
export function verdictOfPlain(error: unknown, config: BreakerConfig): Verdict | undefined {
  try {
    return classification.classifyPlain(error, config);
  } catch (fault) {
    reportOnce(JUDGING_FAILED, fault);
    return undefined;
  }
}

const JUDGING_FAILED = 'Judging the error of a call failed';

/** As `Classification.hasGivenUp`; never throws. */
export function hasGivenUp(error: unknown, signal?: AbortSignal): boolean {
  try {
    return classification.hasGivenUp(error, signal);
  } catch (fault) {
    reportOnce(JUDGING_FAILED, fault);
    return false;
  }
}

/** As `Classification.askedWait`; never throws. */
export function askedWaitOf(error: unknown, config: BreakerConfig): number | undefined {
  if (!config.honorRetryAfter) return undefined;
  try {
    return classification.askedWait(error, config);
  } catch (fault) {
    reportOnce(JUDGING_FAILED, fault);
    return undefined;
  }
}

/** As `Classification.isOwnTrouble`; never throws. */
export function isOwnTrouble(cause: unknown): boolean {
  return holds(classification.isOwnTrouble, cause);
}

/** What `isFailure` of the options says of a failure; without it, whether our own machine could not make the call. Never throws. */
export function judge(
  cause: unknown,
  { isFailure }: BreakerConfig,
  breaker: string,
  context: unknown,
): boolean | 'ignored' {
  if (isFailure === undefined) return isOwnTrouble(cause) ? 'ignored' : true;
  try {
    const verdict = isFailure(cause, { name: breaker, ...classification.describeCall(context) });
    return verdict === false || verdict === 'ignored' ? verdict : true;
  } catch (error) {
    diagnostics.report(`isFailure of circuit breaker "${breaker}" threw; the call counts as a failure`, error);
    return true;
  }
}

/** As `Classification.isUnreachable`; never throws. */
export function isUnreachable(cause: unknown): boolean {
  return holds(classification.isUnreachable, cause);
}

function holds(predicate: (cause: unknown) => boolean, cause: unknown): boolean {
  try {
    return predicate(cause);
  } catch (fault) {
    reportOnce(JUDGING_FAILED, fault);
    return false;
  }
}
