// The copy within Node is to have a dispatcher of its own: the first copy loaded makes the global one for all.
import './built-in-undici.js';
import { text } from 'node:stream/consumers';
import { Writable } from 'node:stream';
import undici7 = require('undici');

export type Undici = typeof undici7;
export type UndiciDispatcher = undici7.Dispatcher;

// eslint-disable-next-line @typescript-eslint/no-unsafe-assignment -- an older copy with the same names
const undici6: Undici = require('undici6');

export const COPIES: Readonly<Record<string, Undici>> = { 'undici 6': undici6, 'undici 7': undici7 };

/** One way to make a GET request and read its answer to the end. Rejects as its caller sees it. */
export type Way = (url: string, dispatcher?: UndiciDispatcher) => Promise<number>;

/** The functions that undici offers. */
export function waysOf(undici: Undici): Readonly<Record<string, Way>> {
  return {
    fetch: async (url, dispatcher) => {
      const response = await undici.fetch(url, { ...(dispatcher && { dispatcher }) });
      await response.text();
      return response.status;
    },
    request: async (url, dispatcher) => {
      const { statusCode, body } = await undici.request(url, { ...(dispatcher && { dispatcher }) });
      await body.text();
      return statusCode;
    },
    stream: async (url, dispatcher) => {
      let status = 0;
      await undici.stream(url, { method: 'GET', ...(dispatcher && { dispatcher }) }, ({ statusCode }) => {
        status = statusCode;
        return new Writable({ write: (_chunk, _encoding, done) => done() });
      });
      return status;
    },
    pipeline: async (url, dispatcher) => {
      let status = 0;
      const duplex = undici.pipeline(
        url,
        { method: 'GET', ...(dispatcher && { dispatcher }) },
        ({ statusCode, body }) => {
          status = statusCode;
          return body;
        },
      );
      await text(duplex.end());
      return status;
    },
    dispatch: (url, dispatcher = undici.getGlobalDispatcher()) => {
      const { origin, pathname } = new URL(url);
      return new Promise((resolve, reject) => {
        let status = 0;
        dispatcher.dispatch(
          { origin, path: pathname, method: 'GET' },
          {
            onConnect: () => {},
            onHeaders: (statusCode) => {
              status = statusCode;
              return true;
            },
            onData: () => true,
            onComplete: () => resolve(status),
            onError: reject,
          },
        );
      });
    },
  };
}

export const globalFetch: Way = async (url, dispatcher) => {
  const response = await fetch(url, { ...(dispatcher && { dispatcher }) } as unknown as RequestInit);
  await response.text();
  return response.status;
};

/** The dispatchers that lead to one target; made anew for each call. */
export function dispatchersOf(undici: Undici): Readonly<Record<string, (url: string) => UndiciDispatcher>> {
  return {
    Client: (url) => new undici.Client(url),
    Pool: (url) => new undici.Pool(url),
    'Pool of one connection': (url) => new undici.Pool(url, { connections: 1 }),
    BalancedPool: (url) => new undici.BalancedPool(url),
    Agent: () => new undici.Agent(),
    'Agent of Clients': () => new undici.Agent({ connections: 1 }),
    'Agent with a factory of its own': () => new undici.Agent({ factory: (origin) => new undici.Pool(origin, {}) }),
    RetryAgent: () => new undici.RetryAgent(new undici.Agent(), { maxRetries: 0 }),
    EnvHttpProxyAgent: () => new undici.EnvHttpProxyAgent({ noProxy: '*' }),
    'Agent with interceptors': () =>
      new undici.Agent().compose(
        undici.interceptors.redirect({ maxRedirections: 2 }),
        undici.interceptors.retry({ maxRetries: 0 }),
      ),
    'MockAgent that lets connect': () => {
      const agent = new undici.MockAgent();
      agent.enableNetConnect();
      return agent;
    },
  };
}

/** A handler of the new generation. */
export function newHandler(resolve: (status: number) => void, reject: (error: Error) => void) {
  let status = 0;
  return {
    onRequestStart: () => {},
    onResponseStart: (_controller: unknown, statusCode: number) => {
      status = statusCode;
    },
    onResponseData: () => {},
    onResponseEnd: () => resolve(status),
    onResponseError: (_controller: unknown, error: Error) => reject(error),
  };
}
