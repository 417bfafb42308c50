import { resolveConfig } from '../../src/breaker/config.js';
import type { CircuitBreaker } from '../../src/breaker/circuit-breaker.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { CircuitBreakerRegistry } from '../../src/breaker/registry.js';
import { Guard } from '../../src/guard.js';
import type { RuleSet } from '../../src/rules/rule-set.js';
import { targetName, type Target } from '../../src/target.js';

/** A guard with breakers of its own, all with the same options. */
export class TestGuard extends Guard {
  readonly breakers: CircuitBreakerRegistry;

  constructor(options: BreakerOptions = {}) {
    const registry = new CircuitBreakerRegistry();
    const config = resolveConfig(options);
    const rules: Pick<RuleSet, 'resolve'> = {
      resolve: (target: Target) => ({ name: targetName(target), config, shared: false }),
    };
    super(registry, rules);
    this.breakers = registry;
  }

  /** The breaker of the one target that was called so far. */
  get only(): CircuitBreaker {
    const breakers = [...this.breakers];
    if (breakers.length !== 1)
      throw new Error(`There are ${breakers.length} breakers: ${this.breakers.listNames().join(', ')}`);
    return breakers[0]!;
  }
}

/** What was counted between now and the call of the function returned: outcomes and rejections. */
export function countCalls(breaker: CircuitBreaker): () => Counts {
  const before = breaker.stats().calls;
  return () => {
    const after = breaker.stats().calls;
    return {
      success: after.success - before.success,
      failure: after.failure - before.failure,
      ignored: after.ignored - before.ignored,
      rejected: after.rejected - before.rejected,
    };
  };
}

export interface Counts {
  readonly success: number;
  readonly failure: number;
  readonly ignored: number;
  readonly rejected: number;
}

const NONE: Counts = { success: 0, failure: 0, ignored: 0, rejected: 0 };

/** Those counts and no others. */
export function only(counts: Partial<Counts>): Counts {
  return { ...NONE, ...counts };
}
