import { resolveConfig } from '../../src/breaker/config.js';
import type { CircuitBreaker } from '../../src/breaker/circuit-breaker.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { CircuitBreakerRegistry } from '../../src/breaker/registry.js';
import { Guard } from '../../src/guard.js';
import type { Resolution, RuleSet } from '../../src/rules/rule-set.js';
import { targetName, type Target } from '../../src/target.js';

/** A guard that treats all targets alike, with a registry of its own. */
export class TestGuard extends Guard {
  readonly breakers: CircuitBreakerRegistry;

  constructor(options: BreakerOptions = {}) {
    const config = resolveConfig(options);
    const registry = new CircuitBreakerRegistry();
    const resolve = (target: Target): Resolution => ({ name: targetName(target), config, shared: false });
    // No more of the class than a guard needs.
    super(registry, Object.assign(Object.create(null), { resolve }) as RuleSet);
    this.breakers = registry;
  }

  /** The breaker of a target that has been called. */
  breaker(name: string): CircuitBreaker {
    const breaker = this.breakers.get(name);
    if (breaker === undefined) throw new Error(`No breaker "${name}" among: ${this.breakers.listNames().join(', ')}`);
    return breaker;
  }
}
