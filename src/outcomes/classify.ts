import { classification } from '../breaker/classification.js';
import type { BreakerConfig } from '../breaker/config.js';
import { findCause } from '../breaker/errors.js';
import type { Verdict } from '../breaker/verdict.js';
import { endOf, isOwnTrouble } from './endings.js';

/** What an error says of the target of its call, whatever client it comes from. */
export function classify(error: unknown, _config: BreakerConfig): Verdict {
  switch (endOf(error)) {
    case 'timeout':
      return 'timeout';
    case 'abort':
      return 'ignored';
    case 'failure':
      return isOwnTrouble(error) ? 'ignored' : 'failure';
  }
}

const UNREACHABLE_CODES: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  // Look-ups of names.
  'ENOTFOUND',
  'EAI_AGAIN',
  'EAI_FAIL',
  'EAI_NODATA',
  // Of a unix socket: no server has made it.
  'ENOENT',
]);

/** Whether an error, or one of its causes or parts, says that no connection to the target could be made. */
export function isUnreachable(error: unknown): boolean {
  return findCause(error, isUnreachableItself) !== undefined;
}

function isUnreachableItself(error: unknown): error is Error {
  const { code, syscall, errors } = error as { code?: unknown; syscall?: unknown; errors?: unknown };
  if (UNREACHABLE_CODES.has(code)) return true;
  // A reset or a timeout says so only of a connection that was not there yet.
  if (syscall === 'connect') return code === 'ECONNRESET' || code === 'ETIMEDOUT';
  // One for each address of a host.
  return Array.isArray(errors) && errors.length > 0 && errors.every(isUnreachable);
}

/** From now on breakers judge errors as the tables of this folder do. */
export function installOutcomes(): void {
  Object.assign(classification, { classify, isOwnTrouble, isUnreachable });
}
