import { isMainThread } from 'node:worker_threads';
import { HttpBreakerInstrumentation } from '../instrumentations/http.js';
import { PgBreakerInstrumentation } from '../instrumentations/pg.js';
import { getRuntime } from './runtime.js';
import { log, printWithoutDiag } from './telemetry/log.js';

// `--require`, `--import` and NODE_OPTIONS can name us several times, each time with a copy of its own.
const STARTED = Symbol.for('otel-breaker.started');
const globals = globalThis as Record<symbol, unknown>;

if (globals[STARTED] === undefined) {
  globals[STARTED] = true;
  start();
}

function start(): void {
  printWithoutDiag();
  const runtime = getRuntime();
  const instrumentations = [new HttpBreakerInstrumentation(), new PgBreakerInstrumentation()];
  log.info(
    `guarding ${instrumentations.map(({ instrumentationName }) => instrumentationName.split('/')[1]).join(', ')}`,
  );
  if (isMainThread) runtime.publishAlone();
}
