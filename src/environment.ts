import { ConfigError } from './breaker/errors.js';
import { MODES, nearestKey, oneOf, type ConfigProblem, type Mode } from './breaker/options.js';
import { diagnostics } from './breaker/diagnostics.js';

/** The variable that names the rules file. */
export const CONFIG_VARIABLE = 'OTEL_BREAKER_CONFIG';
/** The variable that beats the mode of every rule. */
export const MODE_VARIABLE = 'OTEL_BREAKER_MODE';
export const STRICT_VARIABLE = 'OTEL_BREAKER_CONFIG_STRICT';
export const EVENTS_VARIABLE = 'OTEL_BREAKER_EVENTS';
/** The variable that asks for traces which the console shows and nobody else gets. */
export const TRACES_VARIABLE = 'OTEL_BREAKER_TRACES';
const FLEET_VARIABLE = 'OTEL_BREAKER_FLEET';
const FLEET_URL_VARIABLE = 'OTEL_BREAKER_FLEET_URL';
const EXPORTER_VARIABLE = 'OTEL_TRACES_EXPORTER';
const LOGS_EXPORTER_VARIABLE = 'OTEL_LOGS_EXPORTER';

/** The variable by which traces are asked for. */
export type TracesAskedBy = typeof TRACES_VARIABLE | typeof EXPORTER_VARIABLE;

const PREFIX = CONFIG_VARIABLE.replace(/CONFIG$/, '');
const OURS = /^OTEL_?BREAKER_/i;

/** Every variable of ours; a test looks for others in the code. */
export const VARIABLES: readonly string[] = [
  MODE_VARIABLE,
  CONFIG_VARIABLE,
  STRICT_VARIABLE,
  'OTEL_BREAKER_WATCH',
  'OTEL_BREAKER_METRICS',
  EVENTS_VARIABLE,
  TRACES_VARIABLE,
  'OTEL_BREAKER_TRACES_REDACT',
  'OTEL_BREAKER_CONSOLE',
  'OTEL_BREAKER_CONSOLE_HOSTS',
  'OTEL_BREAKER_CONSOLE_PORT',
  'OTEL_BREAKER_ADMIN_TOKEN',
  'OTEL_BREAKER_HEALTH',
  FLEET_VARIABLE,
  FLEET_URL_VARIABLE,
  'OTEL_BREAKER_FLEET_DOMAIN',
];

const METRICS = ['auto', 'off'] as const;
const CONSOLE = ['local', 'network', 'off'] as const;
const TRACES = ['auto', 'local'] as const;
const HEALTH = ['any_open', 'all_open', 'never'] as const;

/** Who may see the console: programs of this machine, whoever reaches the port, or nobody. */
export type ConsoleReach = (typeof CONSOLE)[number];
/**
 * When `/healthz` says that the service is unhealthy: while any circuit is open that rejects calls, while all of them
 * are, or never.
 */
export type HealthRule = (typeof HEALTH)[number];
const EVENTS = ['span', 'log', 'both'] as const;

/** What the environment says, read once and checked. */
export interface Environment {
  /** Beats the mode of the rules file. */
  readonly mode: Mode | undefined;
  /** Path of the rules file, where it is not one of the default names. */
  readonly config: string | undefined;
  /** Whether a bad configuration ends the process at its start, rather than leaving the built-in defaults. */
  readonly configStrict: boolean;
  /** Whether the rules file is read again when it changes. */
  readonly watch: boolean;
  /** Whether metrics leave at all. */
  readonly metrics: (typeof METRICS)[number];
  /** Where events go: onto spans, into the Logs API, or both. */
  readonly events: (typeof EVENTS)[number];
  /** Whether traces are made for the console where nobody else makes any. */
  readonly traces: (typeof TRACES)[number];
  /** Whether the console shows traces without the values in URLs and statements. */
  readonly tracesRedact: boolean;
  readonly prometheusHost: string;
  readonly prometheusPort: number;
  readonly console: ConsoleReach;
  /** Where the console is, if it has a port of its own: beside an SDK of the application, or apart from the metrics. */
  readonly consolePort: number | undefined;
  /** Names that this service goes by, besides `localhost` and its addresses. */
  readonly consoleHosts: readonly string[];
  /** With it, circuits can be opened and reset through the console; without, nobody can. */
  readonly adminToken: string | undefined;
  readonly health: HealthRule;
  /** Beats the mode of the fleet in the rules file. */
  readonly fleetMode: Mode | undefined;
  /** Where the replicas of a fleet meet, where the rules file does not say so. */
  readonly fleetUrl: string | undefined;
  /** What counts as one voter; default the host name. */
  readonly fleetDomain: string | undefined;
  /** Whether the application is one of Next.js, which bundles its packages. */
  readonly underNext: boolean;
}

// Loopback: a port of ours must not be open to a network that nobody thought of.
const DEFAULT_PROMETHEUS_HOST = '127.0.0.1';
// The port that OpenTelemetry's Prometheus exporter has by default.
const DEFAULT_PROMETHEUS_PORT = 9464;
const MAX_PORT = 65_535;
const MIN_TOKEN = 16;

