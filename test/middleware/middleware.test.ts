import { expect } from 'chai';
import { Hono } from 'hono';
import { EventEmitter, once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import { ConfigError, type CircuitBreaker, type CircuitOpenError } from '../../src/index.js';
import {
  circuitBreakerMiddleware,
  forHttpApi,
  forLlmService,
  healthChecks,
  withDefaults,
  type CircuitBreakerMiddleware,
  type CircuitBreakerMiddlewareOptions,
} from '../../src/middleware/index.js';
import { closeAfterEach, listen } from '../support/listen.js';
import { newName } from '../support/names.js';
import { frameworks } from './frameworks.js';

/** The server settles a request when its answer has left, which may be after it has arrived. */
async function settled(breaker: CircuitBreaker): Promise<void> {
  while (breaker.stats().calls.inFlight > 0) await setImmediate();
}

function rejectionOf(breaker: CircuitBreaker): CircuitOpenError {
  try {
    breaker.acquire();
  } catch (error) {
    return error as CircuitOpenError;
  }
  throw new Error('Expected the circuit to be open');
}

for (const framework of frameworks) {
  describe(`circuitBreakerMiddleware in ${framework.name}`, () => {
    const close = closeAfterEach();
    let guard: CircuitBreakerMiddleware;
    let events: EventEmitter;
    let error: Error;
    let url: string;
    let routed: number;

    beforeEach(async () => {
      const options: CircuitBreakerMiddlewareOptions = {
        name: newName('route'),
        failureThreshold: 2,
        onError: () => {},
      };
      guard = circuitBreakerMiddleware(options);
      events = new EventEmitter();
      error = new Error('the route failed');
      routed = 0;
      events.on('route', () => routed++);
      url = close(await framework.start(guard, { events, error })).url;
    });

    async function get(path: string): Promise<Response> {
      const response = await fetch(url + path);
      // Read as bytes: the body must arrive, whatever it says.
      const body = await response.arrayBuffer();
      await settled(guard.breaker);
      return new Response(response.status === 204 ? null : body, response);
    }

    it('lets answers through as they are, and counts them', async () => {
      const answer = await get('/work?status=200');
      expect([answer.status, await answer.text()]).to.deep.equal([200, 'work']);
      expect(guard.breaker.stats().calls).to.include({ success: 1, failure: 0, ignored: 0, rejected: 0 });
    });

    it('takes no 4xx for a failure, and 408 and 429 for no verdict', async () => {
      for (const status of [400, 404, 408, 429]) expect((await get(`/work?status=${status}`)).status).to.equal(status);
      expect(guard.breaker.stats().calls).to.include({ success: 2, failure: 0, ignored: 2 });
    });

    it('opens on 5xx answers and then answers 503 with Retry-After and a code, without running the route', async () => {
      for (let call = 0; call < 2; call++) expect((await get('/work?status=503')).status).to.equal(503);
      expect(guard.breaker.state).to.equal('open');
      expect(rejectionOf(guard.breaker).cause).to.include({ name: 'HttpStatusError', status: 503 });
      const answer = await get('/work?status=200');
      expect(answer.status).to.equal(503);
      expect(answer.headers.get('retry-after')).to.equal('60');
      expect(answer.headers.get('content-type')).to.match(/^application\/json/);
      const body = (await answer.json()) as { error: { message: string } };
      const { message } = body.error;
      expect(message).to.be.a('string').that.is.not.empty;
      expect(body).to.deep.equal({ error: { code: 'CIRCUIT_BREAKER_OPEN', message, status: 503 } });
      expect(routed).to.equal(2);
    });

    it('opens on thrown errors, which are answered as the framework does', async () => {
      for (let call = 0; call < 2; call++) {
        expect((await get('/throw')).status).to.equal(framework.statusOfError);
      }
      expect(guard.breaker.state).to.equal('open');
      const { cause } = rejectionOf(guard.breaker);
      // Its name and message, never the object: it is another caller's.
      if (framework.showsErrors) expect(cause).to.include({ name: error.name, message: error.message });
      else expect(cause).to.include({ name: 'HttpStatusError', status: 500 });
    });

    it('gives no verdict on a request whose client went away', async () => {
      const controller = new AbortController();
      const arrived = once(events, 'arrived');
      const call = fetch(`${url}/hang`, { signal: controller.signal });
      await arrived;
      expect(guard.breaker.stats().calls.inFlight).to.equal(1);
      controller.abort();
      await call.catch(() => {});
      await settled(guard.breaker);
      expect(guard.breaker.stats().calls).to.include({ ignored: 1, success: 0, failure: 0 });
    });

    it('counts a streamed answer when it ends', async () => {
      const response = await fetch(`${url}/stream`);
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
      expect((await reader.read()).value).to.equal('part');
      expect(guard.breaker.stats().calls).to.include({ success: 0, inFlight: 1 });
      events.emit('finish');
      let rest = '';
      for (let part = await reader.read(); !part.done; part = await reader.read()) rest += part.value;
      expect(rest).to.equal('rest');
      await settled(guard.breaker);
      expect(guard.breaker.stats().calls).to.include({ success: 1 });
    });

    it('never refuses a health check, and does not count it', async () => {
      guard.breaker.forceOpen();
      expect((await get('/health')).status).to.equal(200);
      expect((await get('/work?status=200')).status).to.equal(503);
      expect(guard.breaker.stats().calls).to.include({ success: 0, rejected: 1 });
    });
  });
}

describe('circuitBreakerMiddleware', () => {
  const close = closeAfterEach();

  it('has short forms for the presets', () => {
    for (const [make, preset] of [
      [forHttpApi, 'httpApi'],
      [forLlmService, 'llmService'],
      [withDefaults, 'default'],
    ] as const) {
      const name = newName();
      expect(make(name).breaker).to.include({ name });
      expect(make(newName()).breaker.config.preset).to.equal(preset);
      expect(circuitBreakerMiddleware[make.name as 'withDefaults'], make.name).to.equal(make);
    }
  });

  it('refuses a bad option', () => {
    expect(() => circuitBreakerMiddleware({ name: newName(), failureThreshold: 0 })).to.throw(
      ConfigError,
      'failureThreshold',
    );
  });

  it('asks to come back after whole seconds, rounded up, and never at once', async () => {
    const clocked = circuitBreakerMiddleware({ name: newName(), failureThreshold: 1, openDuration: 1_500 });
    const { url } = close(await listen(clocked.handler((_request, response) => response.writeHead(500).end())));
    await fetch(url);
    await settled(clocked.breaker);
    expect((await fetch(url)).headers.get('retry-after')).to.equal('2');
  });

  it('lets requests in again once probes have succeeded', async () => {
    const guard = circuitBreakerMiddleware({ name: newName(), failureThreshold: 1, openDuration: 50 });
    let status = 500;
    const { url } = close(await listen(guard.handler((_request, response) => response.writeHead(status).end('route'))));
    const get = async () => {
      const answer = await fetch(url);
      const text = await answer.text();
      await settled(guard.breaker);
      return text;
    };
    await get();
    expect(await get()).to.include('CIRCUIT_BREAKER_OPEN');
    status = 200;
    while ((await get()) !== 'route');
    expect(guard.breaker.state).to.equal('half_open');
    expect(await get()).to.equal('route');
    expect(guard.breaker.state).to.equal('closed');
  });

  it('passes on what a plain server throws as next, and counts it', () => {
    const guard = circuitBreakerMiddleware({ name: newName() });
    const error = new Error('thrown at once');
    const request = { url: '/' } as IncomingMessage;
    const response = new EventEmitter() as ServerResponse;
    const run = () =>
      guard(request, response, () => {
        throw error;
      });
    expect(run).to.throw(error);
    expect(guard.breaker.stats().calls.failure).to.equal(1);
  });

  it('answers 502 on a plain server whose route fails, tells the error, and breaks off an answer half sent', async () => {
    const told: unknown[] = [];
    const guard = circuitBreakerMiddleware({ name: newName(), onError: (error) => told.push(error) });
    const error = new Error('a detail for nobody outside');
    const { url } = close(
      await listen(
        guard.handler(async (request, response) => {
          if (request.url === '/late') {
            response.write('half');
            await setImmediate();
          }
          throw error;
        }),
      ),
    );
    const answer = await fetch(url);
    expect(answer.status).to.equal(502);
    const body = (await answer.json()) as { error: { message: string } };
    const { message } = body.error;
    expect(body).to.deep.equal({ error: { code: 'CIRCUIT_BREAKER_ERROR', message, status: 502 } });
    expect(message).not.to.include(error.message);
    let broken: unknown;
    await fetch(`${url}/late`)
      .then((late) => late.text())
      .catch((caught: unknown) => (broken = caught));
    expect(broken).to.be.instanceOf(Error);
    expect(told).to.deep.equal([error, error]);
    expect(guard.breaker.stats().calls).to.include({ failure: 2, inFlight: 0 });
  });

  it('counts an answer whose source broke as a failure', async () => {
    const guard = circuitBreakerMiddleware({ name: newName() });
    const { url } = close(
      await listen(
        createServer((request, response) =>
          guard(request, response, () => {
            response.write('half');
            response.destroy(new Error('the source broke'));
          }),
        ),
      ),
    );
    await fetch(url)
      .then((answer) => answer.text())
      .catch(() => {});
    await settled(guard.breaker);
    expect(guard.breaker.stats().calls).to.include({ failure: 1, ignored: 0 });
  });

  it('gives no verdict on a request whose client went away before it came to the middleware', async () => {
    const guard = circuitBreakerMiddleware({ name: newName() });
    const controller = new AbortController();
    const routed = new EventEmitter();
    const { url } = close(
      await listen(
        createServer((request, response) => {
          response.once('close', () =>
            guard(request, response, () => {
              response.end();
              routed.emit('end');
            }),
          );
          controller.abort();
        }),
      ),
    );
    const ended = once(routed, 'end');
    await fetch(url, { signal: controller.signal }).catch(() => {});
    await ended;
    expect(guard.breaker.stats().calls).to.include({ ignored: 1, inFlight: 0 });
  });

  it('judges a Hono route by its answer where there is no Node beneath', async () => {
    const guard = circuitBreakerMiddleware({ name: newName(), failureThreshold: 2 });
    const app = new Hono();
    const error = new Error('the route failed');
    const gone = new AbortController();
    app.onError((_error, context) => context.text('failed', 500));
    app.use(guard.hono);
    app.get('/', (context) => context.text('ok'));
    app.get('/gone', (context) => {
      gone.abort();
      return context.text('to nobody');
    });
    app.get('/throw', () => {
      throw error;
    });
    expect((await app.request('/')).status).to.equal(200);
    await app.request(new Request('http://localhost/gone', { signal: gone.signal }));
    expect(guard.breaker.stats().calls).to.include({ success: 1, ignored: 1, inFlight: 0 });
    for (let call = 0; call < 2; call++) expect((await app.request('/throw')).status).to.equal(500);
    expect(rejectionOf(guard.breaker).cause).to.include({ name: error.name, message: error.message });
    const answer = await app.request('/');
    expect([answer.status, answer.headers.get('retry-after')]).to.deep.equal([503, '60']);
  });

  it('counts a request once that it guards twice', async () => {
    const guard = circuitBreakerMiddleware({ name: newName() });
    const { url } = close(
      await listen(guard.handler((request, response) => guard(request, response, () => response.end()))),
    );
    await fetch(url);
    await settled(guard.breaker);
    expect(guard.breaker.stats().calls.success).to.equal(1);
  });

  it('refuses nothing in mode observe', async () => {
    const guard = circuitBreakerMiddleware({ name: newName(), mode: 'observe' });
    const { url } = close(await listen(guard.handler((_request, response) => response.end('ok'))));
    guard.breaker.forceOpen();
    expect((await fetch(url)).status).to.equal(200);
  });

  it('does not heed what a route tells one caller by Retry-After', async () => {
    const guard = forLlmService(newName());
    const { url } = close(
      await listen(guard.handler((_request, response) => response.writeHead(429, { 'retry-after': '60' }).end())),
    );
    await fetch(url);
    await settled(guard.breaker);
    expect(guard.breaker.state).to.equal('closed');
  });

  it('knows health checks by their path, under a prefix too, and lets the list be replaced', async () => {
    const passes = (path: string) => healthChecks.some((pattern) => pattern.test(path));
    for (const path of [
      '/health',
      '/healthz',
      '/api/v1/health',
      '/health/live',
      '/livez',
      '/readyz',
      '/ready',
      '/metrics',
    ]) {
      expect(passes(path), path).to.be.true;
    }
    for (const path of ['/', '/healthy-recipes', '/sports/live', '/already', '/users/metrics']) {
      expect(passes(path), path).to.be.false;
    }
    for (const skip of [['/up', /^\/static\//g], (path: string) => path === '/up' || path.startsWith('/static/')]) {
      const guard = circuitBreakerMiddleware({ name: newName(), skip });
      const { url } = close(await listen(guard.handler((_request, response) => response.end())));
      guard.breaker.forceOpen();
      const status = async (path: string) => (await fetch(url + path)).status;
      expect([
        await status('/up?now'),
        await status('/static/a'),
        await status('/static/a'),
        await status('/health'),
      ]).to.deep.equal([200, 200, 200, 503]);
    }
  });
});
