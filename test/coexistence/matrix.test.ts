import { expect } from 'chai';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { METRICS_ADDRESS, sample, scrape, startApp, stopApps } from '../support/app.js';
import { PRELOAD } from '../support/child.js';
import { exportingTo, serveCollector, type CollectedSpan, type Collector } from '../support/collector.js';
import { installOtelLines, OTEL_LINES, type OtelLine } from '../support/node-lines.js';
import { PostgresServer } from '../support/postgres-server.js';
import { RedisServer } from '../support/redis-server.js';
import { serve, stopServers } from '../support/servers.js';

const CLIENTS = ['http', 'undici', 'fetch', 'ioredis', 'pg'] as const;
type Client = (typeof CLIENTS)[number];

const AUTO = ['--require', '@opentelemetry/auto-instrumentations-node/register'];

/** One way to bring us and OpenTelemetry into an application. */
interface Order {
  readonly nodeArgs: (preload: readonly string[], fixture: (name: string) => string) => readonly string[];
  readonly program: 'app.cjs' | 'app.mjs';
  readonly env?: NodeJS.ProcessEnv;
  /** Takes us out of it. */
  readonly envWithout?: NodeJS.ProcessEnv;
}

const cjs = 'app.cjs';
const esm = 'app.mjs';
const hooks = (fixture: (name: string) => string) => ['--import', pathToFileURL(fixture('hooks.mjs')).href];

const ORDERS: Readonly<Record<string, Order>> = {
  'preload, then auto-instrumentations': { nodeArgs: (preload) => [...preload, ...AUTO], program: cjs },
  'auto-instrumentations, then preload': { nodeArgs: (preload) => [...AUTO, ...preload], program: cjs },
  'preload; NodeSDK in code, before the clients': { nodeArgs: (preload) => preload, program: cjs, env: { SDK: 'early' } },
  'preload; NodeSDK in code, after the clients': { nodeArgs: (preload) => preload, program: cjs, env: { SDK: 'late' } },
  'our instrumentations in NodeSDK’s array': {
    nodeArgs: () => [],
    program: cjs,
    env: { SDK: 'early', OURS_IN_ARRAY: '1' },
    envWithout: { OURS_IN_ARRAY: '' },
  },
  'preload, no SDK': { nodeArgs: (preload) => preload, program: cjs, env: { STAY: '1' } },
  'ES modules with hook: preload, then auto-instrumentations': {
    nodeArgs: (preload, fixture) => [...hooks(fixture), ...preload, ...AUTO],
    program: esm,
  },
  'ES modules with hook: auto-instrumentations, then preload': {
    nodeArgs: (preload, fixture) => [...hooks(fixture), ...AUTO, ...preload],
    program: esm,
  },
  'ES modules with hook: preload; NodeSDK imported': {
    nodeArgs: (preload, fixture) => [...preload, ...hooks(fixture), '--import', pathToFileURL(fixture('sdk.mjs')).href],
    program: esm,
  },
  'ES modules, no hook: preload, then auto-instrumentations': {
    nodeArgs: (preload) => [...preload, ...AUTO],
    program: esm,
  },
};

describe('every order of loading, every client, every line of OpenTelemetry:', () => {
  let env: NodeJS.ProcessEnv;
  const targets = {} as Record<Client, string>;

  before(async function () {
    // Installs what later lines need, where nobody has yet.
    this.timeout(300_000);
    const [redis, pg] = await Promise.all([RedisServer.start(), PostgresServer.start(), installOtelLines()]);
    for (const client of ['http', 'undici', 'fetch'] as const) targets[client] = (await serve(answer)).origin;
    targets.ioredis = redis.url;
    targets.pg = `postgresql://127.0.0.1:${pg.port}/${pg.database}`;
    env = Object.fromEntries(CLIENTS.map((client) => [client.toUpperCase(), client === 'pg' ? pg.url : targets[client]]));
    stops.push(() => redis.remove(), () => pg.remove());
  });
  const stops: (() => unknown)[] = [];
  after(async () => {
    await stopApps();
    await stopServers();
    for (const stop of stops) await stop();
  });

  async function run(line: OtelLine, order: Order, ours: boolean) {
    const fixture = (name: string) => join(line.fixtures, name);
    const collector = await serveCollector();
    const nodeArgs = order.nodeArgs(ours ? PRELOAD : [], fixture);
    const app = startApp({
      node: line.node,
      cwd: line.cwd,
      nodeArgs,
      program: fixture(order.program),
      env: {
        ...env,
        ...(order.env?.STAY === undefined && exportingTo(collector)),
        OTEL_BREAKER_CONFIG: fixture('otel-breaker.yaml'),
        ...order.env,
        ...(!ours && order.envWithout),
      },
    });
    const stays = order.env?.STAY !== undefined;
    const seen = await app.prints('stdout', /done: (.*)/);
    const page = stays && ours ? await scrape((await app.prints('stderr', METRICS_ADDRESS))[1]! + '') : undefined;
    const { stdout, stderr } = stays ? await app.stop('SIGKILL') : await app.ends();
    return { collector, seen: JSON.parse(seen[1]!), page, stdout, stderr };
  }

  for (const line of OTEL_LINES) {
    describe(line.name, () => {
      for (const [name, order] of Object.entries(ORDERS)) {
        it(name, async () => {
          const t = Date.now();
          const [without, withUs] = await Promise.all([run(line, order, false), run(line, order, true)]);
          console.log(Date.now() - t, 'ms');
          console.log(JSON.stringify(without.seen), JSON.stringify(withUs.seen), withUs.stderr, without.stderr);
          for (const [what, {collector}] of Object.entries({without, withUs})) {
            const byId = new Map(collector.spans.map((s) => [s.spanId, s]));
            console.log(what);if (what==="without") continue;
            for (const s of collector.spans.filter((s) => s.scope !== 'app'))
              console.log('  ', s.scope, '|', s.name, s.kind, '|', byId.get(s.parentSpanId!)?.name, '|', s.events.map(e => e.name + ' ' + (e.attributes['circuit_breaker.state.to'] ?? '')).join(','));
            for (const s of collector.spans.filter((s) => s.scope === 'app' && s.events.length))
              console.log('  ', s.scope, '|', s.name, s.kind, '|', s.events.map(e => e.name + ' ' + (e.attributes['circuit_breaker.state.to'] ?? '')).join(','));
          }
          console.log(CLIENTS.map((c) => withUs.collector.metric('circuit_breaker.rejected_calls', { name: targets[c] })));
        });
      }
    });
  }
});

function answer(req: IncomingMessage, res: ServerResponse): void {
  if (req.url === '/cut') req.socket.destroy();
  else if (req.url === '/broken') res.writeHead(503, { connection: 'close' }).end('broken');
  else res.writeHead(200, { connection: 'close' }).end('ok');
}
