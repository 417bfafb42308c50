import { COPIES, type Undici, type UndiciDispatcher } from '../support/undici-ways.js';
import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { PassThrough, Writable, type Duplex } from 'node:stream';
import { expect } from 'chai';
import { UndiciBreakerInstrumentation } from '../../instrumentations/undici/undici-instrumentation.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { counts, TestGuard } from '../support/guarded.js';
import { CERTIFICATE, findDeadPort, serve, serveRaw, serveTls, stopServers } from '../support/servers.js';

interface Options {
  readonly signal?: AbortSignal;
  readonly dispatcher?: UndiciDispatcher;
  readonly method?: string;
  readonly body?: NodeJS.ReadableStream;
}

/** A client makes a request, and rejects with whatever error ends it, before the answer or within its body. */
type Client = (url: string, options?: Options) => Promise<void>;

function clientsOf(undici: Undici): Readonly<Record<string, Client>> {
  return {
    fetch: async (url, options) => {
      const response = await undici.fetch(url, { ...options, duplex: 'half' } as never);
      await response.text();
    },
    request: async (url, options) => {
      const { body } = await undici.request(url, options as never);
      await body.text();
    },
    stream: async (url, options) => {
      await undici.stream(
        url,
        { method: 'GET', ...options } as never,
        () => new Writable({ write: (_c, _e, done) => done() }),
      );
    },
  };
}

const globalFetch: Client = async (url, options) => {
  const response = await fetch(url, { ...options, duplex: 'half' } as never);
  await response.text();
};

