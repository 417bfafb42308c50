import { context, diag, metrics, propagation, trace } from '@opentelemetry/api';
import { releaseDiagnostics } from './diagnostics.js';

/** Leaves no OpenTelemetry globals behind: one test's provider must not be seen by the next. */
export const mochaHooks = {
  afterEach(): void {
    for (const api of [trace, metrics, context, propagation, diag]) api.disable();
    releaseDiagnostics();
  },
};
