import { expect } from 'chai';
import http from 'node:http';
import https from 'node:https';
import type net from 'node:net';
import { once } from 'node:events';
import { PassThrough, Readable, finished, pipeline } from 'node:stream';
import { promisify } from 'node:util';
import { isCircuitOpenError } from '../../src/breaker/errors.js';
import { closeOf, countsOf, eventsOf, finish, get, guardHttp, nextTurn, outcomesOf } from '../support/http.js';
import type { GuardedHttp } from '../support/http.js';
import { findDeadPort, serve, stopServers, type Upstream } from '../support/servers.js';

const REJECTED = ['error ERR_CIRCUIT_OPEN', 'close'];

describe('http rejections', () => {
  let guarded: GuardedHttp;
  let upstream: Upstream;
  before(() => (guarded = guardHttp()));
  after(() => guarded.instrumentation.disable());
  beforeEach(async () => {
    upstream = await serve((_, res) => res.end('ok'));
    guarded.openBreakerOf(upstream.origin);
  });
  afterEach(async () => {
    expect(upstream.connections(), 'connections').to.equal(0);
    guarded.registry.clear();
    await stopServers();
  });

  function request(options: http.RequestOptions = {}): http.ClientRequest {
    return http.request({ host: '127.0.0.1', port: upstream.port, ...options });
  }

  it('come asynchronously, as an error and then a close', async () => {
    const req = request();
    const events = eventsOf(req);
    req.end();
    let turns = 0;
    req.once('error', (error) => {
      expect(turns).to.equal(1);
      expect(error).to.include({ code: 'ERR_CIRCUIT_OPEN', breaker: upstream.origin, state: 'open' });
    });
    turns++;
    expect(await events).to.deep.equal(REJECTED);
    expect(countsOf(guarded.breakerOf(upstream.origin))).to.equal('1 rejected');
  });

  it('leave the request as one that could not connect', async () => {
    const [rejected, refused] = [request(), http.request({ host: '127.0.0.1', port: await findDeadPort() })];
    const states = await Promise.all(
      [rejected, refused].map(async (req) => {
        req.on('error', () => {});
        req.end();
        await closeOf(req);
        const { destroyed, closed, aborted, res, writableEnded, reusedSocket } = req as typeof req & { res: unknown };
        return { destroyed, closed, aborted, res, writableEnded, reusedSocket };
      }),
    );
    expect(states[0]).to.deep.equal(states[1]);
  });

  it('ask no agent for a socket and no resolver for an address', async () => {
    const never = () => expect.fail('was asked');
    const agent = new http.Agent({ keepAlive: true });
    Object.assign(agent, { createSocket: never, createConnection: never });
    expect(await eventsOf(request({ agent, lookup: never }).end())).to.deep.equal(REJECTED);
    expect(Object.keys(agent.sockets)).to.be.empty;
    expect(Object.keys(agent.requests)).to.be.empty;
    guarded.openBreakerOf('https://api.invalid');
    expect(await eventsOf(https.get('https://api.invalid/', { lookup: never }))).to.deep.equal(REJECTED);
  });

  it('destroy the socket of a createConnection unused', async () => {
    const socket = new PassThrough();
    const createConnection = () => socket as unknown as net.Socket;
    const events = await eventsOf(request({ createConnection }).end());
    expect(events).to.deep.equal(REJECTED);
    expect(socket.destroyed).to.equal(true);
    expect(socket.read()).to.equal(null);
  });

  it('never call the callback of an answer', async () => {
    const req = http.get(upstream.origin, () => expect.fail('there is no answer'));
    expect(await eventsOf(req)).to.deep.equal(REJECTED);
  });

  it('reject once(req, "response")', async () => {
    const error = await once(request().end(), 'response').catch((reason: unknown) => reason);
    expect(isCircuitOpenError(error)).to.equal(true);
  });

  it('reach stream.finished', async () => {
    const error = await promisify(finished)(request().end()).catch((reason: unknown) => reason);
    expect(isCircuitOpenError(error)).to.equal(true);
  });

  it('take what was written before them', async () => {
    const req = request({ method: 'POST' });
    req.write('early');
    req.write(Buffer.alloc(1_000_000));
    req.end('end');
    expect(await eventsOf(req)).to.deep.equal(REJECTED);
  });

  it('fail what is written after them, as any destroyed request does', async () => {
    const req = request({ method: 'POST' });
    expect(await eventsOf(req)).to.deep.equal(REJECTED);
    const error = await new Promise((resolve) => req.write('late', resolve));
    expect(error).to.include({ code: 'ERR_STREAM_DESTROYED' });
  });

  it('stop a pipe into the request', async () => {
    const source = new PassThrough();
    const req = request({ method: 'POST' });
    source.pipe(req);
    source.write('some');
    expect(await eventsOf(req)).to.deep.equal(REJECTED);
    expect(source.listenerCount('data')).to.equal(0);
  });

  it('end a pipeline into the request, and its source with it', async () => {
    const source = new Readable({ read: () => source.push(Buffer.alloc(100_000)) });
    const error = await promisify(pipeline)(source, request({ method: 'POST' })).catch((reason: unknown) => reason);
    expect(isCircuitOpenError(error)).to.equal(true);
    expect(source.destroyed).to.equal(true);
  });

  it('are not followed by a timeout', async () => {
    const req = request({ timeout: 1 }).setTimeout(1, () => expect.fail('timed out'));
    expect(await eventsOf(req.end())).to.deep.equal(REJECTED);
    await new Promise((resolve) => setTimeout(resolve, 20));
  });

  it('give way to an abort signal that was aborted before', async () => {
    const events = await eventsOf(request({ signal: AbortSignal.abort() }));
    expect(events).to.deep.equal(['error ABORT_ERR', 'close']);
  });

  it('give way to an abort signal in the same tick', async () => {
    const controller = new AbortController();
    const req = request({ signal: controller.signal }).end();
    controller.abort();
    expect(await eventsOf(req)).to.deep.equal(['error ABORT_ERR', 'close']);
  });

  it('do not mind an abort signal after them', async () => {
    const controller = new AbortController();
    const req = request({ signal: controller.signal }).end();
    expect(await eventsOf(req)).to.deep.equal(REJECTED);
    req.on('error', () => expect.fail('a second error'));
    controller.abort();
    await nextTurn();
  });

  it('give way to a destroy in the same tick, with the error that Node has for it', async () => {
    const plain = request().end();
    plain.destroy();
    expect(await eventsOf(plain)).to.deep.equal(['error ECONNRESET', 'close']);
    const own = request().end();
    own.destroy(new Error('changed my mind'));
    expect(await eventsOf(own)).to.deep.equal(['error changed my mind', 'close']);
    const aborted = request().end();
    aborted.abort();
    expect(await eventsOf(aborted)).to.deep.equal(['abort', 'close']);
  });

  it('do not mind a destroy in the error listener', async () => {
    const req = request().end();
    req.once('error', (error) => req.destroy(error));
    expect(await eventsOf(req)).to.deep.equal(REJECTED);
  });

  it('do not depend on timers that a test has faked', async () => {
    const real = globalThis.setImmediate;
    globalThis.setImmediate = (() => expect.fail('faked')) as never;
    const events = eventsOf(request().end());
    globalThis.setImmediate = real;
    expect(await events).to.deep.equal(REJECTED);
  });

  it('are many at once', async () => {
    const endings = await Promise.all(Array.from({ length: 500 }, () => get({ port: upstream.port })));
    expect(endings.every(({ error }) => isCircuitOpenError(error))).to.equal(true);
    expect(countsOf(guarded.breakerOf(upstream.origin))).to.equal('500 rejected');
  });

  it('are given while all probes of a half-open circuit are under way', async () => {
    const silent = await serve(() => {});
    const breaker = guarded.breakerOf(silent.origin, { failureThreshold: 1, openDuration: 1, halfOpenMaxCalls: 2 });
    breaker.acquire().failure();
    const probes: http.ClientRequest[] = [];
    while (probes.length < 2) {
      const req = http.get({ host: '127.0.0.1', port: silent.port, agent: false });
      const outcome = await Promise.race([once(req, 'finish'), once(req, 'error')]).then(
        ([error]: unknown[]) => error,
        (error: unknown) => error,
      );
      if (outcome === undefined) probes.push(req.on('error', () => {}));
    }
    const { error } = await get({ port: silent.port });
    expect(error).to.include({ code: 'ERR_CIRCUIT_OPEN', state: 'half_open', retryAfterMs: 0 });
    const closed = probes.map(closeOf);
    for (const probe of probes) probe.destroy();
    await Promise.all(closed);
    expect(await outcomesOf(breaker)).to.match(/^1 failure, 2 ignored, \d+ rejected$/);
  });

  it('do not happen in mode observe', async () => {
    const { origin } = await serve((_, res) => res.end('ok'));
    const breaker = guarded.breakerOf(origin, { mode: 'observe' });
    breaker.forceOpen();
    expect((await get(origin)).body).to.equal('ok');
    expect(await outcomesOf(breaker)).to.equal('1 success');
    expect(breaker.tally.unenforcedOpen).to.equal(1);
  });

  it('do not happen in mode off, and nothing is counted', async () => {
    const { origin } = await serve((_, res) => res.end('ok'));
    const breaker = guarded.breakerOf(origin, { mode: 'off' });
    breaker.forceOpen();
    expect((await get(origin)).body).to.equal('ok');
    expect(countsOf(breaker)).to.equal('');
  });

  it('are one step: the request of a rejected call can be followed by another that goes through', async () => {
    const { origin, connections } = await serve((_, res) => res.end('ok'));
    guarded.openBreakerOf(origin);
    expect((await finish(http.request(origin))).error?.code).to.equal('ERR_CIRCUIT_OPEN');
    guarded.breakerOf(origin).reset();
    expect((await get(origin)).body).to.equal('ok');
    expect(connections()).to.equal(1);
  });
});
