import { isMainThread } from 'node:worker_threads';
import { attachAll } from '../instrumentations/attachments.js';
import { Patches } from '../instrumentations/patches.js';
import { ConfigError } from './breaker/errors.js';
import { findUnknownVariables, STRICT_VARIABLE, takeVariablesOfPm2, type TracesAskedBy } from './environment.js';
import { isPackageManager } from './package-manager.js';
import { getRuntime, loadRules } from './runtime.js';
import { log, printWithoutDiag } from './telemetry/log.js';
import type { SpanCapture } from './telemetry/events/span-capture.js';
import { SDK_FILES, startStandaloneTracing, wantsTraces } from './telemetry/events/standalone-tracing.js';
import { PACKAGE } from './version.js';

// `--require`, `--import` and NODE_OPTIONS can name us several times, each time with a copy of its own.
const STARTED = Symbol.for('otel-breaker.started');
const globals = globalThis as Record<symbol, unknown>;

if (globals[STARTED] === undefined && !isPackageManager(process.argv[1])) {
  globals[STARTED] = true;
  try {
    start();
  } catch (error) {
    stop(error);
  }
}

function start(): void {
  takeVariablesOfPm2();
  printWithoutDiag();
  const runtime = getRuntime();
  loadRules(runtime);
  attachAll(runtime.guard);
  if (isMainThread) for (const problem of findUnknownVariables()) log.warn(problem);
  // Threads say nothing that their process has not said.
  runtime.announce(isMainThread ? 'info' : 'debug');
  if (isMainThread) runtime.publishAlone();
  else runtime.publishThroughMainThread();
  const traces = wantsTraces();
  if (traces !== undefined && !runtime.spans.watch()) traceAlone(traces, runtime.spans);
}

/** Sets up tracing for an application that has none, until it turns out that it has. */
function traceAlone(askedBy: TracesAskedBy, spans: SpanCapture): void {
  const tracing = startStandaloneTracing(askedBy);
  if (tracing === undefined) return;
  spans.watch();
  const patches = new Patches();
  const withdraw = () => {
    patches.undo();
    tracing.withdraw();
    // It watched the SDK that is gone now.
    spans.stop();
    log.debug('the application brings an OpenTelemetry SDK: stand-alone tracing gives way to it');
  };
  for (const file of SDK_FILES) patches.onNextLoad(file, withdraw);
}

/**
 * An application must not run unprotected by accident: a bad configuration ends it here, before it has begun. A fault of
 * our own must not.
 */
function stop(error: unknown): void {
  if (!(error instanceof ConfigError)) {
    log.error('could not start; calls go through unguarded', error);
    return;
  }
  // A thread may have an environment of its own: whoever started it gets the error.
  if (!isMainThread) throw error;
  const isOfFile = error.problems.some(({ at }) => at !== undefined);
  const wayOut = isOfFile ? `, or set ${STRICT_VARIABLE}=false to start without a rules file` : '';
  process.stderr.write(`${error.message}\n${PACKAGE.name}: not started. Correct this${wayOut}.\n`);
  process.exit(1);
}
