import { expect } from 'chai';
import {
  CircuitOpenError,
  ConfigError,
  getCircuitBreaker,
  globalRegistry,
  withCircuitBreaker,
  withCircuitBreakerAndFallback,
} from '../../../src/index.js';
import { rejectionOf } from '../../support/listen.js';
import { newName } from '../../support/names.js';

describe('withCircuitBreaker', () => {
  it('makes the call through the breaker of that name in the global registry', async () => {
    const name = newName();
    expect(await withCircuitBreaker(name, { preset: 'cache' }, async () => 'value')).to.equal('value');
    expect(await withCircuitBreaker(name, undefined, () => 'at once')).to.equal('at once');
    const breaker = globalRegistry.get(name)!;
    expect(breaker).to.equal(getCircuitBreaker(name));
    expect(breaker.config.preset).to.equal('cache');
    expect(breaker.stats().calls.success).to.equal(2);
  });

  it('passes errors on unchanged and rejects once open', async () => {
    const name = newName();
    const error = new Error('down');
    const call = () => withCircuitBreaker(name, { failureThreshold: 1 }, () => Promise.reject(error));
    expect(await rejectionOf(call())).to.equal(error);
    expect(await rejectionOf(call())).to.be.instanceOf(CircuitOpenError);
  });

  it('refuses bad options', () => {
    expect(() => getCircuitBreaker(newName(), { window: '1 day' })).to.throw(ConfigError, 'window');
  });
});

describe('withCircuitBreakerAndFallback', () => {
  it('answers a rejected call by the fallback, and only that', async () => {
    const name = newName();
    const error = new Error('down');
    const call = () =>
      withCircuitBreakerAndFallback(
        name,
        { failureThreshold: 1 },
        () => Promise.reject(error),
        (rejection) => rejection.breaker,
      );
    expect(await rejectionOf(call())).to.equal(error);
    expect(await call()).to.equal(name);
  });
});
