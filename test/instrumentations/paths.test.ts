import { expect } from 'chai';
import { once } from 'node:events';
import http = require('node:http');
import http2 = require('node:http2');
import { text } from 'node:stream/consumers';
import { GrpcBreakerInstrumentation } from '../../instrumentations/grpc/grpc-instrumentation.js';
import { Http2BreakerInstrumentation } from '../../instrumentations/http2/http2-instrumentation.js';
import { HttpBreakerInstrumentation } from '../../instrumentations/http/http-instrumentation.js';
import { UndiciBreakerInstrumentation } from '../../instrumentations/undici/undici-instrumentation.js';
import { CircuitBreakerRegistry } from '../../src/breaker/registry.js';
import { Guard } from '../../src/guard/guard.js';
import { checkedSection } from '../../src/rules/live-rules.js';
import type { RulesConfig } from '../../src/rules/rule.js';
import { RuleSet } from '../../src/rules/rule-set.js';
import { echo } from '../support/grpc.js';
import { serve, start, stopServers, type Upstream } from '../support/servers.js';
import { COPIES } from '../support/undici-ways.js';

const [undici] = Object.values(COPIES) as [(typeof COPIES)[string]];

interface Answered {
  readonly status: number;
  readonly body: string;
  readonly header: (name: string) => string | undefined;
}

/** One request, by each client there is. */
const CLIENTS: Readonly<Record<string, (url: string, method: string) => Promise<Answered>>> = {
  async http(url, method) {
    const request = http.request(url, { method });
    request.end();
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    const header = (name: string) => response.headers[name] as string | undefined;
    return { status: response.statusCode!, body: await text(response), header };
  },
  async undici(url, method) {
    const { statusCode, headers, body } = await undici.request(url, { method: method as 'GET' });
    return { status: statusCode, body: await body.text(), header: (name) => headers[name] as string | undefined };
  },
  async fetch(url, method) {
    const response = await fetch(url, { method });
    const header = (name: string) => response.headers.get(name) ?? undefined;
    return { status: response.status, body: await response.text(), header };
  },
  async http2(url, method) {
    const { origin, pathname, search } = new URL(url);
    const session = http2.connect(origin);
    try {
      const stream = session.request({ ':path': `${pathname}${search}`, ':method': method });
      const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
      const header = (name: string) => headers[name] as string | undefined;
      return { status: Number(headers[':status']), body: await text(stream), header };
    } finally {
      session.destroy();
    }
  },
};

