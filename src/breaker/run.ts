import type { CircuitOpenError } from './errors.js';
import { deferRejection, rejectedPromise } from './pacing.js';
import { NO_VERDICT, Permit, type PermitIssuer } from './permit.js';
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

/** One `call()` on its way: its permit, with the two callbacks that settle it. */
export class Run extends Permit {
  #next: Run | undefined = undefined;
  #pooled = false;
  #signal: AbortSignal | undefined = undefined;

  /** The call of a closed circuit. */
  static take(breaker: PermitIssuer, generation: number, startedAt: number): Run {
    const run = free;
    if (run === undefined) {
      const made = new Run(breaker, generation, startedAt, undefined);
      made.#pooled = true;
      return made;
    }
    free = run.#next;
    freeCount--;
    // Each write of an object costs as much as this look.
    if (run.breaker !== breaker) run.breaker = breaker;
    run.generation = generation;
    run.startedAt = startedAt;
    run.flags = 0;
    run.settled = false;
    return run;
  }

  static #keep(run: Run): void {
    run.#next = free;
    free = run;
    freeCount++;
  }

  /** The call of a breaker that is off. */
  static unguarded(): Run {
    const run = new Run(undefined as never, NO_VERDICT, NaN, undefined);
    run.settled = true;
    return run;
  }

  /** Settles by what the function has returned: now, when its promise settles, or when its stream ends. */
  settleWith<T>(result: T | PromiseLike<T>, signal: AbortSignal | undefined): Promise<T> {
    if (signal !== undefined) this.#signal = signal;
    if (!isObject(result)) return Promise.resolve(this.#fulfilled(result) as T);
    const { then } = result as { then?: unknown };
    // One of which it is known that it calls one of two callbacks, once: any other `then` may do as it likes.
    if (then === nativeThen) return (result as Promise<T>).then(this.#fulfilled, this.#rejected) as Promise<T>;
    if (typeof then !== 'function') return Promise.resolve(this.#returned(result) as T);
    return adopt(result).then(this.#fulfilled, this.#rejected) as Promise<T>;
  }

  /** Settles by what the function has thrown in the place of returning. */
  failWith(error: unknown, signal: AbortSignal | undefined): Promise<never> {
    this.settleByError(error, signal);
    this.#giveBack();
    return Promise.reject(error);
  }

  readonly #fulfilled = (value: unknown): unknown => {
    this.success();
    this.#giveBack();
    return value;
  };

  readonly #rejected = (error: unknown): never => {
    this.settleByError(error, this.#signal);
    this.#giveBack();
    throw error;
  };

  #returned(result: object): unknown {
    // An async generator has done nothing yet: how it goes shows at its end, and its permit is in use until then.
    if (read(result, Symbol.asyncIterator) !== undefined && streams.settleAtEnd(this, result)) return result;
    return this.#fulfilled(result);
  }

  #giveBack(): void {
    if (this.#signal !== undefined) this.#signal = undefined;
    if (this.#pooled && freeCount < MAX_FREE_RUNS) Run.#keep(this);
  }
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
