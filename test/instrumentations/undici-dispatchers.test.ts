import { COPIES, globalFetch, newHandler, waysOf, type UndiciDispatcher } from '../support/undici-ways.js';
import { EventEmitter, once } from 'node:events';
import http, { type RequestListener } from 'node:http';
import { expect } from 'chai';
import { HttpBreakerInstrumentation } from '../../instrumentations/http/http-instrumentation.js';
import { UndiciBreakerInstrumentation } from '../../instrumentations/undici/undici-instrumentation.js';
import { CircuitBreaker } from '../../src/breaker/circuit-breaker.js';
import { isCircuitOpenError } from '../../src/breaker/errors.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { FakeClock } from '../support/clock.js';
import { counts, TestGuard } from '../support/guarded.js';
import { serveProxy } from '../support/proxy.js';
import { findDeadPort, serve, serveRaw, stopServers } from '../support/servers.js';

// The package has no types.
const { WebSocketServer } = require('ws') as {
  WebSocketServer: new (options: { server: unknown }) => { clients: Set<{ terminate(): void }>; close(): void };
};

const HANDLER_METHODS = [
  ...['onConnect', 'onUpgrade', 'onHeaders', 'onData', 'onComplete', 'onError', 'onBodySent', 'onRequestSent'],
  ...['onRequestStart', 'onRequestUpgrade', 'onResponseStart', 'onResponseData', 'onResponseEnd', 'onResponseError'],
  'onResponseStarted',
];

