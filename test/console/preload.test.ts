import { expect } from 'chai';
import type { IncomingHttpHeaders } from 'node:http';
import type { BreakerDetail, BreakerView, Snapshot, TraceView } from '../../src/console/api.js';
import { startApp, stopApps, type App } from '../support/app.js';
import { PRELOAD } from '../support/child.js';
import { serveCollector } from '../support/collector.js';
import { findDeadPort, serve, stopServers } from '../support/servers.js';

/** A service that knows nothing of the console. It passes requests on, and tells which files of the console are loaded. */
const SERVICE = `
  const http = require('node:http');
  const { basename } = require('node:path');
  const server = http.createServer((request, response) => {
    if (request.url === '/loaded') {
      const loaded = Object.keys(require.cache).filter((path) => path.includes('/dist/src/console/'));
      return response.end(JSON.stringify(loaded.map((path) => basename(path))));
    }
    http
      .get(process.env.TARGET, (answer) => answer.resume().on('end', () => response.end('"answered"')))
      .on('error', (error) => response.end(JSON.stringify(error.code)));
  });
  server.listen(0, '127.0.0.1', () => console.log('at ' + server.address().port));
`;

/** The same with tracing of its own, and no metrics. */
const TRACED_SERVICE = `
  const { NodeSDK } = require('@opentelemetry/sdk-node');
  const { HttpInstrumentation } = require('@opentelemetry/instrumentation-http');
  const nowhere = { export: (_, done) => done({ code: 0 }), shutdown: async () => {} };
  new NodeSDK({ traceExporter: nowhere, metricReaders: [], instrumentations: [new HttpInstrumentation()] }).start();
  ${SERVICE}
`;

