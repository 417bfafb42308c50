import { expect } from 'chai';
import { isOwnTrouble, isUnreachable, plainClassification, verdictOf } from '../../../src/breaker/classification.js';
import { resolveConfig } from '../../../src/breaker/config.js';
import { breakerWithClock } from '../../support/breakers.js';

const config = resolveConfig();

describe('The classification of a core that nobody has composed', () => {
  it('knows that a caller gave up or that time ran out by the name of the error, and takes every other for a failure', () => {
    const errors = [
      new DOMException('gone', 'AbortError'),
      new DOMException('late', 'TimeoutError'),
      new Error(),
      null,
      7,
    ];
    expect(errors.map((error) => plainClassification.classify(error, config))).to.deep.equal([
      'ignored',
      'timeout',
      'failure',
      'failure',
      'failure',
    ]);
  });

  it('knows no code', () => {
    const refused = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
    expect(plainClassification.isOwnTrouble(refused)).to.equal(false);
    expect(plainClassification.isUnreachable(refused)).to.equal(false);
  });
});

describe('An error that cannot be read, since a getter of it throws', () => {
  const getter = {
    get(): never {
      throw new Error('a getter that throws');
    },
  };
  const hostile = Object.defineProperties(new Error('hostile'), { name: getter, code: getter });

  it('is a failure, and says nothing else', () => {
    expect(() => plainClassification.classify(hostile, config)).to.throw('a getter that throws');
    expect([verdictOf(hostile, config), isOwnTrouble(hostile), isUnreachable(hostile)]).to.deep.equal([
      'failure',
      false,
      false,
    ]);
  });

  it('leaks no permit, and reaches the caller as it is', async () => {
    const { breaker } = breakerWithClock({ failureThreshold: 2 });
    const caught: unknown = await breaker.call(() => Promise.reject(hostile)).catch((error: unknown) => error);
    expect(caught).to.equal(hostile);
    breaker.acquire().failure(hostile);
    expect(breaker.stats()).to.deep.include({
      state: 'open',
      calls: { success: 0, failure: 2, ignored: 0, rejected: 0, inFlight: 0, oldestMs: null },
    });
    expect(() => breaker.acquire()).to.throw('2 consecutive failures');
  });
});
