import { expect } from 'chai';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { sample, scrape, startApp, stopApps } from '../support/app.js';
import { PRELOAD } from '../support/child.js';
import { exportingTo, serveCollector, type CollectedSpan, type Collector } from '../support/collector.js';
import { findDeadPort, serve, stopServers } from '../support/servers.js';

const fixture = (name: string) => join(__dirname, '../fixtures/coexistence', name);
const SDK = ['--require', fixture('sdk.cjs')];
const AUTO = ['--require', '@opentelemetry/auto-instrumentations-node/register'];
const HOOKS = ['--import', pathToFileURL(fixture('hooks.mjs')).href];
const CLIENT = 3;

interface Setup {
  readonly nodeArgs: readonly string[];
  readonly program?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** The same without us. */
  readonly without: readonly string[];
}

describe('coexistence with OpenTelemetry:', () => {
  let collector: Collector;
  let upstream: string;
  let dead: string;
  before(async () => (dead = `http://127.0.0.1:${await findDeadPort()}`));
  beforeEach(async () => {
    collector = await serveCollector();
    upstream = (await serve((_, res) => res.end('ok'))).origin;
  });
  afterEach(async () => {
    await stopApps();
    await stopServers();
  });

  /** Runs an application that makes two good calls and six to a dead port, until `enough` of it has arrived. */
  async function run({ nodeArgs, program = 'app.cjs', env }: Omit<Setup, 'without'>, enough: () => boolean) {
    const app = startApp({
      nodeArgs,
      program: fixture(program),
      env: {
        UPSTREAM: upstream,
        DEAD: dead,
        ...exportingTo(collector),
        ...env,
      },
    });
    const [, seen] = await app.prints('stdout', /done: (.*)/);
    await Promise.race([collector.until(enough), app.ends().then(({ stderr }) => expect.fail(`ended: ${stderr}`))]);
    // An SDK that shuts down on SIGTERM leaves the application running.
    const { stdout, stderr } = await app.stop('SIGKILL');
    return { seen, printed: stdout + stderr };
  }

  const clientSpans = () => collector.spans.filter(({ kind }) => kind === CLIENT);
  const allClientSpans = () => clientSpans().length >= 8;
  const rejected = () => collector.metric('circuit_breaker.calls', { name: dead, status: 'rejected' });
  const failed = () => collector.metric('circuit_breaker.failed_calls', { name: dead });

  const esm = 'app.mjs';
  const setups: Record<string, Setup> = {
    'NodeSDK required before us': { nodeArgs: [...SDK, ...PRELOAD], without: SDK },
    'NodeSDK required after us': { nodeArgs: [...PRELOAD, ...SDK], without: SDK },
    'NodeSDK in the code of the application': { nodeArgs: PRELOAD, env: { SDK_IN_CODE: '1' }, without: [] },
    'NodeSDK before us, ES module': {
      nodeArgs: [...HOOKS, ...SDK, ...PRELOAD],
      program: esm,
      without: [...HOOKS, ...SDK],
    },
    'NodeSDK after us, ES module': {
      nodeArgs: [...HOOKS, ...PRELOAD, ...SDK],
      program: esm,
      without: [...HOOKS, ...SDK],
    },
    'NodeSDK before our --import, ES module': {
      nodeArgs: [...SDK, ...HOOKS, '--import', 'otel-breaker/register'],
      program: esm,
      without: [...SDK, ...HOOKS],
    },
    'auto-instrumentations before us': { nodeArgs: [...AUTO, ...PRELOAD], without: AUTO },
    'auto-instrumentations after us': { nodeArgs: [...PRELOAD, ...AUTO], without: AUTO },
  };

  for (const [name, setup] of Object.entries(setups)) {
    it(`${name}: the same spans as without us, our events on them, and metrics to the application’s own reader`, async () => {
      await run({ ...setup, nodeArgs: setup.without }, allClientSpans);
      const without = collector.spans.splice(0);
      expect(without.filter(({ kind }) => kind === CLIENT)).to.have.length(8);

      const { seen, printed } = await run(setup, () => allClientSpans() && rejected() === 1);
      expect(seen).to.equal(`200 200 ${'ECONNREFUSED '.repeat(5)}ERR_CIRCUIT_OPEN`);
      expect(printed).not.to.match(/duplicate|already registered|is taken/i);

      const spans = clientSpans();
      expect(spans).to.have.length(8);
      expect(spans.slice(0, 7).map(withoutOurs)).to.deep.equal(
        without
          .filter(({ kind }) => kind === CLIENT)
          .slice(0, 7)
          .map(withoutOurs),
      );
      expect(new Set(collector.spans.map(({ scope }) => scope))).to.deep.equal(
        new Set(without.map(({ scope }) => scope)),
      );

      const events = spans.map((span) => span.events.filter((event) => event.name.startsWith('circuit_breaker.')));
      expect(events.map((list) => list.map((event) => event.name))).to.deep.equal([
        ...Array<string[]>(6).fill([]),
        ['circuit_breaker.state_transition'],
        ['circuit_breaker.rejected'],
      ]);
      expect(events[6]![0]!.attributes).to.include({
        'circuit_breaker.name': dead,
        'circuit_breaker.state.from': 'closed',
        'circuit_breaker.state.to': 'open',
        'circuit_breaker.reason': '5 consecutive failures (threshold 5)',
        'error.type': 'ECONNREFUSED',
      });
      expect(events[7]![0]!.attributes).to.include({
        'circuit_breaker.name': dead,
        'circuit_breaker.opened_by.trace_id': spans[6]!.traceId,
        'circuit_breaker.opened_by.span_id': spans[6]!.spanId,
      });
      expect(spans[7]!.attributes['error.type']).to.equal('CircuitOpenError');

      expect(failed()).to.equal(5);
      expect(collector.metric('circuit_breaker.successful_calls', { name: upstream })).to.equal(2);
      expect(collector.metric('circuit_breaker.calls', { name: collector.endpoint })).to.equal(undefined);
    });
  }

  it('an SDK that comes 200 ms late gets every count from the start', async () => {
    const env = { SDK_IN_CODE: '1', SDK_DELAY_MS: '200' };
    const { seen, printed } = await run({ nodeArgs: PRELOAD, env }, () => rejected() === 1);
    expect(seen).to.match(/ERR_CIRCUIT_OPEN$/);
    expect(failed()).to.equal(5);
    expect(collector.metric('circuit_breaker.successful_calls', { name: upstream })).to.equal(2);
    expect(printed).not.to.match(/duplicate|metrics at/i);
  });

  it('a Prometheus exporter of the application gets its port, although it comes after us and late', async () => {
    const port = await findDeadPort();
    const app = startApp({
      nodeArgs: PRELOAD,
      program: fixture('prometheus-app.cjs'),
      env: {
        UPSTREAM: upstream,
        DEAD: dead,
        SDK_DELAY_MS: '800',
        OTEL_EXPORTER_PROMETHEUS_PORT: String(port),
        OTEL_TRACES_EXPORTER: 'none',
        OTEL_LOGS_EXPORTER: 'none',
        OTEL_METRICS_EXPORTER: 'none',
        OTEL_NODE_RESOURCE_DETECTORS: 'none',
      },
    });
    await app.prints('stdout', /done/);
    const address = `http://127.0.0.1:${port}/metrics`;
    let page: string | undefined;
    while (sample(page ?? '', 'circuit_breaker_failed_calls_total', { name: dead }) === undefined) {
      page = await scrape(address).catch(() => undefined);
    }
    expect(sample(page!, 'circuit_breaker_failed_calls_total', { name: dead })).to.equal(5);
    expect((await app.stop()).stderr).to.match(/^otel-breaker: guarding .*\n$/);
  });
});

/** What a span says, without what differs from run to run and without what we add to it. */
function withoutOurs({ scope, name, kind, status, attributes: all, events }: CollectedSpan): unknown {
  const attributes = Object.fromEntries(Object.entries(all).filter(([key]) => !key.startsWith('circuit_breaker.')));
  return {
    scope,
    name,
    kind,
    status,
    attributes,
    events: events.filter((event) => !event.name.startsWith('circuit_')),
  };
}
