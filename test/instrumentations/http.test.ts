import { expect } from 'chai';
import http from 'node:http';
import https from 'node:https';
import net, { type Socket } from 'node:net';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { context } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { suppressTracing } from '@opentelemetry/core';
import { Agent as LegacyAgent } from 'agent-base6';
import { HttpsProxyAgent } from 'https-proxy-agent';
import createLegacyProxyAgent from 'https-proxy-agent5';
import { closeOf, countsOf, finish, get, guardHttp, nextTurn, outcomesOf, type GuardedHttp } from '../support/http.js';
import { CERTIFICATE, findDeadPort, serve, serveRaw, serveTls, start, stopServers } from '../support/servers.js';

// As an application has them that took them before we came.
const captured = { request: http.request, get: http.get, ClientRequest: http.ClientRequest };

describe('http instrumentation', () => {
  let guarded: GuardedHttp;
  before(() => (guarded = guardHttp()));
  after(() => guarded.instrumentation.disable());
  afterEach(async () => {
    guarded.registry.clear();
    await stopServers();
  });

  /** What each breaker has counted once all calls are over: `{ 'http://127.0.0.1:4711': '1 success' }`. */
  async function outcomes(): Promise<Record<string, string>> {
    const counted: Record<string, string> = {};
    for (const breaker of guarded.registry) counted[breaker.name] = await outcomesOf(breaker);
    return counted;
  }

  describe('counts every form of request once:', () => {
    type Make = (port: number) => http.ClientRequest;
    const forms: Record<string, Make> = {
      'http.request(string)': (port) => http.request(`http://127.0.0.1:${port}/`),
      'http.request(string, callback)': (port) => http.request(`http://127.0.0.1:${port}/`, () => {}),
      'http.request(URL)': (port) => http.request(new URL(`http://127.0.0.1:${port}/`)),
      'http.request(URL, options)': (port) => http.request(new URL(`http://127.0.0.1:${port}/`), { method: 'PUT' }),
      'http.request(URL, options, callback)': (port) =>
        http.request(new URL(`http://127.0.0.1:${port}/`), { path: '/a' }, () => {}),
      'http.request(string, options), options winning': (port) =>
        http.request('http://127.0.0.1:1/', { port: String(port) }),
      'http.request(options)': (port) => http.request({ host: '127.0.0.1', port }),
      'http.request(options, callback)': (port) => http.request({ hostname: '127.0.0.1', port }, () => {}),
      'hostname winning over host': (port) => http.request({ host: 'other.invalid', hostname: '127.0.0.1', port }),
      'a default port': (port) => http.request({ host: '127.0.0.1', defaultPort: port }),
      'http.get': (port) => http.get({ host: '127.0.0.1', port }),
      'a captured request': (port) => captured.request({ host: '127.0.0.1', port }),
      'a captured get': (port) => captured.get({ host: '127.0.0.1', port }),
      'new ClientRequest': (port) => new http.ClientRequest({ host: '127.0.0.1', port }),
      'a captured ClientRequest': (port) => new captured.ClientRequest(`http://127.0.0.1:${port}`),
      'agent: false': (port) => http.request({ host: '127.0.0.1', port, agent: false }),
      'an Agent': (port) => http.request({ host: '127.0.0.1', port, agent: new http.Agent() }),
      'an Agent that calls its parent class': (port) => {
        class Agent extends http.Agent {
          addRequest(...args: unknown[]): void {
            const { addRequest } = http.Agent.prototype as unknown as { addRequest: (...args: unknown[]) => void };
            addRequest.apply(this, args);
          }
        }
        return http.request({ host: '127.0.0.1', port, agent: new Agent() });
      },
      'a createConnection that returns its socket': (port) =>
        http.request({ host: '127.0.0.1', port, createConnection: () => net.connect(port, '127.0.0.1') }),
      'a createConnection that calls back': (port) =>
        http.request({
          host: '127.0.0.1',
          port,
          createConnection: (_options, done) => {
            const socket = net.connect(port, '127.0.0.1', () => done(null, socket));
            return undefined;
          },
        }),
    };
    for (const [form, make] of Object.entries(forms)) {
      it(form, async () => {
        const { port, origin } = await serve((_, res) => res.end('ok'));
        expect((await finish(make(port))).status).to.equal(200);
        expect(await outcomes()).to.deep.equal({ [origin]: '1 success' });
      });
    }

    it('https.request and https.get', async () => {
      const { origin } = await serveTls((_, res) => res.end('ok'));
      for (const make of [https.request, https.get]) {
        expect((await finish(make(origin, { ca: CERTIFICATE.cert, agent: false }))).body).to.equal('ok');
      }
      expect(await outcomes()).to.deep.equal({ [origin]: '2 success' });
    });

    it('a unix socket', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'otel-breaker-'));
      const { origin, server } = await start(
        http.createServer((_, res) => res.end('ok')),
        'unix',
        join(folder, 'x.sock'),
      );
      expect((await get({ socketPath: server.address() as string })).body).to.equal('ok');
      expect(await outcomes()).to.deep.equal({ [origin]: '1 success' });
      rmSync(folder, { recursive: true, force: true });
    });
  });

  describe('names the target as the caller means it:', () => {
    it('in lower case, whatever the case of the host', async () => {
      const { port } = await serve((_, res) => res.end());
      await get(`http://LOCALHOST:${port}/`);
      expect(guarded.registry.listNames()).to.deep.equal([`http://localhost:${port}`]);
    });

    it('the origin in the path of a request to a plain proxy, and that proxy', async () => {
      const { port, origin } = await serve((req, res) => res.end(req.url));
      expect((await get({ port, path: 'http://api.invalid/x' })).body).to.equal('http://api.invalid/x');
      await get({ port, path: 'http://[::1]:8080/x' });
      await get({ port, path: 'https://api.invalid:8443/x' });
      expect(guarded.registry.listNames()).to.deep.equal([
        `http://api.invalid via ${origin}`,
        `http://[::1]:8080 via ${origin}`,
        `https://api.invalid:8443 via ${origin}`,
      ]);
    });

    /** A proxy that opens tunnels, and counts them. */
    async function serveProxy() {
      const proxy = await serve((_, res) => res.end());
      let tunnels = 0;
      proxy.server.on('connect', (req: http.IncomingMessage, socket: Socket) => {
        tunnels++;
        const [host, port] = req.url!.split(':');
        const upstream = net.connect(Number(port), host, () => {
          socket.write('HTTP/1.1 200 OK\r\n\r\n');
          socket.pipe(upstream).pipe(socket);
        });
        upstream.on('error', () => socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n'));
        socket.on('error', () => upstream.destroy());
      });
      return { ...proxy, tunnels: () => tunnels };
    }

    it('the origin behind a proxy agent', async () => {
      const proxy = await serveProxy();
      const { origin } = await serveTls((_, res) => res.end('ok'));
      const agent = new HttpsProxyAgent(proxy.origin);
      expect((await finish(https.request(origin, { agent, ca: CERTIFICATE.cert }))).body).to.equal('ok');
      expect(await outcomes()).to.deep.equal({ [origin]: '1 success' });
    });

    it('the origin behind a proxy agent that does not inherit from http.Agent, from its first request on', async () => {
      const proxy = await serveProxy();
      const { port } = await serveTls((_, res) => res.end('ok'));
      const origin = `https://localhost:${port}`;
      const agent = createLegacyProxyAgent(proxy.origin);
      expect(agent).not.to.be.instanceOf(http.Agent);
      const options = { agent: agent as unknown as http.Agent, ca: CERTIFICATE.cert };
      for (let call = 0; call < 3; call++) expect((await finish(https.request(origin, options))).body).to.equal('ok');
      expect(await outcomes()).to.deep.equal({ [origin]: '3 success' });

      guarded.breakerOf(origin).forceOpen();
      const { error } = await finish(https.request(origin, options));
      expect(error?.code).to.equal('ERR_CIRCUIT_OPEN');
      expect(proxy.tunnels()).to.equal(3);
    });

    it('a createConnection that cannot connect', async () => {
      const fail = Object.assign(new Error('no way'), { code: 'ECONNREFUSED' });
      const req = http.get({
        host: 'api.invalid',
        createConnection: (_options, done) => {
          setImmediate(() => done(fail, undefined as never));
          return undefined;
        },
      });
      // Node says nothing more after this error: no `close` follows.
      const [error] = (await once(req, 'error')) as [Error];
      expect(error).to.equal(fail);
      expect(await outcomes()).to.deep.equal({ 'http://api.invalid': '1 failure' });
    });

    it('the target of an agent that is none of Node’s, when it cannot connect', async () => {
      class FailingAgent extends LegacyAgent {
        override async callback(): Promise<Socket> {
          throw Object.assign(new Error('no way'), { code: 'ECONNREFUSED' });
        }
      }
      const agent = new FailingAgent() as unknown as http.Agent;
      const breaker = guarded.breakerOf('http://api.invalid', { failureThreshold: 2 });
      for (const code of ['ECONNREFUSED', 'ECONNREFUSED', 'ERR_CIRCUIT_OPEN']) {
        const req = http.get({ host: 'api.invalid', agent });
        const [error] = (await once(req, 'error')) as [NodeJS.ErrnoException];
        expect(error.code).to.equal(code);
      }
      expect(countsOf(breaker)).to.equal('2 failure, 1 rejected');
    });

    it('nothing for a CONNECT, whatever it leads to', async () => {
      const proxy = await serveProxy();
      const { port, origin } = await serve((_, res) => res.end('ok'));
      const tunnel = http.request({ port: proxy.port, method: 'CONNECT', path: `127.0.0.1:${port}` }).end();
      const [res, socket] = (await once(tunnel, 'connect')) as [http.IncomingMessage, Socket];
      expect(res.statusCode).to.equal(200);
      expect(guarded.registry.size).to.equal(0);
      const ending = await finish(http.request({ host: '127.0.0.1', port, createConnection: () => socket }));
      expect(ending.body).to.equal('ok');
      expect(await outcomes()).to.deep.equal({ [origin]: '1 success' });
    });
  });

  it('counts each call of a kept connection', async () => {
    const { port, origin, connections } = await serve((_, res) => res.end('ok'));
    const agent = new http.Agent({ keepAlive: true });
    for (let call = 0; call < 5; call++) expect((await get({ port, agent })).body).to.equal('ok');
    expect(await outcomes()).to.deep.equal({ [origin]: '5 success' });
    expect(connections()).to.equal(1);
    agent.destroy();
  });

  it('counts requests that wait for a socket of their agent as in flight, and settles them when the circuit opens meanwhile', async () => {
    const { port, origin } = await serve((_, res) => res.writeHead(500).end());
    const breaker = guarded.breakerOf(origin, { failureThreshold: 2 });
    const agent = new http.Agent({ maxSockets: 1 });
    const calls = Array.from({ length: 6 }, () => get({ port, agent }));
    expect(countsOf(breaker)).to.equal('6 inFlight');
    for (const { status } of await Promise.all(calls)) expect(status).to.equal(500);
    expect(await outcomesOf(breaker)).to.equal('6 failure');
    expect(breaker.state).to.equal('open');
    expect(breaker.stats().transitionCount).to.equal(1);
  });

  it('guards redirects as two calls to two targets', async () => {
    const second = await serve((_, res) => res.end('there'));
    const first = await serve((_, res) => res.writeHead(302, { location: second.origin }).end());
    const { http: following } = require('follow-redirects') as { http: typeof http };
    const [res] = (await once(following.get(first.origin, { agent: false }), 'response')) as [http.IncomingMessage];
    expect(await text(res)).to.equal('there');
    expect(await outcomes()).to.deep.equal({ [first.origin]: '1 success', [second.origin]: '1 success' });
  });

  it('lets calls under suppressed tracing pass uncounted, even through an open circuit', async () => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    const { port, origin } = await serve((_, res) => res.end('ok'));
    const breaker = guarded.openBreakerOf(origin);
    const { body } = await context.with(suppressTracing(context.active()), () => get(port));
    expect(body).to.equal('ok');
    expect(countsOf(breaker)).to.equal('');
  });

  it('lets a request through whose target cannot be told', async () => {
    const { port } = await serve((_, res) => res.end('ok'));
    const agent = new http.Agent() as http.Agent & { addRequest(...args: unknown[]): void };
    // As callers of old do it: host and port in place of the options.
    const addRequest = agent.addRequest.bind(agent);
    agent.addRequest = (req) => addRequest(req, '127.0.0.1', port);
    expect((await get({ port, agent })).body).to.equal('ok');
    expect(await outcomes()).to.deep.equal({ [`http://127.0.0.1:${port}`]: '1 success' });

    agent.addRequest = (req) => addRequest(req, { port });
    expect((await finish(http.request({ port, family: 4, agent }))).body).to.equal('ok');
    expect(await outcomes()).to.deep.equal({ [`http://127.0.0.1:${port}`]: '1 success' });
  });

  it('opens no more than failureThreshold sockets for 1,000 failing requests in a row, until the first probe', async () => {
    const { port, origin, connections } = await serveRaw((socket) => socket.destroy());
    const breaker = guarded.breakerOf(origin, { failureThreshold: 5, openDuration: '1h' });
    const codes: Record<string, number> = {};
    for (let call = 0; call < 1_000; call++) {
      const { error } = await get(port);
      codes[error!.code!] = (codes[error!.code!] ?? 0) + 1;
    }
    expect(connections()).to.equal(5);
    expect(codes).to.deep.equal({ ECONNRESET: 5, ERR_CIRCUIT_OPEN: 995 });
    expect(countsOf(breaker)).to.equal('5 failure, 995 rejected');
  });

  it('finds a target that is back by a probe, and closes', async () => {
    let healthy = false;
    const { port, origin } = await serve((_, res) => res.writeHead(healthy ? 200 : 503).end());
    const breaker = guarded.breakerOf(origin, { failureThreshold: 2, successThreshold: 2, openDuration: 1 });
    await get(port);
    await get(port);
    expect(breaker.state).to.equal('open');
    healthy = true;
    while ((await get(port)).error) await nextTurn();
    expect(breaker.state).to.equal('half_open');
    await get(port);
    expect(breaker.state).to.equal('closed');
  });

  it('gives the slot of a probe back whose answer nobody reads', async () => {
    const { port, origin } = await serve((_, res) => res.write('never read to its end'));
    const dead = await findDeadPort();
    const breaker = guarded.breakerOf(origin, {
      failureThreshold: 1,
      successThreshold: 1,
      openDuration: 1,
      halfOpenMaxCalls: 1,
    });
    breaker.acquire().failure(new Error(`as from port ${dead}`));
    const unread: http.ClientRequest[] = [];
    /** One request: its status, or the code of its error. */
    const attempt = () =>
      new Promise<number | string>((resolve) => {
        const req = http.get({ host: '127.0.0.1', port, agent: false });
        req.once('response', (res) => resolve((unread.push(req), res.statusCode!)));
        req.once('error', (error: NodeJS.ErrnoException) => resolve(error.code!));
      });
    while ((await attempt()) !== 200) await nextTurn();
    // Its body is still unread: its good headers were enough.
    expect(await attempt()).to.equal(200);
    for (const req of unread) {
      req.on('error', () => {});
      const closed = closeOf(req);
      req.destroy();
      await closed;
    }
    expect(await outcomesOf(breaker)).to.match(/^2 success, 1 failure(, \d+ rejected)?$/);
  });
});
