import { reportOnce } from '../src/breaker/diagnostics.js';

/**
 * Makes a function of ours harmless: where it throws, one message says why, and the client goes on. Everything of ours
 * that runs inside a client's own function goes through here or is a method of `ClientCall`.
 *
 * @param what failed, for the message: "Watching a Redis connection failed"
 * @param otherwise what is done then with the first argument, and returned; default nothing
 */
export function harmless<This, Args extends unknown[], Result>(
  what: string,
  ours: (this: This, ...args: Args) => Result,
  otherwise?: (first: NoInfer<Args>[0]) => NoInfer<Result> | undefined,
): (this: This, ...args: Args) => Result | undefined {
  return function (this: This, ...args: Args) {
    try {
      return Reflect.apply(ours, this, args);
    } catch (error) {
      reportOnce(what, error);
    }
    try {
      return otherwise?.(args[0]);
    } catch {
      // Whatever is broken there has been reported.
      return undefined;
    }
  };
}