/** @throws ConfigError naming every variable with a bad value, unless OTEL_BREAKER_CONFIG_STRICT is false */
export function readEnvironment(env = variables()): Environment {
  const problems: ConfigProblem[] = [];

  function choice<T extends string>(path: string, allowed: readonly T[], consequence: string): T | undefined {
    const value = env[path]?.trim().toLowerCase();
    if (value === undefined || value === '') return undefined;
    if ((allowed as readonly string[]).includes(value)) return value as T;
    problems.push({ path, value, consequence, allowed: `Use ${oneOf(allowed)}.` });
    return undefined;
  }

  function flag(path: string, consequence: string): boolean | undefined {
    const value = choice(path, ['true', 'false'], consequence);
    return value === undefined ? undefined : value === 'true';
  }

  function port(path: string, consequence: string): number | undefined {
    const value = env[path]?.trim();
    if (value === undefined || value === '') return undefined;
    if (/^\d+$/.test(value) && Number(value) <= MAX_PORT) return Number(value);
    problems.push({ path, value, consequence, allowed: `Use a port from 0 (any free one) to ${MAX_PORT}.` });
    return undefined;
  }

  function token(path: string): string | undefined {
    const value = env[path]?.trim();
    if (value === undefined || value === '') return undefined;
    // Not itself: messages end up in logs.
    const shown = '(secret)';
    if (/\s/.test(value)) {
      const consequence = 'no request could ever bring it';
      problems.push({ path, value: shown, consequence, allowed: 'Use a text without white space.' });
    } else if (value.length < MIN_TOKEN) {
      const consequence = 'it is short enough to be guessed';
      problems.push({ path, value: shown, consequence, allowed: `Use ${MIN_TOKEN} characters or more.` });
    } else return value;
    return undefined;
  }

  function fleetUrl(path: string): string | undefined {
    const value = env[path]?.trim();
    if (value === undefined || value === '') return undefined;
    if (isFleetUrl(value)) return value;
    // It may have a password.
    const consequence = 'the replicas of the fleet could not meet there';
    problems.push({
      path,
      value: '(a URL)',
      consequence,
      allowed: 'Use a URL such as "redis://cache:6379", or "local".',
    });
    return undefined;
  }

  const metrics = choice('OTEL_BREAKER_METRICS', METRICS, 'it would not be known whether to publish metrics');
  const environment: Environment = {
    mode: choice(MODE_VARIABLE, MODES, 'it would not be known whether to reject calls'),
    config: readConfigPath(env),
    configStrict: flag(STRICT_VARIABLE, 'it would not be known whether to go on without rules') ?? true,
    watch: flag('OTEL_BREAKER_WATCH', 'it would not be known whether to read changed rules') ?? true,
    metrics: isSdkDisabled(env) ? 'off' : (metrics ?? 'auto'),
    events: choice(EVENTS_VARIABLE, EVENTS, 'it would not be known where events go') ?? 'span',
    traces: choice(TRACES_VARIABLE, TRACES, 'it would not be known whether to make traces') ?? 'auto',
    tracesRedact: flag('OTEL_BREAKER_TRACES_REDACT', 'it would not be known whether to show values in traces') ?? true,
    prometheusHost: env.OTEL_EXPORTER_PROMETHEUS_HOST || DEFAULT_PROMETHEUS_HOST,
    prometheusPort:
      port('OTEL_EXPORTER_PROMETHEUS_PORT', 'metrics could be scraped nowhere') ?? DEFAULT_PROMETHEUS_PORT,
    console: choice('OTEL_BREAKER_CONSOLE', CONSOLE, 'it would not be known who may see the console') ?? 'local',
    consolePort: port('OTEL_BREAKER_CONSOLE_PORT', 'nobody could see the console'),
    consoleHosts: list(env.OTEL_BREAKER_CONSOLE_HOSTS),
    adminToken: token('OTEL_BREAKER_ADMIN_TOKEN'),
    health: choice('OTEL_BREAKER_HEALTH', HEALTH, 'it would not be known when the service is unhealthy') ?? 'any_open',
    fleetMode: choice(FLEET_VARIABLE, MODES, 'it would not be known whether to do what the fleet says'),
    fleetUrl: fleetUrl(FLEET_URL_VARIABLE),
    fleetDomain: env.OTEL_BREAKER_FLEET_DOMAIN?.trim() || undefined,
    underNext:
      env.NEXT_RUNTIME !== undefined || /[\\/]next(?:[\\/]dist[\\/]bin[\\/]next)?$/.test(process.argv[1] ?? ''),
  };
  if (problems.length > 0) {
    const error = new ConfigError('environment', problems);
    if (environment.configStrict) throw error;
    diagnostics.report('the defaults are in force for these', error);
  }
  return environment;
}

/**
 * Takes our variables from where PM2 has put them: in its cluster mode, it sets those of its `env` when all preloads have
 * run, and before the application begins.
 */
