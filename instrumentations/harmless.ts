import { diagnostics } from '../src/breaker/diagnostics.js';

const said = new Set<string>();

/** Reports a fault of ours, the first of its kind: an application that makes a million calls wants one line, not a million. */
export function reportOnce(what: string, error: unknown): void {
  if (said.has(what)) return;
  said.add(what);
  diagnostics.report(`${what}; calls go through without it`, error);
}

/**
 * Makes a function of ours harmless: where it throws, it returns nothing and one message says why. Everything of ours
 * that runs inside a client's own function goes through here or is a method of `ClientCall`.
 *
 * @param what failed, for the message: "Watching a Redis connection failed"
 */
export function harmless<This, Args extends unknown[], Result>(
  what: string,
  ours: (this: This, ...args: Args) => Result,
): (this: This, ...args: Args) => Result | undefined {
  return function (this: This, ...args: Args) {
    try {
      return Reflect.apply(ours, this, args);
    } catch (error) {
      reportOnce(what, error);
      return undefined;
    }
  };
}
