import { expect } from 'chai';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { METRICS_ADDRESS, sample, scrape, startApp, stopApps, type App } from '../support/app.js';
import { PRELOAD } from '../support/child.js';
import { serve, stopServers } from '../support/servers.js';

const NAMES = [
  'circuit_breaker_call_duration_seconds',
  'circuit_breaker_calls_total',
  'circuit_breaker_failed_calls_total',
  'circuit_breaker_rejected_calls_total',
  'circuit_breaker_state',
  'circuit_breaker_state_transitions_total',
  'circuit_breaker_successful_calls_total',
];

/** An application that makes so many calls as a message tells it, and sends back what became of them. */
const APP = `
  const { get } = require('node:http');
  const call = () => new Promise((resolve) => get(process.env.UPSTREAM, { agent: false }, (res) => {
    res.resume().on('close', () => resolve(res.statusCode));
  }).on('error', ({ code }) => resolve(code)));
  process.on('message', async (calls) => {
    const seen = [];
    for (let i = 0; i < calls; i++) seen.push(await call());
    process.send(seen);
  });
`;

describe('metrics of a preloaded application', () => {
  afterEach(async () => {
    await stopApps();
    await stopServers();
  });

  /** Lets the application make calls, one after the other. */
  function makeCalls(app: App, calls: number): Promise<(number | string)[]> {
    return new Promise((resolve) => {
      app.child.once('message', (seen) => resolve(seen as (number | string)[]));
      app.child.send(calls);
    });
  }

  async function startUnderPreload(upstream: string, source = APP) {
    const app = startApp({
      nodeArgs: PRELOAD,
      env: { UPSTREAM: upstream },
      program: { kind: 'commonjs', source },
      ipc: true,
    });
    const [, address] = await app.prints('stderr', METRICS_ADDRESS);
    return { app, address: address! };
  }

  it('are the seven, with their labels, once an upstream has died', async () => {
    let healthy = true;
    const { origin, port } = await serve((_, res) => res.writeHead(healthy ? 200 : 503).end('body'));
    const { app, address } = await startUnderPreload(origin);
    expect(await makeCalls(app, 7)).to.deep.equal(Array(7).fill(200));
    healthy = false;
    expect(await makeCalls(app, 9)).to.deep.equal([
      ...Array<number>(5).fill(503),
      ...Array<string>(4).fill('ERR_CIRCUIT_OPEN'),
    ]);

    const page = await scrape(address);
    const names = Array.from(page.matchAll(/^# TYPE (circuit_breaker\S+)/gm), ([, name]) => name).sort();
    expect(names).to.deep.equal(NAMES);
    const labels = { name: origin, system: 'http', server_address: '127.0.0.1', server_port: String(port) };
    const value = (name: string, more?: Record<string, string>) =>
      sample(page, `circuit_breaker_${name}`, { ...labels, ...more });
    expect(value('state')).to.equal(1);
    expect(value('calls_total', { status: 'allowed' })).to.equal(12);
    expect(value('calls_total', { status: 'rejected' })).to.equal(4);
    expect(value('successful_calls_total')).to.equal(7);
    expect(value('failed_calls_total')).to.equal(5);
    expect(value('rejected_calls_total', { reason: 'open', enforced: 'true' })).to.equal(4);
    expect(value('state_transitions_total', { from_state: 'closed', to_state: 'open' })).to.equal(1);
    expect(value('call_duration_seconds_count')).to.equal(12);
    expect(value('call_duration_seconds_bucket', { le: '60' })).to.equal(12);
    expect(value('call_duration_seconds_bucket', { le: '0.001' })).to.be.a('number');
    expect(value('call_duration_seconds_sum')).to.be.greaterThan(0);
  });

  it('show the circuit open, half-open and closed as the upstream dies and comes back', async () => {
    let healthy = false;
    const { origin } = await serve((_, res) => res.writeHead(healthy ? 200 : 503).end());
    // The application of this test sets its own open time; the breaker is the one that its calls go through.
    const { app, address } = await startUnderPreload(
      origin,
      `require('otel-breaker').getCircuitBreaker(process.env.UPSTREAM, { preset: 'httpApi', openDuration: 1 }); ${APP}`,
    );
    const state = async () => sample(await scrape(address), 'circuit_breaker_state', { name: origin });
    expect(await state()).to.equal(0);
    await makeCalls(app, 5);
    expect(await state()).to.equal(1);
    healthy = true;
    let probe = await makeCalls(app, 1);
    while (probe[0] !== 200) probe = await makeCalls(app, 1);
    expect(await state()).to.equal(2);
    expect(await makeCalls(app, 1)).to.deep.equal([200]);
    const page = await scrape(address);
    const transitions = (from_state: string, to_state: string) =>
      sample(page, 'circuit_breaker_state_transitions_total', { name: origin, from_state, to_state });
    expect(sample(page, 'circuit_breaker_state', { name: origin })).to.equal(0);
    expect(transitions('closed', 'open')).to.equal(1);
    expect(transitions('open', 'half_open')).to.equal(1);
    expect(transitions('half_open', 'closed')).to.equal(1);
  });

  it('are not changed by being read, and do not count the reading', async () => {
    const { origin } = await serve((_, res) => res.end());
    const { app, address } = await startUnderPreload(origin);
    await makeCalls(app, 3);
    const first = await scrape(address);
    expect(await scrape(address)).to.equal(first);
    expect(first).not.to.contain(new URL(address).port);
  });

  it('are compressed and written as OpenMetrics for those who ask for it, with the same numbers', async () => {
    const { origin } = await serve((_, res) => res.writeHead(503).end());
    const { app, address } = await startUnderPreload(origin);
    await makeCalls(app, 6);
    const ask = async (headers: Record<string, string>) => {
      const request = get(address, { headers, agent: false });
      const [answer] = (await once(request, 'response')) as [IncomingMessage];
      return { headers: answer.headers, body: Buffer.concat((await answer.toArray()) as Buffer[]) };
    };
    const plain = await ask({});
    expect(plain.headers).to.include({ 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
    expect(plain.headers).not.to.have.property('content-encoding');
    const zipped = await ask({ 'accept-encoding': 'deflate, gzip;q=0.5' });
    expect(zipped.headers).to.include({ 'content-encoding': 'gzip', vary: 'accept, accept-encoding' });
    expect(zipped.body.length).to.be.lessThan(plain.body.length / 3);
    expect(gunzipSync(zipped.body).toString()).to.equal(plain.body.toString());
    expect((await ask({ 'accept-encoding': 'gzip;q=0' })).headers).not.to.have.property('content-encoding');

    const accept =
      'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;q=0.5';
    const open = await ask({ accept });
    expect(open.headers).to.include({ 'content-type': 'application/openmetrics-text; version=1.0.0; charset=utf-8' });
    const text = open.body.toString();
    expect(text)
      .to.match(/^# HELP target Target metadata\n# TYPE target info\ntarget_info\{/)
      .and.match(/\n# EOF\n$/);
    expect(text).to.contain('# TYPE circuit_breaker_failed_calls counter\ncircuit_breaker_failed_calls_total{');
    expect(text).to.contain('# UNIT circuit_breaker_call_duration_seconds seconds\n');
    const samples = (page: string) => page.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    expect(samples(text)).to.deep.equal(samples(plain.body.toString()));
    expect(
      (await ask({ accept: 'text/plain, application/openmetrics-text;version=1.0.0;q=0' })).headers['content-type'],
    ).to.match(/^text\/plain/);
  });

  it('are served on the loopback interface, read only, and at their path alone', async () => {
    const { origin } = await serve((_, res) => res.end());
    const { address } = await startUnderPreload(origin);
    expect(new URL(address).hostname).to.equal('127.0.0.1');
    expect((await fetch(new URL('/metric', address))).status).to.equal(404);
    expect((await fetch(address, { method: 'POST' })).status).to.equal(405);
    const head = await fetch(address, { method: 'HEAD' });
    expect([head.status, await head.text()]).to.deep.equal([200, '']);
  });
});
