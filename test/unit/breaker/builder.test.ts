import { expect } from 'chai';
import { circuitBreakerConfig } from '../../../src/breaker/builder.js';
import { CircuitBreaker } from '../../../src/breaker/circuit-breaker.js';
import { resolveConfig } from '../../../src/breaker/config.js';
import { ConfigError } from '../../../src/breaker/errors.js';
import { OPTIONS } from '../../../src/breaker/options.js';

describe('circuitBreakerConfig', () => {
  it('builds what the same options give', () => {
    const isFailure = () => true;
    const built = circuitBreakerConfig()
      .preset('llmService')
      .failureThreshold(2)
      .openDuration('30s')
      .isFailure(isFailure);
    expect(built.build()).to.deep.equal(
      resolveConfig({ preset: 'llmService', failureThreshold: 2, openDuration: '30s', isFailure }),
    );
  });

  it('has a method for every option and nothing else but build', () => {
    expect(circuitBreakerConfig()).to.have.all.keys([...Object.keys(OPTIONS), 'build']);
  });

  it('takes the last word on an option, in whatever order they come', () => {
    const config = circuitBreakerConfig().failureThreshold(7).failureThreshold(8).preset('cache').build();
    expect(config).to.include({ preset: 'cache', failureThreshold: 8, successThreshold: 3 });
  });

  it('builds options for a breaker', () => {
    const breaker = new CircuitBreaker('target', circuitBreakerConfig().minimumCalls(4).build());
    expect(breaker.config.minimumCalls).to.equal(4);
  });

  it('leaves what it has built as it is', () => {
    const builder = circuitBreakerConfig().failureThreshold(2);
    const first = builder.build();
    builder.failureThreshold(3);
    expect(first.failureThreshold).to.equal(2);
  });

  it('names bad values when it builds', () => {
    const builder = circuitBreakerConfig().failureThreshold(0);
    expect(() => builder.build()).to.throw(ConfigError, 'circuitBreakerConfig(): failureThreshold: got 0;');
  });
});
