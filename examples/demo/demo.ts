/**
 * The main job in half a minute: a plain app under the preload, whose dependencies die and come back.
 *
 *     npm run demo                       http; the server dies again and again until Ctrl-C, to be seen in a browser
 *     npm run demo -- --client fetch     through fetch; also http2, ioredis, node-redis, mysql2, mongodb, pg, grpc and nodemailer, against real servers
 *     npm run demo -- --client all       all of them in one app
 *     npm run demo -- --once             ends by itself, with exit code 0 if all went as told
 *     npm run demo -- --fleet 5          five replicas that agree over a real Redis; ends by itself
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { MariadbServer } from '../../test/support/mariadb-server.js';
import { MongoServer } from '../../test/support/mongo-server.js';
import { PostgresServer } from '../../test/support/postgres-server.js';
import { RedisServer } from '../../test/support/redis-server.js';
import { needFreePort, takenPort } from './port.js';

const CLIENTS = [
  'http',
  'fetch',
  'ioredis',
  'node-redis',
  'mysql2',
  'mongodb',
  'pg',
  'grpc',
  'http2',
  'nodemailer',
] as const;
type Client = (typeof CLIENTS)[number];

const REQUESTS_PER_SECOND = 20;
const HEALTHY_SECONDS = 5;
const DEAD_SECONDS = 9;
const RECOVERED_SECONDS = 10;
// Long enough to look at.
const DEAD_AGAIN_SECONDS = 40;

/** A dependency that can stop and start again at the same address. */
interface Dependency {
  /** What the app needs to know of it. */
  readonly env: Readonly<Record<string, string>>;
  kill(): Promise<void>;
  comeBack(): Promise<void>;
  stop(): Promise<void>;
}

/** The calls through one client in one second, by result. */
interface Second {
  ok: number;
  failed: number;
  rejected: number;
  readonly milliseconds: number[];
}

const started = performance.now();
const children = new Set<ChildProcess>();

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      client: { type: 'string', default: 'http' },
      once: { type: 'boolean', default: false },
      fleet: { type: 'string' },
    },
  });
  if (values.fleet !== undefined) return showFleet(Number(values.fleet));
  const clients = clientsOf(values.client);
  await needFreePort();
  const dependencies = new Map<Client, Dependency>();
  for (const client of clients) dependencies.set(client, await START[client](client));

  const app = start('app.mjs', ['--require', 'otel-breaker/register'], {
    ...mergedEnv([...dependencies.values()]),
    OTEL_SERVICE_NAME: 'demo',
    OTEL_BREAKER_TRACES: 'local',
  });
  const [appUrl, consoleUrl] = await Promise.all([firstLine(app.stdout!), consoleAddress(app.stderr!)]);
  say(`app started with: OTEL_BREAKER_TRACES=local node --require otel-breaker/register app.mjs`);
  say(`open ${consoleUrl} in a browser and watch`);
  const metricsUrl = new URL('metrics', consoleUrl).href;

  const account = new Account(clients, appUrl, metricsUrl);
  await account.watch(HEALTHY_SECONDS);
  await killAll(dependencies);
  await account.watch(DEAD_SECONDS);
  await bringBackAll(dependencies);
  await account.watch(RECOVERED_SECONDS);
  const complete = await account.conclude();

  if (values.once) {
    await end(app);
    for (const dependency of dependencies.values()) await dependency.stop();
    if (!complete) process.exitCode = 1;
    return;
  }
  say(`it goes on like this: see the circuit open at ${consoleUrl}   (Ctrl-C ends the demo)`);
  for (;;) {
    await killAll(dependencies);
    await account.watch(DEAD_AGAIN_SECONDS, { quiet: true });
    await bringBackAll(dependencies);
    await account.watch(RECOVERED_SECONDS, { quiet: true });
  }
}

