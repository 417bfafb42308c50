import { isMainThread } from 'node:worker_threads';
import { HttpBreakerInstrumentation } from '../instrumentations/http.js';
import { Patches } from '../instrumentations/patch.js';
import { UndiciBreakerInstrumentation } from '../instrumentations/undici.js';
import { ConfigError } from './breaker/errors.js';
import { IoredisBreakerInstrumentation } from '../instrumentations/ioredis.js';
import { PgBreakerInstrumentation } from '../instrumentations/pg.js';
import { getRuntime } from './runtime.js';
import { log, printWithoutDiag } from './telemetry/log.js';
import type { SpanCapture } from './telemetry/span-capture.js';
import { SDK_FILES, startStandaloneTracing, wantsTraces } from './telemetry/standalone-tracing.js';
import { PACKAGE } from './version.js';

// `--require`, `--import` and NODE_OPTIONS can name us several times, each time with a copy of its own.
const STARTED = Symbol.for('otel-breaker.started');
const globals = globalThis as Record<symbol, unknown>;

if (globals[STARTED] === undefined) {
  globals[STARTED] = true;
  try {
    start();
  } catch (error) {
    stop(error);
  }
}

function start(): void {
  printWithoutDiag();
  const runtime = getRuntime();
  const instrumentations = [
    new HttpBreakerInstrumentation(),
    new UndiciBreakerInstrumentation(),
    new IoredisBreakerInstrumentation(),
    new PgBreakerInstrumentation(),
  ];
  const clients = instrumentations.map(({ instrumentationName }) => instrumentationName.split('/')[1]);
  // Threads say nothing that their process has not said.
  log[isMainThread ? 'info' : 'debug'](`guarding ${clients.join(', ')}`);
  if (isMainThread) runtime.publishAlone();
  if (wantsTraces() && !runtime.spans.watch()) traceAlone(runtime.spans);
}

/** Sets up tracing for an application that has none, until it turns out that it has. */
function traceAlone(spans: SpanCapture): void {
  const tracing = startStandaloneTracing();
  if (tracing === undefined) return;
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

/** A bad configuration stops the process, before it does the wrong thing; a fault of our own must not. */
function stop(error: unknown): void {
  if (!(error instanceof ConfigError)) {
    log.error('could not start; calls go through unguarded', error);
    return;
  }
  // A thread may have an environment of its own: whoever started it gets the error.
  if (!isMainThread) throw error;
  process.stderr.write(`${PACKAGE.name}: ${error.message.replaceAll('\n', `\n${PACKAGE.name}: `)}\n`);
  process.exit(1);
}
