// The errors that users meet: `CircuitOpenError`, `ConfigError`.
import type { ConfigProblem } from './options.js';
import type { CircuitState } from './state.js';
import { formatSeconds } from './format.js';

/** Errors get their name from the prototype, as the built-in ones do, and so it is not printed among their own properties. */
function nameErrors(constructor: new (...args: never[]) => Error): void {
  Object.defineProperty(constructor.prototype, 'name', { value: constructor.name, configurable: true, writable: true });
}

/** A configuration that cannot be taken. `problems` lists everything that is wrong with it. */
export class ConfigError extends Error {
  static {
    nameErrors(this);
  }
  readonly code = 'ERR_CIRCUIT_CONFIG';

  /** @param where what was being configured: a breaker's name or a file */
  constructor(
    where: string,
    readonly problems: readonly ConfigProblem[],
  ) {
    super(problems.map((problem) => `${locate(problem, where)} ${describeProblem(problem)}`).join('\n'));
  }
}

function locate({ at }: ConfigProblem, where: string): string {
  if (at === undefined) return `${where}:`;
  return at.line === 0 ? `${at.file}:` : `${at.file}:${at.line}:${at.column}`;
}

/** One problem as a sentence: `minimumCalls: got 0; the circuit would open on its first failure. Use a whole number of 1 or more.` */
export function describeProblem({ path, value, consequence, allowed }: ConfigProblem): string {
  const key = path === '' ? '' : `${path}: `;
  return `${key}${value === undefined ? '' : `got ${show(value)}; `}${consequence}. ${allowed}`;
}

const MAX_SHOWN = 100;

function show(value: unknown): string {
  const text = print(value);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

function print(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'function') return 'a function';
  // JSON knows no NaN, no Infinity and no symbol, and throws at a bigint.
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'number' || typeof value === 'symbol') return String(value);
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}

/**
 * A call that was not made because the circuit is open, half-open with all its probes under way, or lets calls through by and by.
 *
 * It carries no stack: what rejected the call is the state of the target, not a line of code, and a stack would cost
 * several times the rejection itself.
 */
export class CircuitOpenError extends Error {
  static {
    nameErrors(this);
  }
  // The others declared only: each is then defined once, with its value.
  readonly code = 'ERR_CIRCUIT_OPEN';
  /** The breaker's name. */
  declare readonly breaker: string;
  declare readonly state: Exclude<CircuitState, 'closed'>;
  /**
   * Milliseconds until the next probe may go through; 0 where that depends on probes under way. In the time of `recoveryDuration`:
   * until all calls are let through. Of a circuit that was opened by hand, which waits for `reset()`: `openDuration`.
   */
  declare readonly retryAfterMs: number;

  /** The code of the failure that opened the circuit, such as `ECONNREFUSED`, where it had one. */
  declare readonly openedByCode: string | undefined;

  /**
   * @param cause an error with name, message and status of the failure that opened the circuit; never that error itself,
   * which is another caller's. `undefined` where no failure opened it
   */
  constructor(
    breaker: string,
    state: 'open' | 'half_open',
    retryAfterMs: number,
    reason: string,
    cause: unknown,
    openedByCode?: string,
  ) {
    super(rejectionMessage(breaker, state, retryAfterMs, reason), cause === undefined ? undefined : { cause });
    this.breaker = breaker;
    this.state = state;
    this.retryAfterMs = retryAfterMs;
    this.openedByCode = openedByCode;
  }
}

let lastBreaker = '';
let lastState: CircuitState;
let lastRetryAfterMs = NaN;
let lastReason = '';
let lastMessage = '';

/** Calls that are rejected together are told the same, and putting the text together costs as much as the error itself. */
function rejectionMessage(breaker: string, state: CircuitState, retryAfterMs: number, reason: string): string {
  if (retryAfterMs !== lastRetryAfterMs || state !== lastState || breaker !== lastBreaker || reason !== lastReason) {
    lastBreaker = breaker;
    lastState = state;
    lastRetryAfterMs = retryAfterMs;
    lastReason = reason;
    lastMessage = describeRejection(breaker, state, retryAfterMs, reason);
  }
  return lastMessage;
}

function describeRejection(breaker: string, state: CircuitState, retryAfterMs: number, reason: string): string {
  if (state === 'open')
    return `Circuit "${breaker}" is open: ${reason}; next attempt in ${formatSeconds(retryAfterMs)}`;
  return retryAfterMs > 0
    ? `Circuit "${breaker}" is half-open: ${reason}; all of them in ${formatSeconds(retryAfterMs)}`
    : `Circuit "${breaker}" is half-open and all its probes are under way`;
}

/** What a call failed with whose caller gave up waiting and did not say so. */
export class AbandonedError extends Error {
  static {
    nameErrors(this);
  }
  readonly code = 'ERR_ABANDONED';

  /** @param cause what the caller gave as its reason, where it gave any */
  constructor(waitedMs: number, cause: unknown) {
    const message = `given up after ${formatSeconds(waitedMs)} without an answer`;
    super(message, cause === undefined ? undefined : { cause });
  }
}

/** An error made without walking the stack, at a fifth of the cost. */
export function withoutStack<E extends Error>(make: () => E): E {
  const limit = Error.stackTraceLimit;
  if (!limitStacks(0)) return make();
  try {
    return make();
  } finally {
    limitStacks(limit);
  }
}

/** @returns false where that cannot be set: under --frozen-intrinsics */
function limitStacks(frames: number): boolean {
  try {
    Error.stackTraceLimit = frames;
    return true;
  } catch {
    return false;
  }
}

/** How far a chain of causes is followed: nothing stops an error from being its own cause. */
export const MAX_CAUSES = 8;

/**
 * Whether an error is a `CircuitOpenError`, has one among its causes, or among the errors that an `AggregateError` stands
 * for. Knows those of another copy of this package too.
 */
export function isCircuitOpenError(
  error: unknown,
): error is CircuitOpenError | { cause: unknown } | { errors: readonly unknown[] } {
  return findCircuitOpenError(error) !== undefined;
}

/** The one that `isCircuitOpenError` has found. */
export function findCircuitOpenError(error: unknown): CircuitOpenError | undefined {
  try {
    return findRejection(error);
  } catch {
    // A getter that throws, of an error that is not ours.
    return undefined;
  }
}

function findRejection(error: unknown): CircuitOpenError | undefined {
  // Bounded, since errors can be their own causes and parts.
  const found = [error];
  for (let at = 0; at < found.length && at < MAX_LOOKS; at++) {
    const current = found[at];
    if (current === null || typeof current !== 'object') continue;
    const { code, errors, cause } = current as { code?: unknown; errors?: unknown; cause?: unknown };
    if (code === 'ERR_CIRCUIT_OPEN') return current as CircuitOpenError;
    found.push(cause);
    if (Array.isArray(errors)) for (const part of errors.slice(0, MAX_LOOKS)) found.push(part);
  }
  return undefined;
}

const MAX_LOOKS = 64;