describe('Rules for some calls of a host', () => {
  let server: Upstream;
  let registry: CircuitBreakerRegistry;
  let instrumentations: readonly { disable(): void }[] = [];

  beforeEach(async () => {
    server = await serve((req, res) => {
      res.statusCode = req.url!.startsWith('/dead') ? 500 : 200;
      res.end(req.url);
    });
  });

  afterEach(async () => {
    for (const instrumentation of instrumentations) instrumentation.disable();
    await stopServers();
  });

  function under(config: RulesConfig): Guard {
    registry = new CircuitBreakerRegistry();
    const guard = new Guard(registry, new RuleSet([checkedSection('rules', config)]));
    instrumentations = [
      HttpBreakerInstrumentation,
      Http2BreakerInstrumentation,
      UndiciBreakerInstrumentation,
      GrpcBreakerInstrumentation,
    ].map((Class) => new Class({}, guard));
    return guard;
  }

  const calls = () => Object.fromEntries(Array.from(registry, ({ name, state }) => [name, state]));
  const HOST = '127.0.0.1';

  const serveHttp2 = () =>
    start(
      http2.createServer((req, res) => {
        res.statusCode = req.url.startsWith('/dead') ? 500 : 200;
        res.end(req.url);
      }),
      'http',
    );

  for (const [client, request] of Object.entries(CLIENTS)) {
    describe(client, () => {
      beforeEach(async () => {
        if (client === 'http2') server = await serveHttp2();
      });

      const outcome = (path: string, method = 'GET') =>
        request(`${server.origin}${path}`, method).then(
          ({ status }) => status,
          (error: Error & { code?: string }) => error.code ?? (error.cause as { code?: string }).code,
        );

      it('keeps calling all other paths of a host where one is dead', async () => {
        under({ rules: [{ match: { host: HOST, path: '/dead/**' }, name: 'dead' }] });
        for (let call = 0; call < 6; call++) {
          await outcome(`/dead/${call}?page=1`);
          expect(await outcome(`/alive/${call}`)).to.equal(200);
        }
        expect(await outcome('/x/../dead')).to.equal('ERR_CIRCUIT_OPEN');
        expect(await outcome('/alive')).to.equal(200);
        expect(calls()).to.deep.equal({ dead: 'open', [server.origin]: 'closed' });
      });

      it('tells methods apart', async () => {
        under({
          rules: [{ match: { host: HOST, path: '/dead', method: 'POST' }, name: 'posts', failureThreshold: 1 }],
        });
        await outcome('/dead', 'POST');
        expect(await outcome('/dead', 'POST')).to.equal('ERR_CIRCUIT_OPEN');
        expect(await outcome('/dead')).to.equal(500);
        expect(calls()).to.deep.equal({ posts: 'open', [server.origin]: 'closed' });
      });

      it('judges the calls of a rule without a name by its options, on the circuit of the host', async () => {
        const quiet = { match: { host: HOST, path: '/dead/known' }, failureStatuses: [599] };
        const off = { match: { host: HOST, path: '/dead/off' }, mode: 'off' as const };
        const all = { match: { host: HOST }, failureThreshold: 2 };
        under({ rules: [quiet, off, all] });
        for (let call = 0; call < 4; call++) {
          expect(await outcome('/dead/known')).to.equal(500);
          expect(await outcome('/dead/off')).to.equal(500);
        }
        expect(registry.get(server.origin)!.stats().calls).to.include({ success: 4, failure: 0 });
        for (let call = 0; call < 2; call++) await outcome('/dead');
        expect(await outcome('/dead/known')).to.equal('ERR_CIRCUIT_OPEN');
        expect(await outcome('/dead/off')).to.equal(500);
      });

      it('answers as respondWith has it', async () => {
        const respondWith = { headers: { 'X-Fallback': 'yes' }, body: [] };
        under({
          rules: [
            { match: { host: HOST, path: '/dead' }, respondWith },
            { match: { host: HOST }, failureThreshold: 1, openDuration: '30s', initialOpenDuration: '30s' },
          ],
        });
        await outcome('/dead');
        const answer = await request(`${server.origin}/dead`, 'GET');
        expect(answer).to.include({ status: 200, body: '[]' });
        const named = [
          'content-type',
          'x-fallback',
          'content-length',
          'x-otel-breaker',
          'retry-after',
          'x-should-retry',
        ];
        expect(named.map(answer.header)).to.deep.equal(['application/json', 'yes', '2', 'open', undefined, undefined]);
        expect(await outcome('/alive')).to.equal('ERR_CIRCUIT_OPEN');
      });

      for (const [method, respondWith, expected] of [
        ['GET', { status: 429, body: 'later' }, ['later', '5', 'text/plain; charset=utf-8', 'false']],
        ['HEAD', { body: { a: 1 } }, ['', '7', 'application/json', undefined]],
        ['GET', { status: 204, body: 'ignored' }, ['', undefined, undefined, undefined]],
        ['GET', { status: 304 }, ['', undefined, undefined, undefined]],
        ['GET', { body: 'x'.repeat(65_536) }, ['x'.repeat(65_536), '65536', 'text/plain; charset=utf-8', undefined]],
        ['GET', {}, ['', '0', undefined, undefined]],
        [
          'GET',
          { status: 599, headers: { 'retry-after': 7, 'Content-Type': 'a/b' }, body: null },
          ['null', '4', 'a/b', 'false'],
        ],
      ] as const) {
        it(`answers ${method} with ${JSON.stringify(respondWith).slice(0, 60)} and no more`, async () => {
          const guard = under({ defaults: { respondWith } });
          await outcome('/');
          guard.breakerOf({ system: 'http', scheme: 'http', host: HOST, port: server.port }).forceOpen();
          const { status, body, header } = await request(`${server.origin}/`, method);
          expect(status).to.equal((respondWith as { status?: number }).status ?? 200);
          expect([body, ...['content-length', 'content-type', 'x-should-retry'].map(header)]).to.deep.equal(expected);
        });
      }
    });
  }

  it('tell methods of gRPC apart', async () => {
    const service = await echo.serve();
    const client = echo.connect(`127.0.0.1:${service.port}`);
    try {
      under({
        rules: [
          { match: { system: 'grpc', host: HOST, path: '/*/Ask' }, name: 'ask', failureThreshold: 1 },
          { match: { system: 'grpc', host: HOST, path: '/*/Pull' }, whenOpen: 'respond' },
        ],
      });
      expect(await echo.ask(client)).to.equal('ok');
      registry.get('ask')!.forceOpen();
      expect(await echo.ask(client).catch(({ code }: { code: number }) => code)).to.equal(14);
      expect(await echo.pull(client)).to.equal('first+second');
      const whole = registry.get(`grpc://${HOST}:${service.port}`)!;
      whole.forceOpen();
      expect(await echo.pull(client).catch(({ code }: { code: number }) => code)).to.equal(9);
      expect(registry.get('ask')!.stats().calls).to.include({ success: 1, rejected: 1 });
    } finally {
      client.close();
      service.stop();
    }
  });

  it('tell isFailure which call it was', async () => {
    const seen: unknown[] = [];
    under({ defaults: { isFailure: (_cause, call) => (seen.push(call), true) } });
    await (await fetch(`${server.origin}/dead/%7Ex?token=secret`, { method: 'post' })).text();
    const target = { system: 'http', host: HOST, port: server.port, database: undefined };
    expect(seen).to.deep.equal([{ name: server.origin, ...target, method: 'POST', path: '/dead/~x' }]);
  });

  it('follow the paths that strangers send, however odd', async () => {
    under({ rules: [{ match: { host: HOST, path: '/dead/**' }, name: 'dead' }] });
    const agent = new http.Agent({ keepAlive: true });
    const odd = [
      '//dead',
      '/DEAD',
      '/dead%2Fx',
      '/x/%2e%2e/dead',
      '/d%65ad/',
      '?dead',
      '*',
      `/dead/${'a/'.repeat(7_000)}`,
    ];
    for (const path of odd) {
      const request = http.request({
        host: HOST,
        port: server.port,
        path,
        agent,
        method: path === '*' ? 'OPTIONS' : 'GET',
      });
      request.end();
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      await text(response);
    }
    agent.destroy();
    const seen = (name: string) => registry.get(name)!.tally;
    expect(seen('dead').success + seen('dead').failure).to.equal(3);
    expect(seen(server.origin).success + seen(server.origin).failure).to.equal(5);
  });

  it('make no further breakers, and none for a host without calls of its own', async () => {
    under({ rules: [{ match: { path: '/**' }, name: 'everything' }] });
    await (await fetch(`${server.origin}/a`)).text();
    expect(calls()).to.deep.equal({ everything: 'closed' });
  });
});
