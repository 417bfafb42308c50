import { expect } from 'chai';
import {
  CircuitBreakerDbWrapper,
  CircuitBreakerRedis,
  CircuitOpenError,
  type NamedBreakerOptions,
} from '../../../src/index.js';
import { verdictOfPgError } from '../../../src/outcomes/postgresql.js';
import { verdictOfRedisError } from '../../../src/outcomes/redis.js';
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

const OUTCOMES = { failure: 'failure', timeout: 'failure', ignored: 'ignored', success: 'success' } as const;

async function outcomeOf(Wrapper: typeof CircuitBreakerDbWrapper | typeof CircuitBreakerRedis, error: object) {
  const wrapper = new Wrapper(client, options());
  await rejectionOf(wrapper.execute(() => Promise.reject(error)));
  const { success, failure, ignored } = wrapper.breaker.stats().calls;
  expect(success + failure + ignored).to.equal(1);
  return failure === 1 ? 'failure' : ignored === 1 ? 'ignored' : 'success';
}

describe('What an error says of a server, to the wrappers', () => {
  const dbVerdicts: readonly (readonly [error: object, outcome: string])[] = [
    [{ code: '08006' }, 'failure'],
    [{ code: '53300' }, 'failure'],
    [{ code: '57P01' }, 'failure'],
    [{ code: '58030' }, 'failure'],
    [{ code: '23505' }, 'success'],
    [{ code: '42P01' }, 'success'],
    [{ code: '40001' }, 'ignored'],
    [{ code: 'ECONNRESET' }, 'failure'],
    [{ code: 'EPIPE' }, 'failure'],
    [{}, 'failure'],
    [{ code: 'P1001', name: 'PrismaClientInitializationError' }, 'failure'],
    [{ code: 'P2002', name: 'PrismaClientKnownRequestError' }, 'success'],
    [{ code: 'P2024', name: 'PrismaClientKnownRequestError' }, 'ignored'],
  ];
  const redisVerdicts: readonly (readonly [error: object, outcome: string])[] = [
    [{ name: 'ReplyError', message: 'WRONGTYPE Operation against a key' }, 'success'],
    [{ name: 'ReplyError', message: 'LOADING Redis is loading the dataset in memory' }, 'failure'],
    [{ name: 'ReplyError', message: 'CLUSTERDOWN The cluster is down' }, 'failure'],
    [{ name: 'MaxRetriesPerRequestError', message: 'Reached the max retries per request limit' }, 'failure'],
    [{ message: 'Connection is closed.' }, 'failure'],
    [{ message: 'Command timed out' }, 'failure'],
    [{}, 'failure'],
  ];
  for (const [Wrapper, verdicts] of [
    [CircuitBreakerDbWrapper, dbVerdicts],
    [CircuitBreakerRedis, redisVerdicts],
  ] as const) {
    for (const [properties, outcome] of verdicts) {
      it(`${Wrapper.name}: ${JSON.stringify(properties)} is ${outcome}`, async () => {
        expect(await outcomeOf(Wrapper, driverError(properties))).to.equal(outcome);
      });
    }
  }

  // One home: what a wrapper says of an SQLSTATE or a reply is what the instrumentation says.
  const STATES =
    '08001 08006 22012 22P02 23505 25006 25P02 28000 28P01 3D000 40001 40P01 42501 42601 42P01 53000 53100 53200 53300 53400 54000 55P03 55006 57014 57P01 57P02 57P03 57P04 57P05 58000 58030 58P01 XX000';
  for (const code of STATES.split(' ')) {
    it(`CircuitBreakerDbWrapper: SQLSTATE ${code} is what it is to the instrumentation of pg`, async () => {
      for (const message of ['failed', 'canceling statement due to statement timeout']) {
        const error = Object.assign(new Error(message), { code });
        expect(await outcomeOf(CircuitBreakerDbWrapper, error)).to.equal(OUTCOMES[verdictOfPgError(error)]);
      }
    });
  }
  const REPLIES =
    'LOADING CLUSTERDOWN MASTERDOWN BUSY OOM READONLY MOVED ASK TRYAGAIN NOAUTH WRONGPASS NOPERM MISCONF WRONGTYPE NOSCRIPT EXECABORT ERR BUSYGROUP BUSYKEY';
  for (const word of REPLIES.split(' ')) {
    it(`CircuitBreakerRedis: the reply ${word} is what it is to the instrumentation of ioredis`, async () => {
      const circumstances = { closedByUs: false, firstAttempt: false, blocking: false };
      for (const name of ['ReplyError', 'SimpleError', 'ErrorReply']) {
        const error = Object.assign(new Error(`${word} and so on`), { name });
        expect(await outcomeOf(CircuitBreakerRedis, error)).to.equal(
          OUTCOMES[verdictOfRedisError(error, circumstances)],
        );
      }
    });
  }
});
