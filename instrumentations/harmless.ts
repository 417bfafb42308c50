import { reportOnce } from '../src/breaker/diagnostics.js';

/**
 * Makes a function of ours harmless: where it throws, one message says why, and the client goes on. Everything of ours
 * that runs inside a client's own function goes through here or is a method of `ClientCall`.
 *
 * @param what failed, for the message: "Watching a Redis connection failed"
 * @param ours takes five arguments at most, and no rest of them: they are named here, since an array for each call would be
 * one object too many
 * @param otherwise what is done then with the first argument, and returned; default nothing
 */
export function harmless<This, Args extends unknown[], Result>(
  what: string,
  ours: ((this: This, ...args: Args) => Result) & AtMostFive<Args>,
  otherwise?: (first: NoInfer<Args>[0]) => NoInfer<Result> | undefined,
): (this: This, ...args: Args) => Result | undefined {
  const run = ours as unknown as (this: This, ...args: unknown[]) => Result;
  return function (this: This, a: unknown, b: unknown, c: unknown, d: unknown, e: unknown) {
    try {
      return run.call(this, a, b, c, d, e);
    } catch (error) {
      reportOnce(what, error);
    }
    try {
      return otherwise?.(a);
    } catch {
      // Whatever is broken there has been reported.
      return undefined;
    }
  } as unknown as (this: This, ...args: Args) => Result | undefined;
}

type AtMostFive<Args extends unknown[]> = Args['length'] extends 0 | 1 | 2 | 3 | 4 | 5 ? unknown : never;