describe('UndiciBreakerInstrumentation: outcomes', () => {
  let guard: TestGuard;
  let instrumentation: UndiciBreakerInstrumentation;

  beforeEach(() => guardWith({}));
  afterEach(async () => {
    instrumentation.disable();
    await stopServers();
  });

  function guardWith(options: BreakerOptions): void {
    instrumentation?.disable();
    guard = new TestGuard({ failureThreshold: 100, minimumCalls: 100, ...options });
    instrumentation = new UndiciBreakerInstrumentation({}, guard);
  }

  async function errorOf(promise: Promise<unknown>): Promise<NodeJS.ErrnoException> {
    return promise.then(
      () => expect.fail('no error'),
      (error: Error) =>
        error.message === 'fetch failed' || error.message === 'terminated' ? (error.cause as Error) : error,
    );
  }

  /** undici takes a connection back in a later turn of the loop. */
  async function connectionFree(): Promise<void> {
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
  }

  describe('a caller that leaves before its connection is there', () => {
    /** A server that takes connections and is silent: a TLS handshake with it never ends. */
    const serveSilence = () => serveRaw(() => {});

    const clients: Record<string, Client> = { 'the global fetch': globalFetch };
    for (const [copy, undici] of Object.entries(COPIES)) {
      for (const [name, client] of Object.entries(clientsOf(undici))) clients[`${name} of ${copy}`] = client;
    }
    for (const [name, client] of Object.entries(clients)) {
      it(`counts at once, with ${name}`, async () => {
        const { port } = await serveSilence();
        const url = `https://127.0.0.1:${port}`;
        // undici itself tells some of its callers only when it has given up making the connection.
        void client(url, { signal: AbortSignal.timeout(20) }).catch(() => {});
        while (guard.only.stats().calls.inFlight > 0) await new Promise((resolve) => setTimeout(resolve, 5));
        expect(guard.calls(url)).to.deep.equal(counts({ failure: 1 }));
      });
    }

    for (const [copy, undici] of Object.entries(COPIES)) {
      const leaving: Record<string, Client> = {
        ...clientsOf(undici),
        pipeline: async (url, options) => {
          const answer = undici.pipeline(url, { method: 'GET', ...options } as never, ({ body }) => body);
          for await (const _ of answer.end());
        },
        upgrade: async (url, options) => {
          await undici.upgrade(url, { protocol: 'echo', ...options });
        },
        connect: async (url, options) => {
          await undici.connect(url, options);
        },
      };
      for (const [name, client] of Object.entries(leaving)) {
        it(`hears why it left, and its request is never sent, with ${name} of ${copy}`, async () => {
          const reached: string[] = [];
          const { origin, server } = await serve((_req, res) => {
            reached.push('request');
            res.end();
          });
          for (const event of ['upgrade', 'connect'] as const) {
            server.on(event, (_req: unknown, socket: Duplex) => {
              reached.push(event);
              socket.end();
            });
          }
          const abort = new AbortController();
          const error = errorOf(client(origin, { signal: abort.signal, dispatcher: new undici.Agent() }));
          abort.abort(new Error('changed my mind'));
          expect((await error).message).to.equal('changed my mind');
          await connectionFree();
          expect(reached).to.deep.equal([]);
          expect(guard.calls(origin)).to.deep.equal(counts({ ignored: 1 }));
        });
      }
    }
  });

  for (const [copy, undici] of Object.entries(COPIES)) {
    for (const [kind, client] of Object.entries(clientsOf(undici))) describeClient(`${copy} ${kind}`, client, undici);
    const agent = new undici.Agent();
    const throughAgent: Client = (url, options) => globalFetch(url, { dispatcher: agent, ...options });
    describeClient(`global fetch through ${copy}`, throughAgent, undici);

    // Together, since undici looks at such limits once a second.
    it(`${copy}: takes headers and bodies that do not come in time as failures`, async () => {
      const silent = await serve(() => {});
      const stalling = await serve((_req, res) => void res.write('first'));
      const dispatcher = new undici.Agent({ headersTimeout: 50, bodyTimeout: 50 });
      const clients = Object.values({ ...clientsOf(undici), globalFetch });
      const codesOf = (url: string) =>
        Promise.all(clients.map(async (client) => (await errorOf(client(url, { dispatcher }))).code));
      const [headers, bodies] = await Promise.all([codesOf(silent.origin), codesOf(stalling.origin)]);
      expect(new Set(headers)).to.deep.equal(new Set(['UND_ERR_HEADERS_TIMEOUT']));
      expect(new Set(bodies)).to.deep.equal(new Set(['UND_ERR_BODY_TIMEOUT']));
      expect(guard.calls(silent.origin)).to.deep.equal(counts({ failure: clients.length }));
      expect(guard.calls(stalling.origin)).to.deep.equal(counts({ failure: clients.length }));
    });
  }
  describeClient('global fetch', globalFetch);

  function describeClient(name: string, client: Client, undici?: Undici): void {
    describe(name, () => {
      for (const [status, outcome] of Object.entries({
        200: 'success',
        204: 'success',
        404: 'success',
        408: 'ignored',
        429: 'ignored',
        500: 'failure',
        501: 'success',
        503: 'failure',
        505: 'success',
      })) {
        it(`takes status ${status} as ${outcome}`, async () => {
          const { origin } = await serve((_req, res) => res.writeHead(Number(status)).end());
          await client(origin);
          expect(guard.calls(origin)).to.deep.equal(counts({ [outcome]: 1 }));
        });
      }

      it('takes a refused connection as a failure', async () => {
        const origin = `http://127.0.0.1:${await findDeadPort()}`;
        expect(await errorOf(client(origin))).to.have.property('code', 'ECONNREFUSED');
        expect(guard.calls(origin)).to.deep.equal(counts({ failure: 1 }));
      });

      it('takes a connection closed before the answer as a failure', async () => {
        const { origin } = await serveRaw((socket) => socket.destroy());
        expect(await errorOf(client(origin))).to.have.property('code', 'UND_ERR_SOCKET');
        expect(guard.calls(origin)).to.deep.equal(counts({ failure: 1 }));
      });

      it('takes a connection reset before the answer as a failure', async () => {
        const { origin } = await serveRaw((socket) => socket.resetAndDestroy());
        expect(await errorOf(client(origin))).to.have.property('code', 'ECONNRESET');
        expect(guard.calls(origin)).to.deep.equal(counts({ failure: 1 }));
      });

      it('takes what is no HTTP as a failure', async () => {
        const { origin } = await serveRaw((socket) => socket.write('SSH-2.0-OpenSSH\r\n'));
        expect(await errorOf(client(origin))).to.have.property('name', 'HTTPParserError');
        expect(guard.calls(origin)).to.deep.equal(counts({ failure: 1 }));
      });

      it('takes an answer that ends too early as a failure, and once', async () => {
        const { origin } = await serveRaw((socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc'));
        expect(await errorOf(client(origin))).to.have.property('code', 'UND_ERR_SOCKET');
        expect(guard.calls(origin)).to.deep.equal(counts({ failure: 1 }));
      });

      it('takes an answer with a bad status that ends too early as one failure', async () => {
        const { origin } = await serveRaw((socket) =>
          socket.end('HTTP/1.1 500 Internal Server Error\r\nContent-Length: 10\r\n\r\nabc'),
        );
        await errorOf(client(origin));
        expect(guard.calls(origin)).to.deep.equal(counts({ failure: 1 }));
      });

      it('waits for the end of a body', async () => {
        const { origin, server } = await serve((_req, res) => void res.write('first'));
        const answered = once(server, 'request') as Promise<Parameters<RequestListener>>;
        const done = client(origin);
        const [, res] = await answered;
        expect(guard.calls(origin)).to.deep.equal(counts({ inFlight: 1 }));
        res.end();
        await done;
        expect(guard.calls(origin)).to.deep.equal(counts({ success: 1 }));
      });

      it('ignores an abort before the answer', async () => {
        const { origin, server } = await serve(() => {});
        const asked = once(server, 'request');
        const abort = new AbortController();
        const error = errorOf(client(origin, { signal: abort.signal }));
        await asked;
        abort.abort();
        expect((await error).name).to.equal('AbortError');
        expect(guard.calls(origin)).to.deep.equal(counts({ ignored: 1 }));
      });

      it('ignores an abort within the body, whatever its reason', async () => {
        const { origin, server } = await serve((_req, res) => void res.write('first'));
        const asked = once(server, 'request') as Promise<Parameters<RequestListener>>;
        const abort = new AbortController();
        const error = errorOf(client(origin, { signal: abort.signal }));
        const [, res] = await asked;
        abort.abort(Object.assign(new Error('the other one failed'), { code: 'ECONNREFUSED' }));
        await error;
        if (!res.closed) await once(res, 'close');
        expect(guard.calls(origin)).to.deep.equal(counts({ ignored: 1 }));
      });

      it('takes AbortSignal.timeout() before the answer as a failure', async () => {
        const { origin, server } = await serve(() => {});
        const asked = once(server, 'request');
        const error = errorOf(client(origin, { signal: AbortSignal.timeout(100) }));
        await asked;
        expect((await error).name).to.equal('TimeoutError');
        expect(guard.calls(origin)).to.deep.equal(counts({ failure: 1 }));
      });

      it('takes AbortSignal.timeout() within the body as a failure', async () => {
        const { origin, server } = await serve((_req, res) => void res.write('first'));
        const asked = once(server, 'request') as Promise<Parameters<RequestListener>>;
        const error = errorOf(client(origin, { signal: AbortSignal.timeout(100) }));
        const [, res] = await asked;
        await error;
        if (!res.closed) await once(res, 'close');
        expect(guard.calls(origin)).to.deep.equal(counts({ failure: 1 }));
      });

      it('ignores timeouts where countTimeouts is false', async () => {
        guardWith({ countTimeouts: false });
        const { origin } = await serve(() => {});
        await errorOf(client(origin, { signal: AbortSignal.timeout(100) }));
        expect(guard.calls(origin)).to.deep.equal(counts({ ignored: 1 }));
      });

      it('ignores a body that cannot be read, whatever its error', async () => {
        const { origin, server } = await serve((req) => void req.resume());
        const asked = once(server, 'request');
        const body = new PassThrough();
        body.write('first');
        const error = errorOf(client(origin, { method: 'POST', body }));
        await asked;
        body.destroy(Object.assign(new Error('disk gone'), { code: 'ECONNRESET' }));
        await error;
        expect(guard.calls(origin)).to.deep.equal(counts({ ignored: 1 }));
      });

      it('ignores a kept connection that the server closed meanwhile', async () => {
        const { origin, connections } = await serveRaw((socket, _text, index) => {
          if (index === 0) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
          else socket.destroy();
        });
        await client(origin);
        await connectionFree();
        expect(await errorOf(client(origin))).to.have.property('code', 'UND_ERR_SOCKET');
        expect(connections()).to.equal(1);
        expect(guard.calls(origin)).to.deep.equal(counts({ success: 1, ignored: 1 }));
      });

      if (undici === undefined) return;

      it('takes an error of the name look-up as a failure', async () => {
        const lookup = (_host: string, _options: unknown, done: (error: Error) => void) =>
          done(Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' }));
        const dispatcher = new undici.Agent({ connect: { lookup } as never });
        expect(await errorOf(client('http://shop.test/', { dispatcher }))).to.have.property('code', 'ENOTFOUND');
        expect(guard.calls('http://shop.test')).to.deep.equal(counts({ failure: 1 }));
      });

      it('takes a connection that cannot be made in time as a failure', async () => {
        const dispatcher = new undici.Agent({ connect: { lookup: () => {}, timeout: 50 } as never });
        expect(await errorOf(client('http://shop.test/', { dispatcher }))).to.have.property(
          'code',
          'UND_ERR_CONNECT_TIMEOUT',
        );
        expect(guard.calls('http://shop.test')).to.deep.equal(counts({ failure: 1 }));
      });

      it('ignores a client closed by its owner', async () => {
        const { origin, server } = await serve(() => {});
        const asked = once(server, 'request');
        const dispatcher = new undici.Agent();
        const error = errorOf(client(origin, { dispatcher }));
        await asked;
        await dispatcher.destroy();
        expect((await error).code).to.equal('UND_ERR_DESTROYED');
        expect(guard.calls(origin)).to.deep.equal(counts({ ignored: 1 }));
        await errorOf(client(origin, { dispatcher }));
        expect(guard.calls(origin)).to.deep.equal(counts({ ignored: 1 }));
      });

      it('takes a certificate that is not trusted as a failure', async () => {
        const { port } = await serveTls((_req, res) => res.end());
        const dispatcher = new undici.Agent();
        await errorOf(client(`https://localhost:${port}`, { dispatcher }));
        expect(guard.calls(`https://localhost:${port}`)).to.deep.equal(counts({ failure: 1 }));
      });

      it('takes a TLS connection closed before its first answer as a failure, and later as stale', async () => {
        const { port } = await serveTls((req, res) => (req.url === '/good' ? res.end() : req.socket.destroy()));
        const origin = `https://localhost:${port}`;
        const dispatcher = new undici.Agent({ connect: { ca: CERTIFICATE.cert } as never });
        await errorOf(client(`${origin}/bad`, { dispatcher }));
        expect(guard.calls(origin)).to.deep.equal(counts({ failure: 1 }));
        await client(`${origin}/good`, { dispatcher });
        await connectionFree();
        await errorOf(client(`${origin}/bad`, { dispatcher }));
        expect(guard.calls(origin)).to.deep.equal(counts({ failure: 1, success: 1, ignored: 1 }));
      });
    });
  }
});
