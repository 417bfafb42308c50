import { spawnSync } from 'node:child_process';
import { spread, type Spread } from './spread.js';

export interface Startup {
  readonly what: string;
  /** Milliseconds of CPU until the script runs. */
  readonly cpu: Spread;
  /** Megabytes resident by then. */
  readonly megabytes: Spread;
  /** Modules loaded by then, without those of Node. */
  readonly modules: number;
}

const API = ['--require', '@opentelemetry/api'];
// An application that makes calls has loaded most of it anyway.
const BUILTINS = ['http', 'worker_threads', 'perf_hooks'].flatMap((name) => ['--require', name]);
const OTEL = ['--require', '@opentelemetry/auto-instrumentations-node/register'];
const PRELOAD = ['--require', 'otel-breaker/register'];

const STARTS: readonly [what: string, args: readonly string[]][] = [
  ['empty script', []],
  ['empty script, the API of OpenTelemetry', API],
  ['empty script, the API and what of Node we patch or ask', [...API, ...BUILTINS]],
  ['empty script, preload', PRELOAD],
  ['OpenTelemetry with all instrumentations', OTEL],
  ['OpenTelemetry with all instrumentations, preload', [...OTEL, ...PRELOAD]],
];

const REPORT = `
  const { user, system } = process.cpuUsage();
  const cpu = (user + system) / 1_000;
  process.stdout.write(JSON.stringify({ cpu, rss: process.memoryUsage.rss(), modules: Object.keys(require.cache).length }));
  process.exit();
`;

/** What the start of a process costs by the time its script runs, each in turn `rounds` times. */
export function measureStartup(root: string, rounds: number): Startup[] {
  const measured = STARTS.map(([what, args]) => ({ what, args, reports: [] as Report[] }));
  for (let round = 0; round < rounds; round++) {
    for (const { args, reports } of measured) reports.push(start(root, args));
  }
  return measured.map(({ what, reports }) => ({
    what,
    cpu: spread(reports.map(({ cpu }) => cpu)),
    megabytes: spread(reports.map(({ rss }) => rss / 1e6)),
    modules: reports[0]!.modules,
  }));
}

interface Report {
  readonly cpu: number;
  readonly rss: number;
  readonly modules: number;
}

function start(root: string, args: readonly string[]): Report {
  const env = {
    ...process.env,
    OTEL_TRACES_EXPORTER: 'none',
    OTEL_METRICS_EXPORTER: 'none',
    OTEL_LOGS_EXPORTER: 'none',
  };
  const { stdout } = spawnSync(process.execPath, [...args, '-e', REPORT], { cwd: root, env, encoding: 'utf8' });
  return JSON.parse(stdout) as Report;
}
