import { diagnostics } from '../../src/breaker/diagnostics.js';

let before: typeof diagnostics.report | undefined;

/** What the core has to say from now until the end of the test. */
export function captureDiagnostics(): [message: string, error: unknown][] {
  const reports: [string, unknown][] = [];
  before ??= diagnostics.report;
  diagnostics.report = (message, error) => reports.push([message, error]);
  return reports;
}

/** After a test. */
export function releaseDiagnostics(): void {
  if (before !== undefined) diagnostics.report = before;
  before = undefined;
}
