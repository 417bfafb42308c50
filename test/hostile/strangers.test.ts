import { expect } from 'chai';
import { createServer, request, type ClientRequest, type RequestOptions } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { context } from '@opentelemetry/api';
import { HttpBreakerInstrumentation } from '../../instrumentations/http/http-instrumentation.js';
import { CircuitBreakerRegistry } from '../../src/breaker/registry.js';
import { readEnvironment } from '../../src/environment.js';
import { checkedSection } from '../../src/rules/live-rules.js';
import { RuleSet } from '../../src/rules/rule-set.js';
import { createRuntime, type Runtime } from '../../src/runtime.js';
import { finish, type Ending } from '../support/http.js';
import { findDeadPort, serve, start, stopServers, type Upstream } from '../support/servers.js';
import { measured } from './measured.js';

// No probe comes before a test is over.
const LONG = { openDuration: 60_000, initialOpenDuration: 60_000 };
const REJECTED = 'ERR_CIRCUIT_OPEN';
const ATTEMPTS = 12;

/** Where the names of strangers lead: nobody asks a name server. */
const lookup: NonNullable<RequestOptions['lookup']> = (_host, { all }, done) =>
  all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4);

describe('targets that strangers choose', () => {
  let registry: CircuitBreakerRegistry;
  let runtime: Runtime;
  let instrumentation: HttpBreakerInstrumentation;

  beforeEach(() => {
    registry = new CircuitBreakerRegistry();
    runtime = createRuntime(registry, readEnvironment({ OTEL_BREAKER_METRICS: 'off' }));
    runtime.guard.useRules(new RuleSet([checkedSection('rules', { defaults: LONG })]));
    instrumentation = new HttpBreakerInstrumentation({ enabled: false }, runtime.guard);
    instrumentation.enable();
  });
  afterEach(async () => {
    instrumentation.disable();
    registry.clear();
    await runtime.stop();
    await stopServers();
    context.disable();
  });

  const outcome = ({ status, error }: Ending) => error?.code ?? status;
  const call = async (options: RequestOptions) => outcome(await finish(request({ agent: false, lookup, ...options })));

  async function times(count: number, make: (index: number) => Promise<unknown>): Promise<unknown[]> {
    const outcomes: unknown[] = [];
    for (let index = 0; index < count; index++) outcomes.push(await make(index));
    return outcomes;
  }

  /** That its own calls reach it, all of them, and none has failed. */
  async function expectWell({ origin, port }: Upstream): Promise<void> {
    expect(await times(3, () => call({ host: '127.0.0.1', port }))).to.deep.equal([200, 200, 200]);
    const { state, calls } = registry.get(origin)!.stats();
    expect({ state, ...calls }).to.include({ state: 'closed', success: 3, failure: 0, rejected: 0 });
  }

  /** A service that sends on what it is asked, path and headers as they came, by such a request. */
  function serveGateway(make: (path: string, host: string) => ClientRequest): Promise<Upstream> {
    return start(
      createServer((asked, answer) => {
        make(asked.url!, asked.headers.host!)
          .on('response', (response) => {
            answer.statusCode = response.statusCode!;
            response.pipe(answer);
          })
          .on('error', () => answer.writeHead(502).end())
          .end();
      }),
      'http',
    );
  }

  it('in paths in absolute form through a gateway that passes them on open no circuit of the host they name', async function () {
    const healthy = await serve((_, response) => response.end('well'));
    const behind = await serve((_, response) => response.writeHead(503).end());
    const gateway = await serveGateway((path) => request({ host: '127.0.0.1', port: behind.port, path }));
    const asked = await times(ATTEMPTS, () => askRaw(gateway.port, `${healthy.origin}/orders`));
    // Whoever asks so hurts nobody but those who ask the same.
    expect(asked.every((status) => status === 503 || status === 502)).to.equal(true);
    await expectWell(healthy);
    measured(this, `${ATTEMPTS} bad answers; 3 of 3 calls to the named host answered`);
  });

  it('in the Host header of a request with a connection of its own open no circuit of the host they name', async function () {
    const healthy = await serve((_, response) => response.end('well'));
    const dead = await findDeadPort();
    const gateway = await serveGateway((path, host) =>
      request({ host: '127.0.0.1', path, headers: { host }, createConnection: () => connect(dead, '127.0.0.1') }),
    );
    const asked = await times(ATTEMPTS, () => askRaw(gateway.port, '/orders', `127.0.0.1:${healthy.port}`));
    expect(asked).to.deep.equal(Array<number>(ATTEMPTS).fill(502));
    await expectWell(healthy);
    measured(this, `${ATTEMPTS} refused connections; 3 of 3 calls to the named host answered`);
  });

  it('in floods push no circuit out that protects a dependency', async function () {
    const rules = { maxBreakers: 50, panicThreshold: 1, defaults: LONG };
    runtime.guard.useRules(new RuleSet([checkedSection('rules', rules)]));
    const { port, origin, stop } = await serve((_, response) => response.end('well'));
    const dependency = () => call({ host: '127.0.0.1', port });
    expect(await times(5, dependency)).to.deep.equal(Array<number>(5).fill(200));
    await stop();
    let flooded = 0;
    const flood = () => times(100, () => call({ host: `stranger-${flooded++}.example.com`, port }));
    const outcomes: unknown[] = [];
    for (let round = 0; round < 10; round++) {
      await flood();
      outcomes.push(await dependency());
    }
    expect(outcomes).to.deep.equal([...Array<string>(5).fill('ECONNREFUSED'), ...Array<string>(5).fill(REJECTED)]);
    expect(registry.size).to.be.at.most(50);
    expect(registry.get(origin)!.state).to.equal('open');
    measured(this, `${flooded.toLocaleString('en')} new hosts, room for 50: it opens after 5 failures and rejects`);
  });

  it('switch no protection off, be they dead or answering with errors', async function () {
    const answering = await serve((_, response) => response.writeHead(503).end());
    const { port, stop } = await serve((_, response) => response.end('well'));
    const dependency = () => call({ host: '127.0.0.1', port });
    await dependency();
    await stop();
    const dead = await findDeadPort();
    await times(6, (index) => times(6, () => call({ host: `dead-${index}.example.com`, port: dead })));
    await times(6, (index) => times(6, () => call({ host: `bad-${index}.example.com`, port: answering.port })));
    await times(5, dependency);
    expect(registry.stateCounts()).to.include({ open: 13 });
    expect(await times(20, dependency)).to.deep.equal(Array<string>(20).fill(REJECTED));
    measured(this, '12 open circuits of strangers: 20 of 20 calls to a dead dependency rejected');
  });

  it('by names that no host can have get no breaker', async function () {
    const dead = await findDeadPort();
    const longest = 'h'.repeat(63).concat('.').repeat(4).slice(0, 253);
    await call({ host: longest, port: dead });
    expect(registry.listNames()).to.deep.equal([`http://${longest}:${dead}`]);
    const tooLong = [`${longest}h`, `${longest}.example.com`, 'h'.repeat(1_000_000)];
    for (const host of tooLong) await times(ATTEMPTS, () => call({ host, port: dead }));
    await times(ATTEMPTS, () => call({ socketPath: `/tmp/${'p'.repeat(200)}` }));
    expect(registry.size).to.equal(1);
    measured(this, `${ATTEMPTS} calls each to names of 254 to 1,000,000 characters: no breaker`);
  });
});

/** As a stranger asks: with the path and the name that he likes, past every client that is guarded. @returns the status */
async function askRaw(port: number, path: string, host = 'gateway.example.com'): Promise<number> {
  const socket = connect(port, '127.0.0.1');
  socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  return Number(/^HTTP\/1\.1 (\d+)/.exec(await text(socket))![1]);
}
