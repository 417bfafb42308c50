import type { BreakerConfig } from './config.js';
import type { Verdict } from './verdict.js';

/** What errors say, asked by breakers, which know no client and none of its codes. */
export interface Classification {
  /** What the error of a call says of its target. */
  classify: (error: unknown, config: BreakerConfig) => Verdict;
  /** Whether the cause of a failure says that our own machine could not make the call: no word on the target. */
  isOwnTrouble: (cause: unknown) => boolean;
  /** Whether the cause of a failure says that the target could not be reached: refused, no route, unknown name. */
  isUnreachable: (cause: unknown) => boolean;
}

/** What can be said without knowing a client: the caller gave up, time ran out, or the call failed. */
export const plainClassification: Classification = {
  classify(error) {
    const name: unknown = (error as { name?: unknown } | null | undefined)?.name;
    if (name === 'TimeoutError') return 'timeout';
    return name === 'AbortError' ? 'ignored' : 'failure';
  },
  isOwnTrouble: () => false,
  isUnreachable: () => false,
};

/** The classification in force. Whoever composes the core puts the one of `src/outcomes/` here. */
export const classification: Classification = { ...plainClassification };

/** As `classify`, whatever the error is: one that cannot even be read, since a getter of it throws, is a failure. */
export function verdictOf(error: unknown, config: BreakerConfig): Verdict {
  try {
    return classification.classify(error, config);
  } catch {
    return 'failure';
  }
}

/** As `Classification.isOwnTrouble`; never throws. */
export function isOwnTrouble(cause: unknown): boolean {
  return holds(classification.isOwnTrouble, cause);
}

/** As `Classification.isUnreachable`; never throws. */
export function isUnreachable(cause: unknown): boolean {
  return holds(classification.isUnreachable, cause);
}

function holds(predicate: (cause: unknown) => boolean, cause: unknown): boolean {
  try {
    return predicate(cause);
  } catch {
    return false;
  }
}