/** Some replicas of the app, and one of them probes for all. */
async function showFleet(size: number): Promise<void> {
  if (!Number.isInteger(size) || size < 2) throw new Error('--fleet: Use a whole number of 2 or more.');
  const redis = await RedisServer.start();
  const dependency = await startUpstream('http');
  const replicas = Array.from({ length: size }, (_, index) =>
    start('app.mjs', ['--require', 'otel-breaker/register'], {
      ...dependency.env,
      OTEL_SERVICE_NAME: 'demo',
      OTEL_BREAKER_CONFIG: join(__dirname, 'fleet.yaml'),
      OTEL_BREAKER_FLEET_URL: redis.url,
      // Each stands for a machine of its own.
      OTEL_BREAKER_FLEET_DOMAIN: `machine-${index + 1}`,
      OTEL_EXPORTER_PROMETHEUS_PORT: '0',
    }),
  );
  replicas.forEach(({ stderr }, index) =>
    createInterface(stderr!).on('line', (line) => {
      if (line.includes('circuit')) say(`replica ${index + 1}: ${line.replace('otel-breaker: ', '')}`);
    }),
  );
  const urls = await Promise.all(replicas.map(({ stdout }) => firstLine(stdout!)));
  say(`${size} replicas, each with OTEL_BREAKER_FLEET_URL=${redis.url}, call one server five times a second`);

  const totals = { answered: 0, failed: 0, rejected: 0 };
  async function watch(seconds: number): Promise<void> {
    for (let second = 0; second < seconds; second++) {
      const counts = { answered: 0, failed: 0, rejected: 0 };
      const calls: Promise<void>[] = [];
      for (let call = 0; call < 5; call++) {
        for (const url of urls) {
          calls.push(
            fetch(`${url}/http`).then(async (answer) => {
              const { error } = (await answer.json()) as { error?: string };
              if (error === undefined) counts.answered++;
              else if (error === 'ERR_CIRCUIT_OPEN') counts.rejected++;
              else counts.failed++;
            }),
          );
        }
        await sleep(200);
      }
      await Promise.all(calls);
      say(`all replicas   ok ${pad(counts.answered)}  failed ${pad(counts.failed)}  rejected ${pad(counts.rejected)}`);
      for (const key of ['answered', 'failed', 'rejected'] as const) totals[key] += counts[key];
    }
  }

  await watch(6);
  await dependency.kill();
  say('the server was killed');
  await watch(DEAD_SECONDS);
  await dependency.comeBack();
  say('the server is back');
  const before = totals.answered;
  await watch(RECOVERED_SECONDS);
  say(
    `in all: ${totals.failed} calls failed; without a fleet, each replica needs five failures: ${5 * size}, and probes for itself`,
  );
  const complete = totals.failed > 0 && totals.failed < 5 * size && totals.answered > before;
  say(complete ? 'they opened together, one probed, and all closed' : 'NOT as it should be: see above');
  await Promise.all(replicas.map((replica) => end(replica)));
  await dependency.stop();
  await redis.remove();
  if (!complete) process.exitCode = 1;
}

async function killAll(dependencies: ReadonlyMap<Client, Dependency>): Promise<void> {
  for (const [client, dependency] of dependencies) {
    await dependency.kill();
    say(`the server behind ${client} was killed`);
  }
}

async function bringBackAll(dependencies: ReadonlyMap<Client, Dependency>): Promise<void> {
  for (const [client, dependency] of dependencies) {
    await dependency.comeBack();
    say(`the server behind ${client} is back`);
  }
}

function clientsOf(name: string): readonly Client[] {
  if (name === 'all') return CLIENTS;
  if ((CLIENTS as readonly string[]).includes(name)) return [name as Client];
  throw new Error(`--client: got "${name}"; there is no such client. Use ${CLIENTS.join(', ')} or all.`);
}

/** Sends requests to the app, and prints for each second what its callers and a scraper see. */
class Account {
  readonly #totals: Second = newSecond();
  #seconds = 0;

