import { isMainThread } from 'node:worker_threads';
import { HttpBreakerInstrumentation } from '../instrumentations/http.js';
import { UndiciBreakerInstrumentation } from '../instrumentations/undici.js';
import { ConfigError } from './breaker/errors.js';
import { getRuntime } from './runtime.js';
import { log, printWithoutDiag } from './telemetry/log.js';
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
  const instrumentations = [new HttpBreakerInstrumentation(), new UndiciBreakerInstrumentation()];
  const clients = instrumentations.map(({ instrumentationName }) => instrumentationName.split('/')[1]);
  // Threads say nothing that their process has not said.
  log[isMainThread ? 'info' : 'debug'](`guarding ${clients.join(', ')}`);
  if (isMainThread) runtime.publishAlone();
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
