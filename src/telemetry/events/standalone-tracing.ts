import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { context, diag, propagation, trace } from '@opentelemetry/api';
import {
  nodeOptions,
  tracesAskedBy,
  TRACES_VARIABLE,
  variables,
  withoutLogsExporter,
  type TracesAskedBy,
} from '../../environment.js';
import { INSTRUMENTATION_SCOPES } from '../../target.js';
import { hasDiagLogger, log } from '../log.js';

/** Tracing that we set up for an application that has none. */
export interface StandaloneTracing {
  /** Gives everything up again, for an SDK that the application brings after all. */
  withdraw(): void;
}

interface Instrumentation {
  disable(): void;
}

const SDK = '@opentelemetry/sdk-node';

/** Which instrumentation makes the spans of which client. Those that are installed are used. */
const INSTRUMENTATIONS = [...INSTRUMENTATION_SCOPES.values()];

/** Files whose loading says that the application sets up tracing itself, as lines 2 and 3 of OpenTelemetry have them. */
export const SDK_FILES: readonly string[] = ['sdk-node', 'sdk-trace-node', 'sdk-trace-base', 'sdk-trace'].flatMap(
  (name) => ['build/src/index.js', 'dist/index.cjs'].map((file) => `/@opentelemetry/${name}/${file}`),
);

const BRINGS_SDK = /@opentelemetry\/(sdk-|auto-instrumentations-)/;
const IMPORTS_FILE = /(?:from|import|require)[\s(]*['"](\.{1,2}\/[^'"]+)['"]/g;

/**
 * Whether the environment asks for traces, exporters named and none of them `none`, or the console's alone, and nobody else
 * will make them: no package on the command line, and no file that speaks of one, there or where the program begins. ES
 * modules are not seen to load, so that it has to be known before.
 *
 * @returns the variable that asks
 */
export function wantsTraces(
  env = variables(),
  args: readonly string[] = process.execArgv,
  program = process.argv[1],
): TracesAskedBy | undefined {
  const askedBy = tracesAskedBy(env);
  if (askedBy === undefined) return undefined;
  const words = [...args, ...nodeOptions(env)];
  const files = [...words.map((word) => word.replace(/^--\w+=/, '')), program ?? ''].map(toPath);
  return words.some((word) => BRINGS_SDK.test(word)) || files.some(bringsSdk) ? undefined : askedBy;
}

/** Whether a file speaks of an SDK, or one that it loads itself does. */
function bringsSdk(file: string): boolean {
  const text = readIfFile(file);
  const loaded = Array.from(text.matchAll(IMPORTS_FILE), ([, name]) => join(dirname(file), name!));
  return BRINGS_SDK.test(text) || loaded.some((name) => BRINGS_SDK.test(readIfFile(name)));
}

function toPath(name: string): string {
  return name.startsWith('file:') && URL.canParse(name) ? fileURLToPath(name) : name;
}

function readIfFile(name: string): string {
  try {
    return readFileSync(name, 'utf8');
  } catch {
    return '';
  }
}

let running = false;

/** Whether the SDK that is loaded is one that we have set up. */
export function isTracingAlone(): boolean {
  return running;
}

/** NodeSDK sets up no tracing without a processor. Spans reach the console by another way. */
const NOWHERE = {
  onStart: () => {},
  onEnd: () => {},
  forceFlush: () => Promise.resolve(),
  shutdown: () => Promise.resolve(),
};

/**
 * Starts OpenTelemetry's NodeSDK for traces alone: as `OTEL_TRACES_EXPORTER` and its other variables have it, or such as
 * stay in this process, of which its calls carry no trace either.
 *
 * @returns `undefined` where a package is missing; a message has named it
 */
export function startStandaloneTracing(askedBy: TracesAskedBy, env = variables()): StandaloneTracing | undefined {
  const sdkModule = load<typeof import('@opentelemetry/sdk-node')>(SDK);
  const instrumentations = INSTRUMENTATIONS.map(([packageName, className]) => {
    const module = load<Record<string, new () => Instrumentation>>(packageName);
    return module && new module[className]!();
  }).filter((instrumentation) => instrumentation !== undefined);

  const missing = [sdkModule === undefined ? SDK : '', instrumentations.length === 0 ? INSTRUMENTATIONS[0]![0] : ''];
  if (missing.some((name) => name !== '')) {
    log.warn(
      `${askedBy} is set, but there is nothing to make traces with. Run: npm install ${missing.join(' ').trim()}`,
    );
    return undefined;
  }
  const hadLogger = hasDiagLogger();
  // NodeSDK registers a logger provider unless the environment says not to, and whoever comes later is then not heard.
  const sdk = withoutLogsExporter(env, () => {
    const made = new sdkModule!.NodeSDK({
      instrumentations: instrumentations as never,
      metricReaders: [],
      ...(askedBy === TRACES_VARIABLE && { spanProcessors: [NOWHERE], textMapPropagator: null }),
    });
    made.start();
    return made;
  });
  forget(SDK_FILES);
  flushAtExit(() => sdk.shutdown());
  running = true;
  return {
    withdraw: () => {
      running = false;
      for (const instrumentation of instrumentations) instrumentation.disable();
      for (const api of [trace, context, propagation]) api.disable();
      // NodeSDK sets one where OTEL_LOG_LEVEL is set; the next SDK would complain of it.
      if (!hadLogger) diag.disable();
      void sdk.shutdown().catch((error: unknown) => log.debug('Ending stand-alone tracing failed', error));
    },
  };
}

/** An `import` of what has been required already passes nowhere that anybody could see: so that they load again. */
function forget(endings: readonly string[]): void {
  for (const filename of Object.keys(require.cache)) {
    if (endings.some((ending) => filename.replaceAll('\\', '/').endsWith(ending))) delete require.cache[filename];
  }
}

/** Spans wait in a batch; when the process has nothing more to do, they must not be lost. */
function flushAtExit(shutdown: () => Promise<void>): void {
  process.once('beforeExit', () => {
    void shutdown().catch((error: unknown) => log.debug('The last spans could not be exported', error));
  });
}

function load<T>(packageName: string): T | undefined {
  try {
    return require(packageName) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') log.warn(`${packageName} does not load`, error);
    return undefined;
  }
}
