/**
 * Where the core says that something went wrong in code it was given: a listener, `isFailure`.
 *
 * The core knows no logger; whoever composes it puts one here. Left alone, it is silent.
 */
export const diagnostics: { report: (message: string, error: unknown) => void } = { report: () => {} };

const said = new Set<string>();

/**
 * Reports a fault of ours, the first of its kind: an application that makes a million calls wants one line, not a million.
 *
 * @param what failed: "Guarding an http request failed"
 * @param then what becomes of calls
 */
export function reportOnce(what: string, error: unknown, then = 'calls go through unguarded where it does'): void {
  if (said.has(what)) return;
  said.add(what);
  diagnostics.report(`${what}; ${then}`, error);
}

/** @internal For tests: the next fault of any kind is reported again. */
export function forgetReports(): void {
  said.clear();
}