  constructor(
    private readonly clients: readonly Client[],
    private readonly appUrl: string,
    private readonly metricsUrl: string,
  ) {}

  async watch(seconds: number, { quiet = false } = {}): Promise<void> {
    for (let second = 0; second < seconds; second++) {
      const results = await Promise.all(this.clients.map((client) => this.#drive(client)));
      const states = await this.#states();
      this.#seconds++;
      if (quiet) continue;
      const columns = this.clients.map((client, index) => {
        const { ok, failed, rejected, milliseconds } = results[index]!;
        const circuit = (states.get(client) ?? 'closed').padEnd(9);
        return (
          `${client.padEnd(7)} ${circuit} ` +
          `ok ${pad(ok)}  failed ${pad(failed)}  rejected ${pad(rejected)}  median ${median(milliseconds)} ms`
        );
      });
      for (const column of columns) say(column);
    }
  }

  /** @returns whether the story was complete: calls failed, calls were rejected, and every circuit is closed again */
  async conclude(): Promise<boolean> {
    const { ok, failed, rejected } = this.#totals;
    const states = await this.#states();
    const closed = this.clients.every((client) => states.get(client) === 'closed');
    say(`in all: ${ok} calls answered, ${failed} failed, ${rejected} rejected at once without a socket`);
    const complete = failed > 0 && rejected > failed && closed;
    say(complete ? 'every circuit opened, probed and closed again' : 'NOT as it should be: see above');
    return complete;
  }

  async #drive(client: Client): Promise<Second> {
    const second = newSecond();
    const pause = 1_000 / REQUESTS_PER_SECOND;
    const calls: Promise<void>[] = [];
    for (let call = 0; call < REQUESTS_PER_SECOND; call++) {
      calls.push(this.#call(client, second));
      await sleep(pause);
    }
    await Promise.all(calls);
    this.#totals.ok += second.ok;
    this.#totals.failed += second.failed;
    this.#totals.rejected += second.rejected;
    return second;
  }

  async #call(client: Client, second: Second): Promise<void> {
    const begun = performance.now();
    const answer = await fetch(`${this.appUrl}/${client}`);
    const { error } = (await answer.json()) as { error?: string };
    second.milliseconds.push(performance.now() - begun);
    if (error === undefined) second.ok++;
    else if (error === 'ERR_CIRCUIT_OPEN') second.rejected++;
    else second.failed++;
  }

  /** The circuits as Prometheus would see them. */
  async #states(): Promise<Map<Client, string>> {
    const text = await (await fetch(this.metricsUrl)).text();
    const states = new Map<Client, string>();
    for (const [, labels, value] of text.matchAll(/^circuit_breaker_state\{(.*)\} (\d)$/gm)) {
      const client = this.clients.find((candidate) => labels!.includes(targets.get(candidate)!));
      if (client !== undefined) states.set(client, ['closed', 'open', 'half-open'][Number(value)]!);
    }
    return states;
  }
}

/** Which breaker belongs to which client: its target's port. */
const targets = new Map<Client, string>();

const START: Readonly<Record<Client, (client: Client) => Promise<Dependency>>> = {
  http: startUpstream,
  fetch: startUpstream,
  grpc: startUpstream,
  http2: startUpstream,
  nodemailer: startUpstream,
  ioredis: startRedis,
  'node-redis': startRedis,
  mysql2: async (client) => {
    const server = await MariadbServer.start();
    return dependencyOf(client, server.port, server.url, {
      kill: () => server.kill(),
      comeBack: () => server.start(),
      stop: () => server.stop(),
    });
  },
  mongodb: async (client) => {
    const server = await MongoServer.start();
    return dependencyOf(client, server.port, server.url, {
      kill: () => server.kill(),
      comeBack: () => server.start(),
      stop: () => server.kill(),
    });
  },
  pg: async (client) => {
    const server = await PostgresServer.start();
    return dependencyOf(client, server.port, server.url, {
      kill: () => server.kill(),
      comeBack: () => server.start(),
      stop: () => server.stop(),
    });
  },
};

