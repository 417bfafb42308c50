import { expect } from 'chai';
import {
  CircuitBreakerDbWrapper,
  CircuitBreakerRedis,
  CircuitOpenError,
  type NamedBreakerOptions,
} from '../../../src/index.js';
import { rejectionOf } from '../../support/listen.js';
import { newName } from '../../support/names.js';

const client = { ping: async () => 'pong' };
const options = (more: Partial<NamedBreakerOptions> = {}) => ({ name: newName(), failureThreshold: 2, ...more });

/** An error as drivers make them. */
const driverError = (properties: object) => Object.assign(new Error('failed'), properties);

for (const [title, make, preset] of [
  [
    'CircuitBreakerDbWrapper',
    (more?: Partial<NamedBreakerOptions>) => new CircuitBreakerDbWrapper(client, options(more)),
    'database',
  ],
  [
    'CircuitBreakerRedis',
    (more?: Partial<NamedBreakerOptions>) => new CircuitBreakerRedis(client, options(more)),
    'cache',
  ],
] as const) {
  describe(title, () => {
    it(`hands its client to what is executed, under the preset ${preset}`, async () => {
      const wrapper = make();
      expect(wrapper.inner).to.equal(client);
      expect(await wrapper.execute((inner) => inner.ping())).to.equal('pong');
      expect(wrapper.breaker.config.preset).to.equal(preset);
      expect(wrapper.breaker.stats().calls.success).to.equal(1);
    });

    it('passes errors on unchanged and rejects once open', async () => {
      const wrapper = make();
      const error = driverError({ code: 'ECONNREFUSED' });
      for (let call = 0; call < 2; call++) {
        expect(await rejectionOf(wrapper.execute(() => Promise.reject(error)))).to.equal(error);
      }
      expect(await rejectionOf(wrapper.execute(() => 1))).to.be.instanceOf(CircuitOpenError);
    });

    it('answers a rejected call in its place, and only a rejected one', async () => {
      const wrapper = make();
      const run = (fn: () => Promise<string>) => {
        const instead = (error: CircuitOpenError) => error.code;
        return wrapper instanceof CircuitBreakerRedis
          ? wrapper.executeWithFallback(fn, instead)
          : wrapper.executeWithDegraded(fn, instead);
      };
      const error = new Error('down');
      expect(await rejectionOf(run(() => Promise.reject(error)))).to.equal(error);
      expect(await run(async () => 'answer')).to.equal('answer');
      wrapper.breaker.forceOpen();
      expect(await run(async () => 'answer')).to.equal('ERR_CIRCUIT_OPEN');
    });

    it('gives no verdict on aborts, counts timeouts by countTimeouts, and lets isFailure replace all of it', async () => {
      const timeout = driverError({ code: 'ETIMEDOUT' });
      const fails = (wrapper: ReturnType<typeof make>, error: unknown) =>
        rejectionOf(wrapper.execute(() => Promise.reject(error)));
      const wrapper = make();
      await fails(wrapper, new DOMException('gone', 'AbortError'));
      await fails(wrapper, timeout);
      expect(wrapper.breaker.stats().calls).to.include({ ignored: 1, failure: 1 });
      const patient = make({ countTimeouts: false });
      await fails(patient, timeout);
      expect(patient.breaker.stats().calls).to.include({ ignored: 1, failure: 0 });
      const lenient = make({ isFailure: () => false });
      await fails(lenient, new Error('down'));
      expect(lenient.breaker.stats().calls).to.include({ success: 1, failure: 0 });
    });
  });
}

describe('What counts as a failure of a server', () => {
  const dbVerdicts: readonly (readonly [error: object, failure: boolean])[] = [
    [{ code: '08006' }, true],
    [{ code: '53300' }, true],
    [{ code: '57P01' }, true],
    [{ code: '58030' }, true],
    [{ code: '23505' }, false],
    [{ code: '42P01' }, false],
    [{ code: '40001' }, false],
    [{ code: 'ECONNRESET' }, true],
    [{ code: 'EPIPE' }, true],
    [{}, true],
  ];
  const redisVerdicts: readonly (readonly [error: object, failure: boolean])[] = [
    [{ name: 'ReplyError', message: 'WRONGTYPE Operation against a key' }, false],
    [{ name: 'ReplyError', message: 'LOADING Redis is loading the dataset in memory' }, true],
    [{ name: 'ReplyError', message: 'CLUSTERDOWN The cluster is down' }, true],
    [{ name: 'MaxRetriesPerRequestError', message: 'Reached the max retries per request limit' }, true],
    [{ message: 'Connection is closed.' }, true],
  ];
  for (const [Wrapper, verdicts] of [
    [CircuitBreakerDbWrapper, dbVerdicts],
    [CircuitBreakerRedis, redisVerdicts],
  ] as const) {
    for (const [properties, failure] of verdicts) {
      it(`${Wrapper.name}: ${JSON.stringify(properties)} ${failure ? 'is one' : 'is none'}`, async () => {
        const wrapper = new Wrapper(client, options());
        await rejectionOf(wrapper.execute(() => Promise.reject(driverError(properties))));
        expect(wrapper.breaker.stats().calls).to.include({ failure: failure ? 1 : 0, success: failure ? 0 : 1 });
      });
    }
  }
});
