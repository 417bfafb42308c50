import { expect } from 'chai';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { SMTPServerOptions } from 'smtp-server';
import { METRICS_ADDRESS, sample, scrape, startApp, stopApps } from '../support/app.js';
import { PRELOAD } from '../support/child.js';
import { exportingTo, serveCollector, type CollectedSpan, type Collector } from '../support/collector.js';
import { between, golden } from '../support/golden.js';
import { echo } from '../support/grpc.js';
import { serveHttp2 } from '../support/http2.js';
import { MariadbServer } from '../support/mariadb-server.js';
import { MongoServer } from '../support/mongo-server.js';
import { installOtelLines, OTEL_LINES, type OtelLine } from '../support/node-lines.js';
import { PostgresServer } from '../support/postgres-server.js';
import { RedisServer } from '../support/redis-server.js';
import { serve, stopServers } from '../support/servers.js';
import { errorOf, MailServer } from '../support/smtp-server.js';

const CLIENTS = [
  'http',
  'undici',
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

type Fixture = (name: string) => string;

/** One way to bring us and OpenTelemetry into an application. */
interface Order {
  /** Arguments to Node before the program. */
  readonly nodeArgs: (preload: readonly string[], fixture: Fixture) => readonly string[];
  readonly program: 'app.cjs' | 'app.mjs';
  readonly env?: NodeJS.ProcessEnv;
  /** What takes us out, where we are not in the arguments. */
  readonly envWithout?: NodeJS.ProcessEnv;
}

const AUTO = ['--require', '@opentelemetry/auto-instrumentations-node/register'];
const importing = (file: string) => ['--import', pathToFileURL(file).href];
// `--require` runs in the thread of the loader's hooks as well, where auto-instrumentations start a second SDK.
const imported = (args: readonly string[]) => args.map((arg) => (arg === '--require' ? '--import' : arg));
const hook = (fixture: Fixture) => importing(fixture('hooks.mjs'));

// Everything is exported when the application ends. An export while ES modules are still loading fails now and then, with
// us or without: the hook of import-in-the-middle then loses the import of `http` that the exporter makes.
const AT_THE_END = {
  OTEL_METRIC_EXPORT_INTERVAL: undefined,
  OTEL_METRIC_EXPORT_TIMEOUT: undefined,
  OTEL_BSP_SCHEDULE_DELAY: undefined,
};

const NO_SDK = 'preload, no SDK';
const ORDERS: Readonly<Record<string, Order>> = {
  'preload, then auto-instrumentations': {
    nodeArgs: (preload) => [...preload, ...AUTO],
    program: 'app.cjs',
  },
  'auto-instrumentations, then preload': {
    nodeArgs: (preload) => [...AUTO, ...preload],
    program: 'app.cjs',
  },
  'preload; NodeSDK in code, before the clients': {
    nodeArgs: (preload) => preload,
    program: 'app.cjs',
    env: { SDK: 'early' },
  },
  'preload; NodeSDK in code, after the clients': {
    nodeArgs: (preload) => preload,
    program: 'app.cjs',
    env: { SDK: 'late' },
  },
  "ours in NodeSDK's `instrumentations`": {
    nodeArgs: () => [],
    program: 'app.cjs',
    env: { SDK: 'early', OURS: 'within' },
    envWithout: { OURS: undefined },
  },
  'auto-instrumentations; ours in code, after the clients': {
    nodeArgs: () => AUTO,
    program: 'app.cjs',
    env: { OURS: 'late' },
    envWithout: { OURS: undefined },
  },
  [NO_SDK]: {
    nodeArgs: (preload) => preload,
    program: 'app.cjs',
    env: { STAY: '1' },
  },
  'ES modules with hook: preload, then auto-instrumentations': {
    nodeArgs: (preload, fixture) => [...hook(fixture), ...imported(preload), ...imported(AUTO)],
    program: 'app.mjs',
  },
  'ES modules with hook: auto-instrumentations, then preload': {
    nodeArgs: (preload, fixture) => [...hook(fixture), ...imported(AUTO), ...imported(preload)],
    program: 'app.mjs',
  },
  'ES modules with hook: preload; NodeSDK imported': {
    nodeArgs: (preload, fixture) => [...preload, ...hook(fixture), ...importing(fixture('sdk.mjs'))],
    program: 'app.mjs',
  },
  'ES modules without hook: preload, then auto-instrumentations': {
    nodeArgs: (preload) => [...preload, ...AUTO],
    program: 'app.mjs',
  },
  'ES modules without hook: preload; NodeSDK imported': {
    nodeArgs: (preload, fixture) => [...preload, ...importing(fixture('sdk.mjs'))],
    program: 'app.mjs',
  },
};

/** What an application that made its calls has said in every way it could. */
interface Run {
  /** The result of each call. */
  readonly seen: Readonly<Record<Client, readonly unknown[]>>;
  readonly collector: Collector;
  /** What a scrape found, where there is no SDK to push metrics. */
  readonly page: string | undefined;
  readonly printed: string;
}

const OURS = 'otel-breaker';
const CLIENT = 3;

describe('OpenTelemetry beside us:', function () {
  // Two processes at a time, with all that auto-instrumentations load.
  this.timeout(120_000);
  const targets = {} as Record<Client, string>;
  const urls = {} as Record<Client, string>;
  const places: Record<string, Record<string, Partial<Record<Client, string>>>> = {};
  const release: (() => unknown)[] = [];

  before(async function () {
    // Installs what later lines need, where nobody has yet.
    this.timeout(300_000);
    const [redis, otherRedis, mariadb, mongodb, pg, rpc, mail] = await Promise.all([
      RedisServer.start(),
      RedisServer.start(),
      MariadbServer.start(),
      MongoServer.start(),
      PostgresServer.start(),
      echo.serve(),
      MailServer.start({ onMailFrom: answerSender }),
      installOtelLines(),
    ]);
    release.push(
      () => redis.remove(),
      () => otherRedis.remove(),
      () => mariadb.stop(),
      () => mongodb.kill(),
      () => pg.remove(),
      () => rpc.stop(),
      () => mail.stop(),
    );
    for (const client of ['http', 'undici', 'fetch'] as const) urls[client] = (await serve(answer)).origin;
    urls.http2 = (await serveHttp2()).origin;
    Object.assign(urls, { ioredis: redis.url, 'node-redis': otherRedis.url, mysql2: mariadb.url, pg: pg.url });
    Object.assign(urls, { mongodb: mongodb.url, nodemailer: mail.target });
    Object.assign(urls, { grpc: `grpc://127.0.0.1:${rpc.port}` });
    Object.assign(targets, urls, {
      mysql2: mariadb.target,
      mongodb: mongodb.target,
      pg: `postgresql://${pg.host}:${pg.port}/${pg.database}`,
    });
  });

  after(async () => {
    await stopServers();
    for (const undo of release) await undo();
  });

  async function run(line: OtelLine, order: Order, ours: boolean): Promise<Run> {
    const fixture: Fixture = (name) => join(line.fixtures, name);
    const collector = await serveCollector();
    const stays = order.env?.STAY !== undefined;
    const app = startApp({
      node: line.node,
      cwd: line.cwd,
      nodeArgs: order.nodeArgs(ours ? PRELOAD : [], fixture),
      program: fixture(order.program),
      env: {
        ...Object.fromEntries(CLIENTS.map((client) => [client.toUpperCase().replace('-', '_'), urls[client]])),
        ...(!stays && { ...exportingTo(collector), ...AT_THE_END }),
        OTEL_BREAKER_CONFIG: fixture('otel-breaker.yaml'),
        ...order.env,
        ...(!ours && order.envWithout),
      },
    });
    const [, seen] = await app.prints('stdout', /done: (.*)/);
    const page = stays && ours ? await scrape((await app.prints('stderr', METRICS_ADDRESS))[1]!) : undefined;
    // Otherwise it ends by itself, when its SDK has exported everything.
    const { code, stdout, stderr } = stays ? await app.stop('SIGKILL') : await app.ends();
    if (!stays) expect(code, stderr).to.equal(0);
    return { seen: JSON.parse(seen!) as Run['seen'], collector, page, printed: stdout + stderr };
  }

  const runsWithout = new Map<string, Promise<Run>>();

  /** Without us, several orders are the same. */
  function runWithout(line: OtelLine, order: Order): Promise<Run> {
    const { program, env, envWithout } = order;
    const key = JSON.stringify([line.name, program, order.nodeArgs([], (name) => name), { ...env, ...envWithout }]);
    const known = runsWithout.get(key) ?? run(line, order, false);
    runsWithout.set(key, known);
    return known;
  }

  for (const line of OTEL_LINES) {
    for (const [name, order] of Object.entries(ORDERS)) {
      describe(`${line.name}, ${name}:`, () => {
        let without: Run;
        let withUs: Run;

        before(async () => {
          [without, withUs] = await Promise.all([runWithout(line, order), run(line, order, true)]);
        });
        after(stopApps);

        for (const client of CLIENTS) {
          it(`${client}: the same spans as without us, with our events on them`, () => {
            const seen = withUs.seen[client];
            expect(seen.slice(0, 4)).to.deep.equal(without.seen[client].slice(0, 4));
            expect(seen[4]).to.equal('ERR_CIRCUIT_OPEN');

            expect(spansOf(client, withUs)).to.deep.equal(spansOf(client, without));

            const { trip, rejection, opener } = eventsOf(client, targets[client], withUs.collector.spans);
            const cells = ((places[name] ??= {})[line.name] ??= {});
            cells[client] = `${trip} / ${rejection}`;
            if (name === NO_SDK) {
              expect(withUs.collector.spans).to.deep.equal([]);
            } else {
              // A client span takes the event wherever there is one; rejected before it is made, a call has none.
              const traced = isTraced(client, without.collector.spans);
              expect(trip).to.equal(traced ? 'client' : 'active');
              expect(rejection).to.be.oneOf(traced ? ['client', 'active'] : ['active']);
              expect(opener).to.equal(true);
            }
          });

          it(`${client}: metrics reach ${name === NO_SDK ? '/metrics' : "the application's own reader"}`, () => {
            const labels = { name: targets[client] };
            for (const [metric, value] of Object.entries({ successful_calls: 2, failed_calls: 2, rejected_calls: 1 })) {
              const found =
                withUs.page === undefined
                  ? withUs.collector.metric(`circuit_breaker.${metric}`, labels)
                  : sample(withUs.page, `circuit_breaker_${metric}_total`, labels);
              expect(found, metric).to.equal(value);
            }
          });
        }

        it('nobody registers anything twice, and nobody complains', () => {
          expect(withUs.printed).not.to.match(/duplicate|already registered|overwrit|is taken/i);
          expect(withUs.collector.metric('circuit_breaker.calls', { name: withUs.collector.endpoint })).to.equal(
            undefined,
          );
        });
      });
    }
  }

  // In a block of its own: mocha runs the tests of a block before the blocks within it.
  describe('documented:', () => {
    it('the table in docs/tracing.md is what has been found', async () => {
      const rows = Object.entries(places).flatMap(([order, lines]) => {
        const found = Object.entries(lines).map(([line, cells]) => [line, ...CLIENTS.map((client) => cells[client])]);
        expect(found, `run all of this file: ${order}`).to.have.length(OTEL_LINES.length);
        const same = new Set(found.map(([, ...cells]) => cells.join())).size === 1;
        return same ? [[order, 'all', ...found[0]!.slice(1)]] : found.map((row) => [order, ...row]);
      });
      expect(Object.keys(places)).to.deep.equal(Object.keys(ORDERS));
      const table = [
        ['order of loading', 'line', ...CLIENTS],
        ['order of loading', 'line', ...CLIENTS].map(() => '---'),
        ...rows,
      ].map((cells) => `| ${cells.join(' | ')} |`);
      const { is, should } = await golden('docs/tracing.md', (text) => between(text, 'matrix', table.join('\n')));
      expect(is).to.equal(should);
    });
  });
});

/** An answer on a connection of its own: what ends one that was used before says nothing of its target. */
function answer({ url, socket }: IncomingMessage, res: ServerResponse): void {
  if (url === '/cut') socket.destroy();
  else res.writeHead(url === '/broken' ? 503 : 200, { connection: 'close' }).end();
}

/** A mail server that cannot work for some senders. */
const answerSender: NonNullable<SMTPServerOptions['onMailFrom']> = ({ address }, _, done) => {
  const [, code] = /^code-(\d+)@/.exec(address) ?? [];
  done(code === undefined ? undefined : errorOf(Number(code), 'Not now'));
};

/** What we add, and what differs from run to run. */
const DIFFERENT = /^circuit_breaker\.|^network\.local\.port$/;

/** The spans of a client's four calls that are made. */
function spansOf(client: Client, { collector: { spans } }: Run): unknown[] {
  return spans
    .map((span) => ({
      root: rootOf(span, spans).name,
      parent: parentOf(span, spans)?.name,
      scope: span.scope,
      name: span.name,
      kind: span.kind,
      status: span.status,
      attributes: Object.fromEntries(Object.entries(span.attributes).filter(([key]) => !DIFFERENT.test(key))),
      events: span.events.map((event) => event.name).filter((event) => !event.startsWith('circuit_')),
    }))
    .filter(({ root }) => root.startsWith(`${client} `) && root !== `${client} rejected`)
    .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

function parentOf({ parentSpanId }: CollectedSpan, spans: readonly CollectedSpan[]): CollectedSpan | undefined {
  return spans.find(({ spanId }) => spanId === parentSpanId);
}

function rootOf(span: CollectedSpan, spans: readonly CollectedSpan[]): CollectedSpan {
  const parent = parentOf(span, spans);
  return parent === undefined ? span : rootOf(parent, spans);
}

/** Whether the call that fails last has a client span; those of MongoDB are of commands, and end before their operation does. */
function isTraced(client: Client, spans: readonly CollectedSpan[]): boolean {
  if (client === 'mongodb') return false;
  const root = spans.find(({ name }) => name === `${client} tripping`)!;
  return spans.some(({ kind, parentSpanId }) => kind === CLIENT && parentSpanId === root.spanId);
}

/** On what kind of span the events of a breaker stand, and whether the rejection names the span that opened the circuit. */
function eventsOf(client: Client, breaker: string, spans: readonly CollectedSpan[]) {
  const carriers = (event: string) =>
    spans.flatMap((span) =>
      span.events
        .filter(({ name, attributes }) => name === event && attributes['circuit_breaker.name'] === breaker)
        .map(({ attributes }) => ({ span, attributes })),
    );
  const placeOf = (found: { span: CollectedSpan }[], step: string): string => {
    if (found.length === 0) return 'none';
    expect(found).to.have.length(1);
    const [{ span }] = found as [{ span: CollectedSpan }];
    expect(rootOf(span, spans).name).to.equal(`${client} ${step}`);
    if (span === rootOf(span, spans)) return 'active';
    expect(span.scope).to.match(/^@opentelemetry\/instrumentation-|^otel-breaker$/);
    return span.scope === OURS ? 'own' : 'client';
  };
  const trips = carriers('circuit_breaker.state_transition');
  const rejections = carriers('circuit_breaker.rejected');
  return {
    trip: placeOf(trips, 'tripping'),
    rejection: placeOf(rejections, 'rejected'),
    opener: rejections[0]?.attributes['circuit_breaker.opened_by.span_id'] === trips[0]?.span.spanId,
  };
}
