/**
 * Where the core says that something went wrong in code it was given: a listener, `isFailure`.
 *
 * The core knows no logger; whoever composes it puts one here. Left alone, it is silent.
 */
export const diagnostics: { report: (message: string, error: unknown) => void } = { report: () => {} };