describe('UndiciBreakerInstrumentation', () => {
  let guard: TestGuard;
  let instrumentation: UndiciBreakerInstrumentation;

  beforeEach(() => guardWith({}));
  afterEach(async () => {
    instrumentation.disable();
    await stopServers();
  });

  function guardWith(options: BreakerOptions): void {
    instrumentation?.disable();
    guard = new TestGuard({ failureThreshold: 2_000, minimumCalls: 5_000, ...options });
    instrumentation = new UndiciBreakerInstrumentation({}, guard);
  }

  function errorOf(promise: Promise<unknown>): Promise<Error> {
    return promise.then(
      () => expect.fail('no error'),
      (error: Error) => error,
    );
  }

  /** Answers with these statuses, one after the other, and with the last one from then on. */
  function serveStatuses(...statuses: number[]) {
    return serve((_req, res) => {
      res.writeHead(statuses.length > 1 ? statuses.shift()! : statuses[0]!).end();
    });
  }

  for (const [copy, undici] of Object.entries(COPIES)) {
    const retryOptions = { maxRetries: 5, minTimeout: 1, maxTimeout: 1 };

    describe(copy, () => {
      it('counts each attempt of a RetryAgent', async () => {
        const { origin } = await serveStatuses(503, 503, 200);
        const dispatcher = new undici.RetryAgent(new undici.Agent(), retryOptions);
        expect(await waysOf(undici).request!(origin, dispatcher)).to.equal(200);
        expect(guard.calls(origin)).to.deep.equal(counts({ failure: 2, success: 1 }));
      });

      it('does not let a RetryAgent retry into an open circuit', async () => {
        guardWith({ failureThreshold: 2 });
        const { origin } = await serveStatuses(503);
        const dispatcher = new undici.RetryAgent(new undici.Agent(), retryOptions);
        expect(isCircuitOpenError(await errorOf(waysOf(undici).request!(origin, dispatcher)))).to.be.true;
        expect(guard.calls(origin)).to.deep.equal(counts({ failure: 2, rejected: 1 }));
      });

      it('counts a request once where somebody has wrapped the dispatch of clients', async () => {
        const { origin } = await serveStatuses(200);
        const client = undici.Client.prototype as unknown as UndiciDispatcher;
        const { dispatch } = client;
        client.dispatch = function (this: UndiciDispatcher, options: never, handler: Record<string, unknown>) {
          const forwarding: Record<string, unknown> = {};
          for (const name of HANDLER_METHODS) {
            const method = handler[name];
            if (typeof method === 'function') forwarding[name] = method.bind(handler);
          }
          return (dispatch as unknown as (...args: unknown[]) => boolean).call(this, options, forwarding);
        };
        try {
          const dispatcher = new undici.Pool(origin);
          for (let call = 0; call < 3; call++) await waysOf(undici).request!(origin, dispatcher);
        } finally {
          delete (client as { dispatch?: unknown }).dispatch;
        }
        expect(guard.calls(origin)).to.deep.equal(counts({ success: 3 }));
      });

      it('counts each attempt of a retry interceptor, above a pool and within it', async () => {
        const above = new undici.Agent().compose(undici.interceptors.retry(retryOptions));
        const withinAgent = new undici.Agent({
          factory: (origin) => new undici.Pool(origin).compose(undici.interceptors.retry(retryOptions)),
        });
        const withinPool = (url: string) =>
          new undici.Pool(url, {
            factory: (origin) => new undici.Client(origin).compose(undici.interceptors.retry(retryOptions)),
          });
        for (const make of [() => above, () => withinAgent, withinPool]) {
          const { origin } = await serveStatuses(500, 500, 200);
          expect(await waysOf(undici).request!(origin, make(origin))).to.equal(200);
          expect(guard.calls(origin)).to.deep.equal(counts({ failure: 2, success: 1 }));
        }
      });

      it('counts each step of a redirect, at its target', async () => {
        const last = await serveStatuses(200);
        const first = await serve((_req, res) => res.writeHead(302, { location: last.origin }).end());
        const redirecting = new undici.Agent().compose(undici.interceptors.redirect({ maxRedirections: 2 }));
        await waysOf(undici).request!(first.origin, redirecting);
        await waysOf(undici).fetch!(first.origin);
        await globalFetch(first.origin);
        expect(guard.calls(first.origin)).to.deep.equal(counts({ success: 3 }));
        expect(guard.calls(last.origin)).to.deep.equal(counts({ success: 3 }));
      });

      it('finds the server behind each call of a BalancedPool', async () => {
        const servers = [await serveStatuses(200), await serveStatuses(500)] as const;
        const pool = new undici.BalancedPool(servers.map(({ origin }) => origin));
        for (let call = 0; call < 4; call++) await waysOf(undici).request!('http://any.test/', pool);
        const calls = servers.map(({ origin }) => guard.calls(origin));
        expect(calls[0]!.success + calls[1]!.failure).to.equal(4);
        expect(calls[0]).to.deep.equal(counts({ success: calls[0]!.success }));
        expect(guard.breakers.get('http://any.test')).to.be.undefined;
      });

      it('guards what goes through a tunnel, and not the tunnel', async () => {
        const proxy = await serveProxy();
        const server = await serveStatuses(200);
        const dispatcher = new undici.ProxyAgent({ uri: proxy.origin });
        for (const way of [...Object.values(waysOf(undici)), globalFetch]) await way(server.origin, dispatcher);
        expect(guard.calls(server.origin)).to.deep.equal(counts({ success: 6 }));
        expect(guard.breakers.listNames()).to.deep.equal([server.origin]);
        await dispatcher.close();

        guard.breaker(server.origin).forceOpen();
        const tunnels = proxy.tunnels();
        const another = new undici.ProxyAgent({ uri: proxy.origin });
        expect(isCircuitOpenError(await errorOf(waysOf(undici).request!(server.origin, another)))).to.be.true;
        expect(proxy.tunnels()).to.equal(tunnels);
      });

      it('takes a target that a proxy cannot reach, and a proxy that is not there, as failures of the target', async () => {
        const proxy = await serveProxy();
        const origin = `http://127.0.0.1:${await findDeadPort()}`;
        for (const uri of [proxy.origin, `http://127.0.0.1:${await findDeadPort()}`]) {
          await errorOf(waysOf(undici).request!(origin, new undici.ProxyAgent({ uri })));
        }
        expect(guard.calls(origin)).to.deep.equal(counts({ failure: 2 }));
        expect(guard.breakers.listNames()).to.deep.equal([origin]);
      });

      it('names the target of a plain proxy, and that proxy', async () => {
        const proxy = await serveProxy();
        const server = await serveStatuses(200);
        const dispatcher = new undici.ProxyAgent({ uri: proxy.origin, proxyTunnel: false });
        expect(await waysOf(undici).request!(server.origin, dispatcher)).to.equal(200);
        const name = `${server.origin} via ${proxy.origin}`;
        expect(guard.calls(name)).to.deep.equal(counts({ success: 1 }));
        expect(guard.breakers.listNames()).to.deep.equal([name]);
        expect(proxy.tunnels()).to.equal(0);
      });

      it('names the target of an EnvHttpProxyAgent', async () => {
        const proxy = await serveProxy();
        const server = await serveStatuses(200);
        const dispatcher = new undici.EnvHttpProxyAgent({ httpProxy: proxy.origin });
        expect(await waysOf(undici).fetch!(server.origin, dispatcher)).to.equal(200);
        expect(guard.calls(server.origin)).to.deep.equal(counts({ success: 1 }));
        expect(guard.breakers.listNames()).to.deep.equal([server.origin]);
      });

      it('names the target by the name that the dns interceptor looks up', async () => {
        const { port } = await serveStatuses(200);
        const lookup = (_origin: unknown, _options: unknown, done: (error: null, addresses: unknown[]) => void) =>
          done(null, [{ address: '127.0.0.1', family: 4, ttl: 1_000 }]);
        const dispatcher = new undici.Agent().compose(undici.interceptors.dns({ lookup } as never));
        const origin = `http://shop.test:${port}`;
        expect(await waysOf(undici).request!(origin, dispatcher)).to.equal(200);
        expect(guard.calls(origin)).to.deep.equal(counts({ success: 1 }));
        expect(guard.breakers.listNames()).to.deep.equal([origin]);
      });

      it('leaves the answers of mocks alone, and counts what mocks let through', async () => {
        const server = await serveStatuses(200);
        const mock = new undici.MockAgent();
        mock.get(server.origin).intercept({ path: '/mocked' }).reply(500, 'mocked').persist();
        for (const way of [...Object.values(waysOf(undici)), globalFetch]) {
          expect(await way(`${server.origin}/mocked`, mock)).to.equal(500);
        }
        expect(guard.breakers.size).to.equal(0);
        expect(await waysOf(undici).request!(`${server.origin}/real`, mock)).to.equal(200);
        expect(guard.calls(server.origin)).to.deep.equal(counts({ success: 1 }));
      });

      it('takes a switch of protocols as a success, and judges a refused one by its status', async () => {
        const switching = await serveRaw((socket) =>
          socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: Websocket\r\n\r\n'),
        );
        (await undici.upgrade(switching.origin)).socket.destroy();
        expect(guard.calls(switching.origin)).to.deep.equal(counts({ success: 1 }));
        for (const [status, outcome] of [
          [403, 'success'],
          [503, 'failure'],
        ] as const) {
          const { origin } = await serveStatuses(status);
          await errorOf(undici.upgrade(origin));
          expect(guard.calls(origin)).to.deep.equal(counts({ [outcome]: 1 }));
        }
      });

      it('judges a tunnel of the caller by its status', async () => {
        const proxy = await serveProxy();
        const server = await serveStatuses(200);
        const client = new undici.Client(proxy.origin);
        (await client.connect({ path: new URL(server.origin).host })).socket.destroy();
        (await client.connect({ path: `127.0.0.1:${await findDeadPort()}` })).socket.destroy();
        expect(guard.calls(proxy.origin)).to.deep.equal(counts({ success: 1, failure: 1 }));
      });

      it('is not misled by a 1xx before the answer', async () => {
        const { origin } = await serveRaw((socket) =>
          socket.end(
            'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n',
          ),
        );
        await waysOf(undici).request!(origin);
        expect(guard.calls(origin)).to.deep.equal(counts({ failure: 1 }));
      });

      it('guards the global dispatcher, set before and after', async () => {
        const server = await serveStatuses(200);
        const previous = undici.getGlobalDispatcher();
        instrumentation.disable();
        undici.setGlobalDispatcher(new undici.Agent());
        instrumentation.enable();
        await globalFetch(server.origin);
        undici.setGlobalDispatcher(new undici.Pool(server.origin));
        await globalFetch(server.origin);
        await waysOf(undici).request!(server.origin);
        undici.setGlobalDispatcher(previous);
        expect(guard.calls(server.origin)).to.deep.equal(counts({ success: 3 }));
      });

      it('counts 1,000 calls at once exactly', async () => {
        const { origin } = await serve((req, res) => res.writeHead(req.url === '/bad' ? 500 : 200).end('answer'));
        const dispatchers = [
          new undici.Pool(origin, { connections: 20 }),
          new undici.Agent({ connections: 20 }),
          new undici.RetryAgent(new undici.Agent({ connections: 20 }), { maxRetries: 1, minTimeout: 1 }),
        ];
        for (const dispatcher of dispatchers) {
          guardWith({ failureRateThreshold: 1 });
          const retries = dispatcher instanceof undici.RetryAgent ? 1 : 0;
          const calls = Array.from({ length: 1_000 }, async (_, call) => {
            await globalFetch(`${origin}/${call % 4 === 0 ? 'bad' : 'good'}`, dispatcher).catch(() => undefined);
          });
          await Promise.all(calls);
          expect(guard.calls(origin)).to.deep.equal(counts({ success: 750, failure: 250 * (1 + retries) }));
          guard.breaker(origin).forceOpen();
          await Promise.all(Array.from({ length: 1_000 }, () => errorOf(globalFetch(origin, dispatcher))));
          expect(guard.calls(origin)).to.include({ rejected: 1_000, inFlight: 0 });
        }
      });

      it('shares its breakers with http', async () => {
        const ofHttp = new HttpBreakerInstrumentation({}, guard);
        try {
          const { origin } = await serveStatuses(200);
          await waysOf(undici).request!(origin);
          await globalFetch(origin);
          const req = http.get(origin, { agent: false }, (res) => void res.resume());
          await once(req, 'close');
          expect(guard.calls(origin)).to.deep.equal(counts({ success: 3 }));
          expect(guard.breakers.listNames()).to.deep.equal([origin]);
        } finally {
          ofHttp.disable();
        }
      });

      it('leaves everything as it was', async () => {
        const { origin } = await serveStatuses(200);
        instrumentation.disable();
        const bases = [
          baseOf(new undici.Agent()),
          baseOf(Reflect.get(globalThis, Symbol.for('undici.globalDispatcher.1')) as object),
        ];
        const before = [...bases, globalThis, EventEmitter].map(Object.getOwnPropertyDescriptors);
        const dispatcher = new undici.Agent();
        await waysOf(undici).request!(origin, dispatcher);
        const own = Reflect.ownKeys(dispatcher);
        instrumentation.enable();
        expect([...bases, globalThis, EventEmitter].map(Object.getOwnPropertyDescriptors)).to.not.deep.equal(before);
        await waysOf(undici).request!(origin, dispatcher);
        await globalFetch(origin);
        instrumentation.disable();
        expect([...bases, globalThis, EventEmitter].map(Object.getOwnPropertyDescriptors)).to.deep.equal(before);
        expect(Reflect.ownKeys(dispatcher)).to.deep.equal(own);
        await waysOf(undici).request!(origin, dispatcher);
        expect(guard.calls(origin)).to.deep.equal(counts({ success: 2 }));
      });

      it('guards a WebSocket', async () => {
        const server = await serve(() => {});
        const sockets = new WebSocketServer({ server: server.server });
        const socket = new undici.WebSocket(server.origin.replace('http', 'ws'));
        await new Promise<void>((resolve) => socket.addEventListener('open', () => resolve()));
        expect(guard.calls(server.origin)).to.deep.equal(counts({ success: 1 }));
        guard.breaker(server.origin).forceOpen();
        const refused = new undici.WebSocket(server.origin.replace('http', 'ws'));
        await new Promise<void>((resolve) => refused.addEventListener('error', () => resolve()));
        expect(guard.calls(server.origin)).to.include({ rejected: 1 });
        expect(server.connections()).to.equal(1);
        for (const client of sockets.clients) client.terminate();
        sockets.close();
      });

      it('guards an EventSource, for as long as it lasts', async () => {
        const { origin, server } = await serve((_req, res) => {
          res.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: hello\n\n');
        });
        const asked = once(server, 'request') as Promise<Parameters<RequestListener>>;
        const source = new undici.EventSource(origin);
        await new Promise<void>((resolve) => source.addEventListener('message', () => resolve()));
        expect(guard.calls(origin)).to.deep.equal(counts({ inFlight: 1 }));
        const [, res] = await asked;
        source.close();
        await once(res, 'close');
        expect(guard.calls(origin)).to.deep.equal(counts({ success: 1 }));
        guard.breaker(origin).forceOpen();
        const refused = new undici.EventSource(origin);
        await new Promise<void>((resolve) => refused.addEventListener('error', () => resolve()));
        refused.close();
        expect(guard.calls(origin)).to.include({ rejected: 1 });
      });
    });
  }

  it('guards handlers of the new generation', async () => {
    const undici = COPIES['undici 7']!;
    const { origin } = await serve((req, res) => {
      if (req.url === '/cut') res.writeHead(200, { 'content-length': 5 }).write('a', () => res.destroy());
      else res.writeHead(req.url === '/bad' ? 500 : 200).end();
    });
    const dispatch = (dispatcher: UndiciDispatcher, path: string) =>
      new Promise<number>((resolve, reject) => {
        dispatcher.dispatch({ origin, path, method: 'GET' }, newHandler(resolve, reject));
      });
    for (const dispatcher of [new undici.Client(origin), new undici.Pool(origin), new undici.Agent()]) {
      guardWith({});
      expect(await dispatch(dispatcher, '/')).to.equal(200);
      expect(await dispatch(dispatcher, '/bad')).to.equal(500);
      await errorOf(dispatch(dispatcher, '/cut'));
      expect(guard.calls(origin)).to.deep.equal(counts({ success: 1, failure: 2 }));
    }
  });

  it('takes an abort after good headers, through a controller of the new generation, for a success', async () => {
    const undici = COPIES['undici 7']!;
    const { origin } = await serve((_req, res) => void res.write('first'));
    const handler = {
      ...newHandler(
        () => {},
        () => {},
      ),
      onResponseStart: (controller: { abort(reason: Error): void }) =>
        controller.abort(Object.assign(new Error('enough'), { code: 'ECONNRESET' })),
    };
    await new Promise<void>((resolve) => {
      new undici.Pool(origin).dispatch(
        { path: '/', method: 'GET' },
        {
          ...handler,
          onResponseError: () => resolve(),
        },
      );
    });
    expect(guard.calls(origin)).to.deep.equal(counts({ success: 1 }));
  });

  it('an answer that nobody reads does not keep a circuit half-open', async () => {
    const { origin } = await serve((_req, res) => void res.writeHead(200).write(Buffer.alloc(1_000_000)));
    const clock = new FakeClock();
    const breaker = new CircuitBreaker(
      origin,
      { halfOpenMaxCalls: 1, successThreshold: 1, openDuration: '10s', halfOpenTimeout: '20s' },
      clock,
    );
    guard.breakers.register(breaker);
    while (breaker.state === 'closed') breaker.acquire().failure();
    clock.advance(10_000);

    const unread = await fetch(origin);
    expect(unread.status).to.equal(200);
    // Good headers give its slot back.
    const read = await fetch(origin);
    await read.body!.cancel();
    expect(breaker.stats().calls).to.include({ rejected: 0, success: 1, inFlight: 1 });
    expect(breaker.state).to.equal('closed');
    await unread.body!.cancel();
    expect(breaker.stats().calls).to.include({ success: 2, inFlight: 0 });
  });

  describe('honorRetryAfter', () => {
    const inTwoMinutes = () => new Date(Date.now() + 120_000).toUTCString();
    for (const [header, least, most] of [
      [{ 'retry-after': () => '40' }, 39_000, 40_000],
      [{ 'retry-after': inTwoMinutes }, 100_000, 120_000],
      [{ 'retry-after-ms': () => '1500', 'retry-after': () => '40' }, 500, 1_500],
      [{ 'retry-after': () => '9000' }, 299_000, 300_000],
    ] as const) {
      for (const status of [429, 503]) {
        it(`holds the circuit open after ${status} with ${JSON.stringify(Object.keys(header))} for ${most} ms`, async () => {
          const { origin } = await serve((_req, res) => {
            for (const [name, value] of Object.entries(header)) res.setHeader(name, value());
            res.writeHead(status).end();
          });
          for (const call of [
            ...Object.values(waysOf(COPIES['undici 7']!)),
            waysOf(COPIES['undici 6']!).request!,
            globalFetch,
          ]) {
            guardWith({ honorRetryAfter: true });
            expect(await call(origin)).to.equal(status);
            const { state, openUntil, calls } = guard.breaker(origin).stats();
            expect(state).to.equal('open');
            expect(openUntil!.getTime() - Date.now()).to.be.within(least, most);
            expect(calls).to.deep.equal(counts({ failure: 1 }));
          }
        });
      }
    }

    it('does the same for http', async () => {
      guardWith({ preset: 'llmService' });
      const ofHttp = new HttpBreakerInstrumentation({}, guard);
      try {
        const { origin } = await serve((_req, res) => res.writeHead(429, { 'retry-after': '40' }).end());
        const [res] = (await once(http.get(origin), 'response')) as [http.IncomingMessage];
        await once(res.resume(), 'close');
        const { state, openUntil } = guard.breaker(origin).stats();
        expect(state).to.equal('open');
        expect(openUntil!.getTime() - Date.now()).to.be.within(39_000, 40_000);
      } finally {
        ofHttp.disable();
      }
    });

    it('makes nothing of a Retry-After that asks for no wait, or where it is off', async () => {
      const { origin } = await serve((req, res) =>
        res.writeHead(429, { 'retry-after': req.url === '/soon' ? '0' : '40' }).end(),
      );
      guardWith({ honorRetryAfter: true });
      await globalFetch(`${origin}/soon`);
      expect(guard.calls(origin)).to.deep.equal(counts({ ignored: 1 }));
      guardWith({});
      await globalFetch(origin);
      expect(guard.calls(origin)).to.deep.equal(counts({ ignored: 1 }));
    });
  });
});

function baseOf(dispatcher: object): object {
  let base = dispatcher;
  while (!Object.hasOwn(base, 'dispatch') || !Object.hasOwn(base, 'destroyed'))
    base = Object.getPrototypeOf(base) as object;
  return base;
}
