import { expect } from 'chai';
import { CircuitBreakerRegistry } from '../../src/breaker/registry.js';
import { readEnvironment } from '../../src/environment.js';
import { createRuntime } from '../../src/runtime.js';

describe('The runtime', () => {
  it('counts for breakers that were there before it', async () => {
    const registry = new CircuitBreakerRegistry();
    registry.getOrCreate('target').acquire().success();
    const runtime = createRuntime(registry, readEnvironment({}));
    try {
      const { breakers } = await runtime.numbers();
      expect(breakers).to.have.length(1);
    } finally {
      await runtime.stop();
    }
  });
});
