import type { CircuitOpenError } from './errors.js';
import { deferRejection, rejectedPromise } from './pacing.js';
import { IS_RUN, NO_VERDICT, Permit, SETTLED, UNGUARDED, type PermitIssuer } from './permit.js';
import { isObject, read } from './values.js';

// Upper bound of pooled runs, about 300 bytes each.
const MAX_FREE_RUNS = 1_000;

/**
 * Settles the permit of a call at the end of the stream that it returned. Whoever composes the core puts the function of
 * `src/outcomes/` here; alone, the core takes a stream for a value like any other.
 */
export const streams: {
  /** @returns whether the result is a stream; must not throw */
  settleAtEnd: (permit: Permit, result: object) => boolean;
} = { settleAtEnd: () => false };

// One permit and two closures are most of what a call would allocate; nobody outside holds them, so that they can serve
// again. Not many: those of a burst go, and one whose promise never settles is garbage with it.
let free: Run | undefined;
let freeCount = 0;

/**
 * One `call()` on its way: its permit, with the two callbacks that settle it. V8 compiles all that a call passes into one
 * piece as long as it is small: what few calls need stands apart, and fields have no `#`, which takes as much again.
 */
export class Run extends Permit {
  next: Run | undefined = undefined;
  signal: AbortSignal | undefined = undefined;

  /** Settles by what the function has returned: now, when its promise settles, or when its stream ends. */
  settleWith<T>(result: T | PromiseLike<T>, signal: AbortSignal | undefined): Promise<T> {
    if (signal !== undefined) this.signal = signal;
    if (!isObject(result)) return Promise.resolve(this.fulfilled(result) as T);
    const { then } = result as { then?: unknown };
    // One of which it is known that it calls one of two callbacks, once: any other `then` may do as it likes.
    return then === nativeThen
      ? ((result as Promise<T>).then(this.fulfilled, this.rejected) as Promise<T>)
      : this.settleWithOther(result, then);
  }

  /** Settles by what the function has thrown in the place of returning. */
  failWith(error: unknown, signal: AbortSignal | undefined): Promise<never> {
    this.settleByError(error, signal);
    giveBack(this);
    return Promise.reject(error);
  }

  readonly fulfilled = (value: unknown): unknown => {
    this.success();
    giveBack(this);
    return value;
  };

  readonly rejected = (error: unknown): never => {
    this.settleByError(error, this.signal);
    giveBack(this);
    throw error;
  };

  private settleWithOther<T>(result: object, then: unknown): Promise<T> {
    if (typeof then === 'function')
      return adopt(result as PromiseLike<T>).then(this.fulfilled, this.rejected) as Promise<T>;
    // First of all: a promise without a `then` of use is asked for its constructor here, which may throw. Whatever throws after
    // the run was given back would give it back a second time, and two calls would share it.
    const promise = Promise.resolve(result as T);
    // An async generator has done nothing yet: how it goes shows at its end, and its permit is in use until then.
    if (read(result, Symbol.asyncIterator) === undefined || !streams.settleAtEnd(this, result)) this.fulfilled(result);
    return promise;
  }
}

/** The run of a call of a closed circuit: one that was used before, where there is one. */
export function takeRun(breaker: PermitIssuer, generation: number, startedAt: number): Run {
  const run = free;
  if (run === undefined) return new Run(breaker, generation, startedAt);
  free = run.next;
  freeCount--;
  // Each write of an object costs as much as this look.
  if (run.breaker !== breaker) run.breaker = breaker;
  run.generation = generation;
  run.startedAt = startedAt;
  run.flags = 0;
  return run;
}

/** The run of a call of a breaker that is off. */
export function unguardedRun(): Run {
  return new Run(UNGUARDED.breaker, NO_VERDICT, NaN, IS_RUN | SETTLED);
}

function giveBack(run: Run): void {
  if (run.signal !== undefined) run.signal = undefined;
  // A run that was asked for by this flag may be known as a probe.
  if ((run.flags & IS_RUN) !== 0 || freeCount === MAX_FREE_RUNS) return;
  run.next = free;
  free = run;
  freeCount++;
}

/** An error of the caller, which made its call before it asked: no word on the target. */
export function notAFunction(fn: unknown): Promise<never> {
  const given = fn instanceof Promise ? 'a promise: its call is made already' : typeof fn;
  return Promise.reject(
    new TypeError(`A circuit breaker calls a function that makes the call; it was given ${given}.`),
  );
}

// What an ordinary burst of calls rejects within one turn does not wait; a loop that retries at once soon does.
const AT_ONCE = 32;

/** The promise of a call that was rejected. */
export function rejectLater(rejection: CircuitOpenError): Promise<never> {
  return rejectedPromise(rejection, AT_ONCE);
}

/** The promise of a call that was rejected and has a fallback, which must not be a way around the wait. */
export function fallBackLater<F>(
  rejection: CircuitOpenError,
  fallback: (error: CircuitOpenError) => F | PromiseLike<F>,
): Promise<F> {
  return new Promise((resolve, reject) =>
    deferRejection(() => {
      try {
        resolve(fallback(rejection));
      } catch (error) {
        reject(error);
      }
    }, AT_ONCE),
  );
}

const nativeThen: unknown = Reflect.get(Promise.prototype, 'then');

// Apart from the above, which would otherwise allocate for this closure at every call.
function adopt<T>(result: PromiseLike<T>): Promise<T> {
  return new Promise((resolve) => resolve(result));
}
