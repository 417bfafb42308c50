// Loaded before Mocha's functions are there. It looks for them, and where it finds them, each instrumentation that a test
// constructs would wrap `require` once more: after a thousand of them, what is required late overflows the stack.
import '@opentelemetry/instrumentation';
import { config } from 'chai';
import { context, diag, metrics, propagation, trace } from '@opentelemetry/api';
import { forgetReports } from '../../src/breaker/diagnostics.js';
import { releaseDiagnostics } from './diagnostics.js';

// A failed comparison shows both sides whole: on another machine that is all there is to see.
config.truncateThreshold = 0;

/** Leaves no OpenTelemetry globals behind: one test's provider must not be seen by the next. */
export const mochaHooks = {
  afterEach(): void {
    for (const api of [trace, metrics, context, propagation, diag]) api.disable();
    releaseDiagnostics();
    forgetReports();
  },
};
