#!/usr/bin/env node
import { constants, copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { ConfigError } from './breaker/errors.js';
import { drawProblems } from './rules/code-frame.js';
import { CONFIG_VARIABLE, readConfigPath, readFleet, readMode } from './environment.js';
import type { FleetConfig } from './rules/fleet.js';
import { findRulesFile, RULES_FILES } from './rules/find.js';
import { loadRulesFile } from './rules/load.js';
import { oneOf } from './breaker/options.js';
import { RuleSet, withBases, type RulesSection } from './rules/rule-set.js';
import { formatExplanation } from './rules/explain.js';
import type { Endpoint } from './rules/match.js';
import { parseTarget, SCHEMES, systemsWith, type Target } from './target.js';
import { PACKAGE } from './version.js';

const help = (): string => `Usage: otel-breaker <command>

  check [file]          Check a rules file: prints every problem; exit code 1 where there is one
  explain [file] [method] <url>
                        Show which rule a call gets, its options, and where each of them came from; GET where no method is
                        given: https://api.example.com/v1/orders, redis://cache:6379, postgresql://db/orders,
                        grpc://shop:50051/shop.Orders/Place, unix:/run/app.sock
  replay <traces>       Try rules on recorded traffic: what they would have rejected, saved and cost. OTLP as JSON, as a
                        Collector's file exporter and /traces/otlp write it, or Jaeger's JSON; - for standard input;
                        --rules <file>, --against <file>, --suggest, --sampled 0.1, --json, --html <file>
  init [file]           Write a commented rules file to start from; never overwrites one
  init --alerts --dashboard [folder]
                        Write alert rules for Prometheus, the dashboard of Grafana and a compose file that starts both;
                        into the folder "deploy" where none is given; what is there stays as it is
  top [address]         Watch the breakers of a running process, at the address its preload printed;
                        --sort ${orders().join('|')}, --filter <part of a name, a worker or a state>

  -h, --help            Show this
  -v, --version         Show the version

Without a file: that of ${CONFIG_VARIABLE}, else ${RULES_FILES.join(', ')} in the working directory.
`;

const EXIT_PROBLEM = 1;
const EXIT_USAGE = 2;

/** Wrong use of the command itself. */
class UsageError extends Error {}

/** Those of commands that are loaded when they are used have the name as well. */
function isUsageError(error: unknown): boolean {
  return error instanceof UsageError || (error as Error).name === 'UsageError';
}

function main(args: readonly string[]): void {
  // It has options of its own.
  if (args[0] === 'replay' && !args.includes('--help') && !args.includes('-h')) return replay(args.slice(1));
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      help: { type: 'boolean', short: 'h' },
      version: { type: 'boolean', short: 'v' },
      alerts: { type: 'boolean' },
      dashboard: { type: 'boolean' },
      sort: { type: 'string' },
      filter: { type: 'string' },
    },
  });
  const [command, ...rest] = positionals;
  if (values.version) print(PACKAGE.version);
  else if (values.help || command === 'help') print(help());
  else if (command === 'init' && (values.alerts || values.dashboard)) {
    initDeploy(rest, values.dashboard ? DASHBOARD_FILES : ALERT_FILES);
  } else if (values.alerts || values.dashboard) throw new UsageError('--alerts and --dashboard are for init');
  else if (command === 'top') top(rest, values);
  else if (values.sort !== undefined || values.filter !== undefined) {
    throw new UsageError('--sort and --filter are for top');
  } else if (command === 'check') check(rest);
  else if (command === 'explain') explain(rest);
  else if (command === 'init') init(rest);
  else throw new UsageError(command === undefined ? 'no command given' : `there is no command "${command}"`);
}

function check(args: readonly string[]): void {
  const [file] = take(args, 0, 1);
  const path = rulesFile(file);
  if (path === undefined) throw new UsageError(`no rules file here: ${RULES_FILES.join(', ')}`);
  for (const { origin, config } of withBases([loadRulesFile(path)])) {
    const count = config.rules?.length ?? 0;
    print(`${origin}: ${count} rule${count === 1 ? '' : 's'}, no problems`);
  }
}

function explain(args: readonly string[]): void {
  const given = [...take(args, 1, 3)];
  const url = given.pop()!;
  const method = given.length > 0 && isMethod(given.at(-1)!) ? given.pop()! : 'GET';
  if (given.length > 1) throw new UsageError(`"${given[1]!}" is no method of a request`);
  const target = parseTarget(url);
  if (target === undefined) {
    throw new UsageError(
      `"${url}" is no target: use a URL with ${SCHEMES.slice(0, -1).join(', ')} or ${SCHEMES.at(-1)!}`,
    );
  }
  const path = rulesFile(given[0]);
  const sections: RulesSection[] = path === undefined ? [] : [loadRulesFile(path)];
  const endpoint = endpointOf(target, method, url);
  const explanation = new RuleSet(sections, readMode()).explain(target, undefined, endpoint);
  const fleet = fleetOf(explanation.fleet);
  print(formatExplanation(target, { ...explanation, fleet }, sections[0]?.origin, endpoint));
}

