import { expect } from 'chai';
import http from 'node:http';
import { text } from 'node:stream/consumers';
import axios from 'axios';
import { isCircuitOpenError } from '../../src/breaker/errors.js';
import { guardHttp, outcomesOf, type GuardedHttp } from '../support/http.js';
import { findDeadPort, serve, stopServers, type Upstream } from '../support/servers.js';

type Answer = readonly [status: number | undefined, body: string];
/** One call as users of a client make it: rejects as the client rejects. */
type Call = (url: string, body?: string) => Promise<Answer>;

interface Superagent {
  get(url: string): SuperagentRequest;
  post(url: string): SuperagentRequest;
}
interface SuperagentRequest extends Promise<{ status: number; text: string }> {
  send(body: string): SuperagentRequest;
  ok(accept: () => boolean): SuperagentRequest;
  type(type: string): SuperagentRequest;
}

const importGot = async () => (await import('got')).got;
const importNodeFetch = async () => (await import('node-fetch')).default;

const clients: Record<string, () => Promise<Call>> = {
  http: async () => (url, body) =>
    new Promise<Answer>((resolve, reject) => {
      const req = http.request(url, { method: body === undefined ? 'GET' : 'POST' }, (res) => {
        text(res).then((answer) => resolve([res.statusCode, answer]), reject);
      });
      req.on('error', reject).end(body);
    }),
  axios: async () => async (url, body) => {
    const options = { adapter: 'http', validateStatus: () => true, responseType: 'text', proxy: false } as const;
    const res = await (body === undefined ? axios.get<string>(url, options) : axios.post<string>(url, body, options));
    return [res.status, res.data];
  },
  got: async () => {
    const got = await importGot();
    return async (url, body) => {
      const options = { retry: { limit: 0 }, throwHttpErrors: false };
      const res = await (body === undefined ? got.get(url, options) : got.post(url, { ...options, body }));
      return [res.statusCode, res.body];
    };
  },
  'node-fetch': async () => {
    const fetch = await importNodeFetch();
    return async (url, body) => {
      const res = await fetch(url, body === undefined ? {} : { method: 'POST', body });
      return [res.status, await res.text()];
    };
  },
  superagent: async () => {
    const superagent = require('superagent') as Superagent;
    return async (url, body) => {
      const req = body === undefined ? superagent.get(url) : superagent.post(url).type('text/plain').send(body);
      const res = await req.ok(() => true);
      return [res.status, res.text];
    };
  },
  'follow-redirects': async () => {
    const following = (require('follow-redirects') as { http: typeof http }).http;
    return (url, body) =>
      new Promise<Answer>((resolve, reject) => {
        const req = following.request(url, { method: body === undefined ? 'GET' : 'POST' }, (res) => {
          text(res).then((answer) => resolve([res.statusCode, answer]), reject);
        });
        req.on('error', reject).end(body);
      });
  },
};

// Clients that make an error of their own of every error of Node.
const WRAPPING: ReadonlySet<string> = new Set(['axios', 'got', 'node-fetch']);

const classOf = (error: unknown): string => (error as Error).constructor.name;

/** What a caller can tell of an error, without the words that differ from call to call. */
function shapeOf(error: unknown): unknown {
  const { name, code } = error as NodeJS.ErrnoException;
  return { name, code, class: classOf(error), keys: Object.keys(error as object).sort() };
}

describe('http clients', () => {
  let guarded: GuardedHttp;
  let upstream: Upstream;
  before(() => (guarded = guardHttp()));
  after(() => guarded.instrumentation.disable());
  beforeEach(async () => {
    upstream = await serve((req, res) => {
      // A hang-up on a connection that was kept would not count.
      res.shouldKeepAlive = false;
      if (req.url === '/moved') res.writeHead(302, { location: '/there' }).end();
      else if (req.url === '/broken') res.writeHead(503).end('broken');
      else if (req.url === '/hang-up') req.socket.destroy();
      else if (req.url === '/cut') res.writeHead(200, { 'content-length': 100 }).write('cut', () => req.socket.end());
      else if (req.method === 'POST') void text(req).then((body) => res.end(`got ${body}`));
      else res.setHeader('content-type', 'text/plain').end(`this is ${req.url}`);
    });
  });
  afterEach(async () => {
    guarded.registry.clear();
    await stopServers();
  });

  for (const [name, load] of Object.entries(clients)) {
    describe(name, () => {
      let call: Call;
      before(async () => (call = await load()));

      it('sees the same as without us while closed', async () => {
        const dead = `http://127.0.0.1:${await findDeadPort()}`;
        const run = async () => {
          const seen: unknown[] = [];
          for (const path of ['/', '/moved', '/broken', '/hang-up', '/cut']) {
            seen.push([path, await call(upstream.origin + path).catch(shapeOf)]);
          }
          seen.push(await call(upstream.origin, 'a body'), await call(dead).catch(shapeOf));
          http.globalAgent.destroy();
          return seen;
        };
        guarded.instrumentation.disable();
        const without = await run();
        guarded.instrumentation.enable();
        expect(await run()).to.deep.equal(without);
        const redirects = name === 'http' ? 0 : 1;
        const counted = await outcomesOf(guarded.breakerOf(upstream.origin));
        expect(counted).to.equal(`${3 + redirects} success, 3 failure`);
        expect(await outcomesOf(guarded.breakerOf(dead))).to.equal('1 failure');
      });

      for (const body of [undefined, 'a body']) {
        it(`sees a rejected ${body === undefined ? 'GET' : 'POST'} as a request that could not connect`, async () => {
          guarded.openBreakerOf(upstream.origin);
          const rejected: unknown = await call(upstream.origin, body).catch((error: unknown) => error);
          const refused: unknown = await call(`http://127.0.0.1:${await findDeadPort()}`, body).catch(
            (error: unknown) => error,
          );
          if (WRAPPING.has(name)) expect(classOf(rejected)).to.equal(classOf(refused));
          else expect(classOf(rejected)).to.equal('CircuitOpenError');
          expect((rejected as NodeJS.ErrnoException).code).to.equal('ERR_CIRCUIT_OPEN');
          expect(isCircuitOpenError(rejected)).to.equal(true);
          expect((rejected as Error).message).to.contain(`Circuit "${upstream.origin}" is open`);
          expect(upstream.connections()).to.equal(0);
          expect(await outcomesOf(guarded.breakerOf(upstream.origin))).to.equal('1 rejected');
        });
      }
    });
  }

  describe('timeouts of clients', () => {
    it('of axios and got are failures', async () => {
      const silent = await serve(() => {});
      const got = await importGot();
      const breaker = guarded.breakerOf(silent.origin);
      await axios.get(silent.origin, { adapter: 'http', timeout: 20, proxy: false }).catch(() => {});
      await got.get(silent.origin, { timeout: { request: 20 }, retry: { limit: 0 } }).catch(() => {});
      await got.get(silent.origin, { timeout: { response: 20 }, retry: { limit: 0 } }).catch(() => {});
      expect(await outcomesOf(breaker)).to.equal('3 failure');
    });

    it('and cancellations by the caller are not', async () => {
      const silent = await serve(() => {});
      const controller = new AbortController();
      silent.server.once('request', () => controller.abort());
      await axios.get(silent.origin, { adapter: 'http', signal: controller.signal, proxy: false }).catch(() => {});
      expect(await outcomesOf(guarded.breakerOf(silent.origin))).to.equal('1 ignored');
    });
  });
});
