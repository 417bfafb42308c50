import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RedisServer } from '../support/redis-server.js';
import { ROOT } from '../support/child.js';

interface Seen {
  readonly ok: number;
  readonly failed: number;
  readonly rejected: number;
  readonly failedAt: readonly number[];
  readonly states: readonly (readonly [at: number, state: string])[];
}

export interface ProcessesOutcome {
  readonly failingCalls: number;
  readonly allOpenAfter: number;
  readonly probesPerSecond: number;
  readonly allClosedAfter: number;
  readonly commandsPerSecond: number;
}

const RATE = 5;
const DEAD_MS = 12_000;

const wait = (ms: number) => new Promise<void>((next) => setTimeout(next, ms));

/** Real processes under the preload, whose target dies and comes back; with a fleet over a real Redis, or without. */
export async function runProcesses(count: number, withFleet: boolean): Promise<ProcessesOutcome> {
  const directory = await mkdtemp(join(tmpdir(), 'otel-breaker-fleet-'));
  const redis = await RedisServer.start();
  let target = await listen(0);
  const { port } = target.address() as AddressInfo;
  const rules = {
    // As in the simulation; and on one machine, which a fleet otherwise takes for everybody's own.
    defaults: { failureThreshold: 5, openDuration: '3s', initialOpenDuration: '3s', fleet: true },
    ...(withFleet && { fleet: { url: redis.url, namespace: 'processes', mode: 'enforce' } }),
  };
  await writeFile(join(directory, 'otel-breaker.json'), JSON.stringify(rules));
  const children: ChildProcess[] = [];
  try {
    for (let index = 0; index < count; index++) {
      const child = fork(join(__dirname, 'child.cjs'), [`http://127.0.0.1:${port}/`, String(RATE)], {
        cwd: directory,
        execArgv: ['--require', join(ROOT, 'dist/src/register.js')],
        env: {
          ...process.env,
          NODE_PATH: join(ROOT, 'node_modules'),
          OTEL_BREAKER_METRICS: 'off',
          OTEL_LOG_LEVEL: 'error',
          OTEL_BREAKER_FLEET_DOMAIN: `host-${index}`,
        },
      });
      children.push(child);
      const [ready] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as [unknown];
      if (ready !== 'ready') throw new Error(`A process ended with ${String(ready)}`);
    }
    // All have called, and know each other by a heartbeat.
    await wait(7_000);
    const diedAt = Date.now();
    target.closeAllConnections();
    target.close();
    await wait(DEAD_MS);
    target = await listen(port);
    const backAt = Date.now();
    await wait(9_000);
    const seen = await Promise.all(children.map(report));

    const openAt = seen.map(
      ({ states }) => states.find(([at, state]) => at >= diedAt && state === 'open')?.[0] ?? Infinity,
    );
    const allOpenAt = Math.max(...openAt);
    const failures = seen.flatMap(({ failedAt }) => failedAt).filter((at) => at >= diedAt);
    const closedAt = seen.map(({ states }) => (states.at(-1)?.[1] === 'closed' ? states.at(-1)![0] : Infinity));
    const stats = await redis.command('INFO', 'commandstats');
    const commands = Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
    return {
      failingCalls: failures.filter((at) => at <= allOpenAt).length,
      allOpenAfter: allOpenAt - diedAt,
      probesPerSecond: failures.filter((at) => at > allOpenAt && at < backAt).length / ((backAt - allOpenAt) / 1_000),
      allClosedAfter: Math.max(...closedAt) - backAt,
      commandsPerSecond: commands / count / ((Date.now() - diedAt + 7_000) / 1_000),
    };
  } finally {
    await Promise.all(children.map((child) => end(child)));
    target.closeAllConnections();
    target.close();
    await redis.remove();
    await rm(directory, { recursive: true, force: true });
  }
}

async function listen(port: number): Promise<Server> {
  const server = createServer((_request, response) => response.end('ok'));
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

async function report(child: ChildProcess): Promise<Seen> {
  const answer = once(child, 'message') as Promise<[Seen]>;
  child.send('report');
  return (await answer)[0];
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}