async function startRedis(client: Client): Promise<Dependency> {
  const server = await RedisServer.start();
  return dependencyOf(client, server.port, server.url, {
    kill: () => server.kill(),
    comeBack: () => server.start(),
    stop: () => server.remove(),
  });
}

const UPSTREAMS: Partial<Record<Client, string>> = {
  grpc: 'upstream-grpc.mjs',
  http2: 'upstream-http2.mjs',
  nodemailer: 'upstream-smtp.mjs',
};

const SCHEMES: Partial<Record<Client, string>> = { grpc: 'grpc', nodemailer: 'smtp' };

async function startUpstream(client: Client): Promise<Dependency> {
  const file = UPSTREAMS[client] ?? 'upstream.mjs';
  const scheme = SCHEMES[client] ?? 'http';
  let server = start(file, [], {});
  const port = await firstLine(server.stdout!);
  return dependencyOf(client, Number(port), `${scheme}://127.0.0.1:${port}/`, {
    kill: () => end(server, 'SIGKILL'),
    comeBack: async () => {
      server = start(file, [], { PORT: port });
      await firstLine(server.stdout!);
    },
    stop: () => end(server),
  });
}

function dependencyOf(client: Client, port: number, url: string, does: Omit<Dependency, 'env'>): Dependency {
  targets.set(client, `server_port="${port}"`);
  return { env: { [`${client.toUpperCase().replace('-', '_')}_UPSTREAM`]: url }, ...does };
}

function start(file: string, nodeArgs: readonly string[], env: Readonly<Record<string, string>>): ChildProcess {
  const child = spawn(process.execPath, [...nodeArgs, file], {
    cwd: __dirname,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

async function end(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill(signal);
  await once(child, 'exit');
}

function mergedEnv(dependencies: readonly Dependency[]): Record<string, string> {
  return Object.assign({}, ...dependencies.map(({ env }) => env)) as Record<string, string>;
}

async function firstLine(stream: NodeJS.ReadableStream): Promise<string> {
  const lines = createInterface(stream);
  const [line] = (await once(lines, 'line')) as [string];
  return line;
}

/** Prints the preload's log and waits for the line with the address of its page. */
function consoleAddress(stderr: NodeJS.ReadableStream): Promise<string> {
  return new Promise((resolve, reject) => {
    const lines = createInterface(stderr);
    lines.on('line', (line) => {
      say(line);
      const address = /console at (\S+)\)/.exec(line)?.[1];
      if (address !== undefined) resolve(address);
      // Somebody took it since we looked.
      else if (line.includes('is taken')) reject(new Error(takenPort()));
    });
    lines.once('close', () => reject(new Error('The app ended before it told where its page is.')));
  });
}

function newSecond(): Second {
  return { ok: 0, failed: 0, rejected: 0, milliseconds: [] };
}

function median(values: readonly number[]): string {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[Math.floor(sorted.length / 2)] ?? 0).toFixed(1);
}

function pad(count: number): string {
  return String(count).padStart(2);
}

function say(text: string): void {
  const seconds = ((performance.now() - started) / 1_000).toFixed(1).padStart(5);
  console.log(`${seconds} s  ${text}`);
}

function endChildren(): void {
  for (const child of children) child.kill('SIGKILL');
}

/** npm, or the shell that it starts, may end without handing a signal on. */
function endWithNpm(): void {
  if (process.env.npm_lifecycle_event === undefined) return;
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) process.exit(1);
  }, 250).unref();
}

process.once('exit', endChildren);
process.once('SIGINT', () => process.exit(0));
for (const signal of ['SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => process.exit(128 + constants.signals[signal]));
}
endWithNpm();
main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
});