describe('console of the preload', function () {
  // Processes start slowly on a busy machine.
  this.timeout(120_000);
  let dead: string;
  before(async () => (dead = `http://127.0.0.1:${await findDeadPort()}`));
  afterEach(async () => {
    await stopApps();
    await stopServers();
  });

  async function start(env: NodeJS.ProcessEnv = {}, source = SERVICE) {
    const app = startApp({
      nodeArgs: PRELOAD,
      program: { kind: 'commonjs', source },
      env: {
        OTEL_SERVICE_NAME: 'shop',
        OTEL_LOGS_EXPORTER: 'none',
        OTEL_NODE_RESOURCE_DETECTORS: 'none',
        TARGET: dead,
        ...env,
      },
    });
    const [port, page] = await Promise.all([
      printed(app, 'stdout', /at (\d+)/),
      printed(app, 'stderr', /console at (\S+)\)/),
    ]);
    const ask = async <T>(path: string) => (await (await fetch(`http://127.0.0.1:${port}${path}`)).json()) as T;
    const see = async <T>(path: string) => (await (await fetch(page + path)).json()) as T;
    return { app, page, ask, see };
  }

  /** Calls a dead target until its circuit is open, and once more. */
  async function openAndReject(ask: (path: string) => Promise<unknown>): Promise<void> {
    while ((await ask('/')) !== 'ERR_CIRCUIT_OPEN');
  }

  function expectRejectionLinkedToOpener(traces: readonly TraceView[]): void {
    const [rejected, opener] = traces;
    expect(rejected!.spans.map(({ kind }) => kind)).to.deep.equal(['server', 'client']);
    const rejection = eventsOf(rejected!).find(({ name }) => name === 'circuit_breaker.rejected');
    expect(rejection!.attributes['circuit_breaker.opened_by.trace_id']).to.equal(opener!.traceId);
    expect(eventsOf(opener!).map(({ name }) => name)).to.include('circuit_breaker.state_transition');
  }

  it('is at the port of the metrics, and is loaded when somebody asks for it', async () => {
    const { page, ask, see } = await start();
    expect((await fetch(`${page}metrics`)).status).to.equal(200);
    expect(await ask('/loaded')).to.have.members([
      'api.js',
      'format.js',
      'history.js',
      'recent-calls.js',
      'redact.js',
      'serialize.js',
      'thread-console.js',
      'trace-ring.js',
      'transition-log.js',
      'server.js',
      'give-way.js',
      'connections.js',
      'access.js',
      'limited-log.js',
      'respond.js',
      'shared-answer.js',
    ]);
    expect(await (await fetch(page)).text()).to.include('<title>Circuit breakers</title>');
    expect(await ask('/loaded')).to.include('console.js');
    expect((await see<{ service: string }>('breakers')).service).to.equal('shop');
  });

  it('tells the rule of a breaker, and of each option where it came from', async () => {
    const { ask, see } = await start({
      OTEL_BREAKER_MODE: 'observe',
      OTEL_BREAKER_CONFIG: 'test/fixtures/console/rules.yaml',
    });
    await ask('/');
    const [breaker] = (await see<{ breakers: BreakerView[] }>('breakers')).breakers;
    expect(breaker!.name).to.equal('the dead one');
    const { rule, options } = await see<BreakerDetail>(`breakers/${encodeURIComponent(breaker!.name)}`);
    expect(rule).to.equal('rules[1] of test/fixtures/console/rules.yaml');
    const sources = Object.fromEntries(options.map(({ key, value, source }) => [key, [value, source]]));
    expect(sources).to.deep.include({
      mode: ['observe', 'OTEL_BREAKER_MODE'],
      failureThreshold: [7, 'rules[1] of test/fixtures/console/rules.yaml'],
      openDuration: [90_000, 'defaults of test/fixtures/console/rules.yaml'],
      minimumCalls: [10, 'preset httpApi'],
    });
  });

  it('shows no traces where nobody makes any, and says so', async () => {
    const { page, ask, see } = await start();
    await openAndReject(ask);
    expect(await see('traces')).to.deep.equal({ traces: [] });
    expect((await firstEvent(`${page}events`)).tracing).to.be.false;
  });

  it('shows traces that are made for it alone, of which calls carry nothing', async () => {
    const heard: IncomingHttpHeaders[] = [];
    let broken = false;
    const target = await serve((request, response) => {
      heard.push(request.headers);
      if (broken) request.socket.destroy();
      else response.end();
    });
    const { page, ask, see } = await start({ OTEL_BREAKER_TRACES: 'local', TARGET: target.origin });
    expect(await ask('/')).to.equal('answered');
    broken = true;
    await openAndReject(ask);
    expectRejectionLinkedToOpener((await see<Pick<Snapshot, 'traces'>>('traces')).traces);
    expect((await firstEvent(`${page}events`)).tracing).to.be.true;
    expect(heard.map((headers) => Object.keys(headers).sort())).to.deep.equal(heard.map(() => ['connection', 'host']));
  });

  it('shows the traces that OTEL_TRACES_EXPORTER sends elsewhere', async () => {
    const collector = await serveCollector();
    const { ask, see } = await start({
      OTEL_TRACES_EXPORTER: 'otlp',
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
      OTEL_BSP_SCHEDULE_DELAY: '50',
    });
    await openAndReject(ask);
    const { traces } = await see<Pick<Snapshot, 'traces'>>('traces');
    expectRejectionLinkedToOpener(traces);
    await collector.until(() => collector.spans.some(({ traceId }) => traceId === traces[0]!.traceId));
  });

  it('shows the traces of an application with tracing of its own', async () => {
    const { ask, see } = await start({}, TRACED_SERVICE);
    await openAndReject(ask);
    expectRejectionLinkedToOpener((await see<Pick<Snapshot, 'traces'>>('traces')).traces);
  });
});

async function printed(app: App, stream: 'stdout' | 'stderr', pattern: RegExp): Promise<string> {
  return (await app.prints(stream, pattern))[1]!;
}

function eventsOf({ spans }: TraceView): TraceView['spans'][number]['events'] {
  return spans.flatMap(({ events }) => events);
}

async function firstEvent(url: string): Promise<Snapshot> {
  const answer = await fetch(url);
  let text = '';
  for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const data = /^event: snapshot\ndata: (.*)\n\n/m.exec(text)?.[1];
    if (data !== undefined) return JSON.parse(data) as Snapshot;
  }
  throw new Error('There was no snapshot.');
}
