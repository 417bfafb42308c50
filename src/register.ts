import { isMainThread } from 'node:worker_threads';
import { HttpBreakerInstrumentation } from '../instrumentations/http.js';
import { ConfigError } from './breaker/errors.js';
import { STRICT_VARIABLE } from './environment.js';
import { getRuntime, loadRules, type Runtime } from './runtime.js';
import { log, printWithoutDiag } from './telemetry/log.js';
import { PACKAGE } from './version.js';

// `--require`, `--import` and NODE_OPTIONS can name us several times, each time with a copy of its own.
const STARTED = Symbol.for('otel-breaker.started');
const globals = globalThis as Record<symbol, unknown>;

if (globals[STARTED] === undefined) {
  globals[STARTED] = true;
  start();
}

function start(): void {
  printWithoutDiag();
  const runtime = startRuntime();
  const instrumentations = [new HttpBreakerInstrumentation()];
  const clients = instrumentations.map(({ instrumentationName }) => instrumentationName.split('/')[1]);
  const { file } = runtime.rules;
  log.info(`guarding ${clients.join(', ')}${file === undefined ? '' : `; rules from ${file.origin}`}`);
  if (isMainThread) runtime.publishAlone();
}

/** An application must not run unprotected by accident: a bad configuration ends it here, before it has begun. */
function startRuntime(): Runtime {
  try {
    const runtime = getRuntime();
    loadRules(runtime);
    return runtime;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(
      `${error.message}\n${PACKAGE.name}: not started. Correct this, or set ${STRICT_VARIABLE}=false to start without it.\n`,
    );
    process.exit(1);
  }
}
