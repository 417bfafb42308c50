import axios from 'axios';
import { expect } from 'chai';
import got from 'got';
import type { RequestListener } from 'node:http';
import { CircuitBreaker, withCircuitBreaker, type BreakerOptions } from '../../src/index.js';
import { closeAfterEach, listen, rejectionOf } from '../support/listen.js';
import { newName } from '../support/names.js';

type Calls = Partial<Record<'success' | 'failure' | 'ignored', number>>;
type Client = (url: string, options: { signal?: AbortSignal | undefined; timeout?: number }) => Promise<unknown>;

const ky = import('ky');

const CLIENTS: Readonly<Record<string, Client>> = {
  axios: (url, { signal, timeout }) => axios.get(url, { ...(signal && { signal }), ...(timeout && { timeout }) }),
  got: (url, { signal, timeout }) =>
    got(url, { retry: { limit: 0 }, ...(signal && { signal }), ...(timeout && { timeout: { request: timeout } }) }),
  ky: async (url, { signal, timeout }) =>
    (await ky).default(url, { retry: 0, timeout: timeout ?? false, ...(signal && { signal }) }).text(),
};

describe('Clients in call()', () => {
  const close = closeAfterEach();

  async function callsOf(
    handler: RequestListener,
    call: (url: string, breaker: CircuitBreaker) => Promise<unknown>,
    options: BreakerOptions = {},
  ): Promise<Calls & { state: string }> {
    const { url } = close(await listen(handler));
    const breaker = new CircuitBreaker(newName(), { failureThreshold: 3, ...options });
    for (let time = 0; time < 3; time++) await rejectionOf(call(url, breaker));
    const { success, failure, ignored } = breaker.stats().calls;
    return { success, failure, ignored, state: breaker.state };
  }

  for (const [name, client] of Object.entries(CLIENTS)) {
    const hang: RequestListener = () => {};
    const status =
      (code: number): RequestListener =>
      (_, response) =>
        void response.writeHead(code, { 'retry-after': '7' }).end();
    const call = (url: string, breaker: CircuitBreaker) => breaker.call(() => client(url, {}));

    it(`${name}: a 400 shows that the target answers, a 500 is a failure, a 429 says nothing`, async () => {
      expect(await callsOf(status(400), call)).to.include({ success: 3, state: 'closed' });
      expect(await callsOf(status(500), call)).to.include({ failure: 3, state: 'open' });
      expect(await callsOf(status(429), call)).to.include({ ignored: 3, state: 'closed' });
    });

    it(`${name}: a 429 with Retry-After opens where that is honoured, and failureStatuses hold`, async () => {
      expect(await callsOf(status(429), call, { honorRetryAfter: true })).to.include({ failure: 1, state: 'open' });
      expect(await callsOf(status(404), call, { failureStatuses: 404 })).to.include({ failure: 3, state: 'open' });
    });

    it(`${name}: its timeout is one`, async () => {
      const timed = (url: string, breaker: CircuitBreaker) => breaker.call(() => client(url, { timeout: 30 }));
      expect(await callsOf(hang, timed)).to.include({ failure: 3, state: 'open' });
      expect(await callsOf(hang, timed, { countTimeouts: false })).to.include({ ignored: 3, state: 'closed' });
    });

    it(`${name}: a caller who gives up soon says nothing, whatever the reason`, async () => {
      const cancelled = (url: string, breaker: CircuitBreaker) => {
        const controller = new AbortController();
        setTimeout(() => controller.abort(new Error('no longer wanted')), 10);
        return breaker.call((signal) => client(url, { signal }), controller.signal);
      };
      expect(await callsOf(hang, cancelled)).to.include({ ignored: 3, state: 'closed' });
    });

    it(`${name}: a signal that times out is a timeout`, async () => {
      const timed = (url: string, breaker: CircuitBreaker) =>
        breaker.call((signal) => client(url, { signal }), AbortSignal.timeout(20));
      expect(await callsOf(hang, timed)).to.include({ failure: 3, state: 'open' });
    });

    it(`${name}: wrong arguments say nothing`, async () => {
      expect(await callsOf(hang, (_, breaker) => breaker.call(() => client('http://[bad', {})))).to.include({
        failure: 0,
        state: 'closed',
      });
    });
  }

  it('takes a signal through withCircuitBreaker', async () => {
    const seen = await withCircuitBreaker(newName(), {}, (signal) => signal, AbortSignal.abort('x'));
    expect(seen?.reason).to.equal('x');
  });

  it('counts a stream of call() when it ends: broken as a failure, read to its end or left as a success', async () => {
    const breaker = new CircuitBreaker(newName());
    async function* numbers(broken: boolean) {
      yield 1;
      await Promise.resolve();
      if (broken) throw Object.assign(new Error('reset'), { code: 'ECONNRESET' });
      yield 2;
    }
    const read = async (broken: boolean, leave = false) => {
      for await (const _ of await breaker.call(() => numbers(broken))) if (leave) break;
    };
    await read(false);
    await read(false, true);
    expect(await rejectionOf(read(true))).to.have.property('code', 'ECONNRESET');
    expect(breaker.stats().calls).to.include({ success: 2, failure: 1, ignored: 0, inFlight: 0 });
  });
});