export function takeVariablesOfPm2(env: NodeJS.ProcessEnv = variables()): void {
  try {
    const given = JSON.parse(env.pm2_env ?? '{}') as Readonly<Record<string, unknown>>;
    for (const [name, value] of Object.entries(given)) {
      if (name.startsWith('OTEL_') && (typeof value === 'string' || typeof value === 'number'))
        env[name] = String(value);
    }
  } catch {
    // Not of PM2, or not as we know it.
  }
}

/** Whether the replicas of a fleet can meet there. */
export function isFleetUrl(value: unknown): boolean {
  if (value === 'local') return true;
  if (typeof value !== 'string' || !URL.canParse(value)) return false;
  return ['redis:', 'rediss:', 'valkey:', 'valkeys:'].includes(new URL(value).protocol);
}

/** Names between commas, in lower case. */
function list(value = ''): readonly string[] {
  return value
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== '');
}

/**
 * What is wrong with variables that look as if they were ours and are not: each would have no effect, and nobody would
 * know.
 */
export function findUnknownVariables(env = variables()): string[] {
  return Object.keys(env)
    .filter((name) => OURS.test(name) && !VARIABLES.includes(name))
    .map((name) => {
      const ending = name.replace(OURS, '');
      const nearest = nearestKey(
        ending,
        VARIABLES.map((known) => known.replace(OURS, '')),
      );
      const hint = nearest === undefined ? `Known are ${VARIABLES.join(', ')}` : `Did you mean ${PREFIX}${nearest}?`;
      return `${name} is unknown and has no effect. ${hint}`;
    });
}

/** All variables as they are now: rules may name any of them. Nothing else than this file reads them from the process. */
export function variables(): NodeJS.ProcessEnv {
  return process.env;
}

/** The path of the rules file, where the environment names one. */
export function readConfigPath(env = variables()): string | undefined {
  return env[CONFIG_VARIABLE] || undefined;
}

/** The mode that beats every rule, where the environment has a valid one. */
export function readMode(env = variables()): Mode | undefined {
  const mode = env[MODE_VARIABLE]?.trim().toLowerCase();
  return MODES.find((known) => known === mode);
}

/** Where the replicas of a fleet meet, and its mode, as far as the environment has valid ones. */
export function readFleet(env = variables()): { readonly url: string | undefined; readonly mode: Mode | undefined } {
  const url = env[FLEET_URL_VARIABLE]?.trim();
  const mode = env[FLEET_VARIABLE]?.trim().toLowerCase();
  return { url: isFleetUrl(url) ? url : undefined, mode: MODES.find((known) => known === mode) };
}

/** What the service is called, where the environment says so. */
export function serviceNameOf(env = variables()): string | undefined {
  return env.OTEL_SERVICE_NAME || undefined;
}

/** What the environment says of the service, as attributes of an OpenTelemetry resource. */
export function resourceAttributes(env = variables()): Readonly<Record<string, string>> {
  const attributes: Record<string, string> = {};
  for (const pair of (env.OTEL_RESOURCE_ATTRIBUTES ?? '').split(',')) {
    const equals = pair.indexOf('=');
    const key = pair.slice(0, equals).trim();
    if (equals > 0 && key !== '') attributes[key] = decoded(pair.slice(equals + 1).trim());
  }
  const name = serviceNameOf(env);
  return name === undefined ? attributes : { ...attributes, 'service.name': name };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // As it was written, rather than none of it.
    return text;
  }
}

/** The name of the lowest level of log lines, in capital letters; `undefined` where none is set. */
export function logLevelName(env = variables()): string | undefined {
  return env.OTEL_LOG_LEVEL?.trim().toUpperCase();
}

/** Whether text may be coloured: https://no-color.org. */
export function allowsColour(env = variables()): boolean {
  return !env.NO_COLOR;
}

/** The words that Node takes as further arguments. */
export function nodeOptions(env = variables()): readonly string[] {
  return (env.NODE_OPTIONS ?? '').split(' ');
}

/**
 * The variable that asks for traces: exporters named and none of them `none`, or the console's alone; `undefined` where
 * none does, or where all of OpenTelemetry is to be off.
 */
export function tracesAskedBy(env = variables()): TracesAskedBy | undefined {
  if (isSdkDisabled(env)) return undefined;
  const exporters = (env[EXPORTER_VARIABLE] ?? '').split(',').map((name) => name.trim());
  if (exporters.some((name) => name !== '') && !exporters.includes('none')) return EXPORTER_VARIABLE;
  return env[TRACES_VARIABLE]?.trim().toLowerCase() === 'local' ? TRACES_VARIABLE : undefined;
}

/** Calls a function while the environment says that logs have no exporter. OpenTelemetry's SDK has no option for that. */
export function withoutLogsExporter<T>(env: NodeJS.ProcessEnv, start: () => T): T {
  const exporter = env[LOGS_EXPORTER_VARIABLE];
  env[LOGS_EXPORTER_VARIABLE] = 'none';
  try {
    return start();
  } finally {
    if (exporter === undefined) delete env[LOGS_EXPORTER_VARIABLE];
    else env[LOGS_EXPORTER_VARIABLE] = exporter;
  }
}

function isSdkDisabled(env: NodeJS.ProcessEnv): boolean {
  return env.OTEL_SDK_DISABLED?.trim().toLowerCase() === 'true';
}
