import { COPIES, globalFetch, newHandler, waysOf } from '../support/undici-ways.js';
import { once } from 'node:events';
import http from 'node:http';
import { PassThrough, Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { expect } from 'chai';
import { HttpBreakerInstrumentation } from '../../instrumentations/http/http-instrumentation.js';
import { UndiciBreakerInstrumentation } from '../../instrumentations/undici/undici-instrumentation.js';
import { isCircuitOpenError } from '../../src/breaker/errors.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { counts, TestGuard } from '../support/guarded.js';
import { serve, stopServers, type Upstream } from '../support/servers.js';

describe('UndiciBreakerInstrumentation: rejections', () => {
  let guard: TestGuard;
  let instrumentation: UndiciBreakerInstrumentation;
  let server: Upstream;

  beforeEach(async () => {
    server = await serve((_req, res) => res.end('hello'));
  });
  afterEach(async () => {
    instrumentation.disable();
    await stopServers();
  });

  /** Attaches, with the circuit of the server open. */
  async function open(options: BreakerOptions = {}): Promise<void> {
    guard = new TestGuard(options);
    instrumentation = new UndiciBreakerInstrumentation({}, guard);
    await globalFetch(server.origin);
    guard.breaker(server.origin).forceOpen();
  }

  async function rejectionOf(promise: Promise<unknown>): Promise<Error> {
    return promise.then(
      () => expect.fail('not rejected'),
      (error: Error) => error,
    );
  }

  for (const [copy, undici] of Object.entries(COPIES)) {
    describe(copy, () => {
      beforeEach(() => open());

      it('fetch rejects with a TypeError whose cause is the rejection', async () => {
        for (const fetch of [undici.fetch, globalThis.fetch]) {
          const error = await rejectionOf(fetch(server.origin));
          expect(error).to.be.an.instanceOf(TypeError).with.property('message', 'fetch failed');
          expect(error.cause).to.include({ name: 'CircuitOpenError', code: 'ERR_CIRCUIT_OPEN' });
        }
      });

      for (const kind of ['request', 'stream', 'pipeline', 'dispatch']) {
        it(`${kind} ends with the rejection itself`, async () => {
          const error = await rejectionOf(waysOf(undici)[kind]!(server.origin));
          expect(error).to.include({ name: 'CircuitOpenError', code: 'ERR_CIRCUIT_OPEN', breaker: server.origin });
        });
      }

      it('callbacks get the rejection, later and once', async () => {
        const client = new undici.Client(server.origin);
        const calls: unknown[] = [];
        const done = new Promise<void>((resolve) => {
          client.request({ path: '/', method: 'GET' }, (error) => {
            calls.push(error);
            resolve();
          });
        });
        expect(calls).to.be.empty;
        await done;
        await client.close();
        expect(calls).to.have.lengthOf(1);
        expect(isCircuitOpenError(calls[0])).to.be.true;
      });

      it('a dispatch says that there is no need to wait', async () => {
        const pool = new undici.Pool(server.origin);
        const rejected = new Promise<Error>((resolve) => {
          const handler = {
            onConnect() {},
            onHeaders: () => true,
            onData: () => true,
            onComplete() {},
            onError: resolve,
          };
          expect(pool.dispatch({ path: '/', method: 'GET' }, handler)).to.be.true;
        });
        expect(isCircuitOpenError(await rejected)).to.be.true;
      });

      it('looks nothing up and connects to nothing', async () => {
        const lookups: string[] = [];
        const lookup = (host: string, _options: unknown, done: (error: Error) => void) => {
          lookups.push(host);
          done(new Error('not here'));
        };
        const dispatcher = new undici.Agent({ connect: { lookup } as never });
        guard.breakers.getOrCreate('http://shop.test').forceOpen();
        for (const way of [...Object.values(waysOf(undici)), globalFetch]) {
          await rejectionOf(way('http://shop.test/', dispatcher));
        }
        expect(lookups).to.be.empty;
        expect(guard.calls('http://shop.test')).to.deep.equal(counts({ rejected: 6 }));
      });

      it('destroys what was to be sent', async () => {
        const bodyOf = () => new Readable({ read() {} });
        const bodies = [bodyOf(), bodyOf(), bodyOf()] as const;
        const options = { method: 'POST' } as const;
        await rejectionOf(undici.request(server.origin, { ...options, body: bodies[0] }));
        await rejectionOf(undici.stream(server.origin, { ...options, body: bodies[1] }, () => new PassThrough()));
        const pipeline = undici.pipeline(server.origin, options, ({ body }) => body);
        bodies[2].pipe(pipeline);
        await rejectionOf(text(pipeline));
        expect(pipeline.destroyed).to.be.true;
        expect(bodies[0].destroyed).to.be.true;
        expect(bodies[1].destroyed).to.be.true;
      });

      it('survives a body that fails at the same moment', async () => {
        const body = new Readable({ read() {} });
        const rejected = rejectionOf(undici.request(server.origin, { method: 'POST', body }));
        body.destroy(new Error('disk gone'));
        expect(isCircuitOpenError(await rejected)).to.be.true;
      });

      it('upgrade and connect get the rejection', async () => {
        for (const switching of [undici.upgrade(server.origin), undici.connect(server.origin)]) {
          expect(isCircuitOpenError(await rejectionOf(switching))).to.be.true;
        }
        expect(guard.calls(server.origin)).to.include({ rejected: 2 });
      });

      it('leaves arguments that undici does not take, and closed clients, to undici', async () => {
        const client = new undici.Client(server.origin);
        await client.close();
        expect(await rejectionOf(client.request({ path: '/', method: 'GET' }))).to.have.property(
          'code',
          'UND_ERR_DESTROYED',
        );
        expect(() => new undici.Pool(server.origin).dispatch({ path: '/', method: 'GET' }, null as never)).to.throw(
          'handler must be an object',
        );
        expect(guard.calls(server.origin)).to.include({ rejected: 0 });
      });
    });
  }

  it('undici 7: handlers of the new generation get the rejection', async () => {
    await open();
    const error = await new Promise((resolve, reject) => {
      const pool = new COPIES['undici 7']!.Pool(server.origin);
      pool.dispatch({ path: '/', method: 'GET' }, newHandler(reject, resolve));
    });
    expect(isCircuitOpenError(error)).to.be.true;
  });

  describe('whenOpen: respond', () => {
    beforeEach(() => open({ whenOpen: 'respond', openDuration: '90s' }));

    for (const [copy, undici] of Object.entries(COPIES)) {
      for (const [kind, way] of Object.entries({ ...waysOf(undici), globalFetch })) {
        it(`${copy}: ${kind} gets a 503`, async () => {
          const connections = server.connections();
          expect(await way(server.origin)).to.equal(503);
          expect(await way(server.origin, new undici.RetryAgent(new undici.Agent(), { statusCodes: [] }))).to.equal(
            503,
          );
          expect(guard.calls(server.origin)).to.deep.equal(counts({ success: 1, rejected: 2 }));
          expect(server.connections()).to.equal(connections);
        });
      }

      it(`${copy}: the answer says that it is none of the target and when to come back`, async () => {
        for (const fetch of [undici.fetch, globalThis.fetch]) {
          const response = await fetch(server.origin);
          expect(Object.fromEntries(response.headers)).to.include({
            'retry-after': '90',
            'x-should-retry': 'false',
            'x-otel-breaker': 'open',
            'content-type': 'application/json',
          });
          expect(response.statusText).to.equal('Service Unavailable');
          expect(await response.json()).to.have.nested.property('error.code', 'ERR_CIRCUIT_OPEN');
        }
        expect((await undici.request(server.origin, { method: 'HEAD' })).statusCode).to.equal(503);
      });

      it(`${copy}: upgrade and connect still get the rejection`, async () => {
        expect(isCircuitOpenError(await rejectionOf(undici.upgrade(server.origin)))).to.be.true;
        expect(isCircuitOpenError(await rejectionOf(undici.connect(server.origin)))).to.be.true;
      });

      it(`${copy}: a caller can give up the answer`, async () => {
        const abort = new AbortController();
        abort.abort();
        expect((await rejectionOf(undici.request(server.origin, { signal: abort.signal }))).name).to.equal(
          'AbortError',
        );
        const { body } = await undici.request(server.origin);
        body.on('error', () => {}).destroy();
        await new Promise((resolve) => body.once('close', resolve));
      });

      it(`${copy}: a handler can take its time`, async () => {
        const seen: string[] = [];
        await new Promise<void>((resolve, reject) => {
          new undici.Client(server.origin).dispatch(
            { path: '/', method: 'GET' },
            {
              onConnect: () => void seen.push('connect'),
              onHeaders: (status, _headers, resume) => {
                seen.push(`headers ${status}`);
                setImmediate(() => {
                  seen.push('resume');
                  resume();
                });
                return false;
              },
              onData: () => {
                seen.push('data');
                return true;
              },
              onComplete: () => {
                seen.push('complete');
                resolve();
              },
              onError: reject,
            },
          );
        });
        expect(seen).to.deep.equal(['connect', 'headers 503', 'resume', 'data', 'complete']);
      });

      it(`${copy}: what was to be sent is let go, and what feeds it`, async () => {
        const dumping = new undici.Agent().compose(undici.interceptors.dump());
        for (const dispatcher of [undici.getGlobalDispatcher(), dumping]) {
          const body = new PassThrough();
          const fed = pipeline(Readable.from([Buffer.alloc(1_000_000)]), body).catch((error: Error) => error);
          const answer = await undici.request(server.origin, { method: 'POST', body, dispatcher });
          expect(answer.statusCode).to.equal(503);
          await fed;
          expect(body.destroyed).to.be.true;
        }
        const through = undici.pipeline(server.origin, { method: 'POST' }, ({ body: answered }) => answered);
        await pipeline(Readable.from([Buffer.alloc(1_000_000)]), through, new PassThrough().resume());
      });

      for (const throwOnError of [true, false]) {
        it(`${copy}: what a retry sends once more stays as it is, with throwOnError: ${throwOnError}`, async () => {
          const options = {
            throwOnError,
            retry: (_error: Error, _context: unknown, again: () => void) => {
              guard.breaker(server.origin).reset();
              setImmediate(again);
            },
          };
          const dispatcher = new undici.RetryAgent(new undici.Agent(), options);
          const body = Readable.from(['hello', 'world']);
          const answer = await undici.request(server.origin, { method: 'PUT', body, dispatcher });
          expect(await answer.body.text()).to.equal('hello');
          expect(answer.statusCode).to.equal(200);
        });
      }

      it(`${copy}: a request that is passed on can still be answered`, async () => {
        const front = await serve((req, res) => {
          void undici
            .request(server.origin, { method: 'POST', body: req })
            .then(({ statusCode }) => res.writeHead(statusCode).end());
        });
        const request = http.request(front.origin, { method: 'POST' }).on('error', () => {});
        request.write('first');
        const [answer] = (await once(request, 'response')) as [http.IncomingMessage];
        expect(answer.statusCode).to.equal(503);
        request.destroy();
      });

      it(`${copy}: a caller that throws hears of its own error`, async () => {
        const fault = new Error('no such answer');
        const streamed = undici.stream(server.origin, { method: 'GET' }, () => {
          throw fault;
        });
        expect(await rejectionOf(streamed)).to.equal(fault);
        const strict = new undici.Agent().compose(undici.interceptors.dump({ maxSize: 1 }));
        expect((await rejectionOf(undici.request(server.origin, { dispatcher: strict }))).name).to.equal('AbortError');
      });

      for (const method of ['onConnect', 'onHeaders', 'onData', 'onComplete'] as const) {
        it(`${copy}: a handler that throws in ${method} hears of its own error, once`, async () => {
          const fault = new Error('no such answer');
          const errors: unknown[] = [];
          new undici.Client(server.origin).dispatch(
            { path: '/', method: 'GET' },
            {
              onConnect: () => {},
              onHeaders: () => true,
              onData: () => true,
              onComplete: () => {},
              onError: (error) => void errors.push(error),
              [method]: () => {
                throw fault;
              },
            },
          );
          await new Promise((resolve) => setTimeout(resolve, 20));
          expect(errors).to.deep.equal([fault]);
        });
      }
    }

    it('is what the preset llmService does, and others do not', async () => {
      instrumentation.disable();
      await open({ preset: 'llmService' });
      expect(await globalFetch(server.origin)).to.equal(503);
      instrumentation.disable();
      await open({ preset: 'llmService', whenOpen: 'throw' });
      expect(await rejectionOf(globalFetch(server.origin))).to.be.an.instanceOf(TypeError);
    });
  });

  describe('whenOpen: respond for http', () => {
    let ofHttp: HttpBreakerInstrumentation;

    beforeEach(async () => {
      await open({ whenOpen: 'respond', openDuration: '90s' });
      ofHttp = new HttpBreakerInstrumentation({}, guard);
    });
    afterEach(() => ofHttp.disable());

    async function answerTo(req: http.ClientRequest): Promise<[http.IncomingMessage, string]> {
      const [res] = (await once(req, 'response')) as [http.IncomingMessage];
      const body = await text(res);
      if (!req.closed) await once(req, 'close');
      return [res, body];
    }

    it("answers through Node's own parser", async () => {
      const connections = server.connections();
      const [res, body] = await answerTo(http.get(server.origin));
      expect(res.statusCode).to.equal(503);
      expect(res.statusMessage).to.equal('Service Unavailable');
      expect(res.headers).to.include({ 'retry-after': '90', 'x-should-retry': 'false', 'x-otel-breaker': 'open' });
      expect(res.complete).to.be.true;
      expect(JSON.parse(body)).to.have.nested.property('error.code', 'ERR_CIRCUIT_OPEN');
      expect(server.connections()).to.equal(connections);
      expect(guard.calls(server.origin)).to.deep.equal(counts({ success: 1, rejected: 1 }));
    });

    it('answers a HEAD without a body', async () => {
      const [res, body] = await answerTo(http.request(server.origin, { method: 'HEAD' }).end());
      expect(res.statusCode).to.equal(503);
      expect(body).to.equal('');
    });

    it('answers while a body is being sent, and takes it all', async () => {
      const req = http.request(server.origin, { method: 'POST' });
      const answered = answerTo(req);
      Readable.from([Buffer.alloc(100_000), Buffer.alloc(100_000)]).pipe(req);
      expect((await answered)[0].statusCode).to.equal(503);
    });

    it('answers with all that a caller may ask of its socket', async () => {
      const req = http.get(server.origin, { timeout: 1_000 });
      req.setTimeout(2_000);
      req.setNoDelay();
      req.setSocketKeepAlive();
      expect((await answerTo(req))[0].statusCode).to.equal(503);
    });

    it('answers where the caller made the connection', async () => {
      const socket = new PassThrough();
      const [res] = await answerTo(http.get(server.origin, { createConnection: () => socket }));
      expect(res.statusCode).to.equal(503);
      expect(socket.destroyed).to.be.true;
    });

    it('answers nobody who has given up', async () => {
      const req = http.get(server.origin);
      req.destroy();
      const [error] = (await once(req, 'error')) as [NodeJS.ErrnoException];
      expect(error.code).to.equal('ECONNRESET');
    });
  });
});