/** A URL in the environment starts a fleet that no file has, and a mode there beats that of the file. */
function fleetOf(configured: FleetConfig | undefined): FleetConfig | undefined {
  const { url, mode } = readFleet();
  if (configured === undefined && url === undefined) return undefined;
  return mode === undefined ? (configured ?? {}) : { ...configured, mode };
}

/** A word in capital letters is no rules file. */
function isMethod(word: string): boolean {
  return /^[A-Z]+$/.test(word);
}

/** What of its target a call to a URL asks for, as far as rules look at it. */
function endpointOf({ system, scheme }: Target, method: string, url: string): Endpoint {
  return {
    ...(systemsWith('method').includes(system) && { method }),
    ...(systemsWith('path').includes(system) && scheme !== 'unix' && { path: new URL(url).pathname || '/' }),
  };
}

function replay(args: readonly string[]): void {
  const { runReplay } = require('./replay/command.js') as typeof import('./replay/command.js');
  runReplay(args, process).then((code) => (process.exitCode = code), fail);
}

/** What `top` can sort by. */
function orders() {
  return (require('./console/row-order.js') as typeof import('./console/row-order.js')).ORDERS;
}

function top(
  args: readonly string[],
  { sort = 'state', filter }: { readonly sort?: string | undefined; readonly filter?: string | undefined },
): void {
  const [address] = take(args, 0, 1);
  const order = orders().find((known) => known === sort);
  if (order === undefined) throw new UsageError(`--sort takes ${oneOf(orders())}, and not "${sort}"`);
  const { runTop } = require('./console/top.js') as typeof import('./console/top.js');
  const options = { sort: order, input: process.stdin, ...(filter !== undefined && { filter }) };
  void runTop(address, process.stdout, options).then((code) => (process.exitCode = code));
}

function init(args: readonly string[]): void {
  const [file = RULES_FILES[0]] = take(args, 0, 1);
  try {
    copyFileSync(join(__dirname, '../otel-breaker.yaml'), file, constants.COPYFILE_EXCL);
  } catch (error) {
    const exists = (error as NodeJS.ErrnoException).code === 'EEXIST';
    throw new UsageError(exists ? `${file} exists already, and stays as it is` : (error as Error).message);
  }
  print(`${file} written`);
}

const ALERT_FILES = ['alerts.rules.yml', 'recording.rules.yml', 'rules.test.yml'].map((name) => `prometheus/${name}`);

/** The compose file starts a Prometheus with the alerts, so they go with the dashboard. */
const DASHBOARD_FILES = [
  ...ALERT_FILES,
  'prometheus/prometheus.yml',
  'grafana/otel-breaker.json',
  'grafana/provisioning/dashboards/dashboards.yaml',
  'grafana/provisioning/datasources/datasources.yaml',
  'otel/collector.yaml',
  'compose.yaml',
];

/** Writes files of this package's `deploy` out, for a service to keep and to change. */
function initDeploy(args: readonly string[], files: readonly string[]): void {
  const [folder = 'deploy'] = take(args, 0, 1);
  const changed: string[] = [];
  for (const file of files) {
    const source = join(__dirname, '../../deploy', file);
    const target = join(folder, file);
    if (!existsSync(target)) {
      mkdirSync(dirname(target), { recursive: true });
      copyFileSync(source, target, constants.COPYFILE_EXCL);
      print(`${target} written`);
    } else if (!readFileSync(target).equals(readFileSync(source))) changed.push(target);
  }
  if (changed.length > 0) throw new UsageError(`these exist already, and stay as they are: ${changed.join(', ')}`);
}

function rulesFile(given: string | undefined): string | undefined {
  return findRulesFile(given ?? readConfigPath());
}

function take(args: readonly string[], least: number, most: number): readonly string[] {
  if (args.length < least) throw new UsageError('an argument is missing');
  if (args.length > most) throw new UsageError(`"${args[most]!}" is one argument too many`);
  return args;
}

function print(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

function fail(error: unknown): void {
  if (error instanceof ConfigError) {
    process.stderr.write(drawProblems(error));
    process.exitCode = EXIT_PROBLEM;
    return;
  }
  const code = (error as { code?: unknown }).code;
  const usage = isUsageError(error) || String(code).startsWith('ERR_PARSE_ARGS');
  if (!usage) throw error;
  process.stderr.write(`${PACKAGE.name}: ${(error as Error).message}\nSee ${PACKAGE.name} --help\n`);
  process.exitCode = EXIT_USAGE;
}

// Who reads it has seen enough, as head has: that is no error, and ends the command as it ends any other.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

try {
  main(process.argv.slice(2));
} catch (error) {
  fail(error);
}
