import type { CircuitBreaker } from '../../src/breaker/circuit-breaker.js';
import { resolveConfig } from '../../src/breaker/config.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { CircuitBreakerRegistry } from '../../src/breaker/registry.js';
import { Guard } from '../../src/guard.js';
import type { RuleSet } from '../../src/rules/rule-set.js';
import { targetName } from '../../src/target.js';

/** A guard of its own for a test, that gives every target the same options. */
export class TestGuard extends Guard {
  readonly breakers: CircuitBreakerRegistry;

  constructor(options: BreakerOptions = {}) {
    const registry = new CircuitBreakerRegistry();
    const config = resolveConfig({ preset: 'httpApi', ...options });
    super(registry, {
      resolve: (target: Parameters<RuleSet['resolve']>[0]) => ({ name: targetName(target), config, shared: false }),
    });
    this.breakers = registry;
  }

  /** The breaker of a target that has been called. */
  breaker(name: string): CircuitBreaker {
    const breaker = this.breakers.get(name);
    if (breaker === undefined) throw new Error(`no breaker "${name}" among ${this.breakers.listNames().join(', ')}`);
    return breaker;
  }

  /** What became of all calls to a target; nothing where none was seen. */
  calls(name: string): CircuitBreakerCalls {
    return this.breakers.get(name)?.stats().calls ?? NO_CALLS;
  }
}

type CircuitBreakerCalls = ReturnType<CircuitBreaker['stats']>['calls'];
const NO_CALLS: CircuitBreakerCalls = { success: 0, failure: 0, ignored: 0, rejected: 0, inFlight: 0 };

/** Counts as `stats()` gives them, with zeros where nothing is said. */
export function counts(some: Partial<CircuitBreakerCalls>): CircuitBreakerCalls {
  return { ...NO_CALLS, ...some };
}
