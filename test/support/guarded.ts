import { resolveConfig, type BreakerConfig } from '../../src/breaker/config.js';
import type { BreakerStats } from '../../src/breaker/tally.js';
import type { CircuitBreaker } from '../../src/breaker/circuit-breaker.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { CircuitBreakerRegistry } from '../../src/breaker/registry.js';
import { Guard } from '../../src/guard/guard.js';
import { RuleSet, type Resolution } from '../../src/rules/rule-set.js';
import { targetLabels, targetName, type Target } from '../../src/target.js';

class SameForAll extends RuleSet {
  constructor(private readonly config: BreakerConfig) {
    super();
  }

  override resolve(target: Target): Resolution {
    return { name: targetName(target), config: this.config, shared: false, labels: targetLabels(target) };
  }
}

/** A guard that treats all targets alike, with a registry of its own. */
export class TestGuard extends Guard {
  readonly breakers: CircuitBreakerRegistry;

  constructor(options: BreakerOptions = {}) {
    const registry = new CircuitBreakerRegistry();
    super(registry, new SameForAll(resolveConfig(options)));
    this.breakers = registry;
  }

  /** The breaker of the one target that was called so far. */
  get only(): CircuitBreaker {
    const breakers = [...this.breakers];
    if (breakers.length !== 1)
      throw new Error(`There are ${breakers.length} breakers: ${this.breakers.listNames().join(', ')}`);
    return breakers[0]!;
  }

  /** The breaker of a target that has been called. */
  breaker(name: string): CircuitBreaker {
    const breaker = this.breakers.get(name);
    if (breaker === undefined) throw new Error(`No breaker "${name}" among: ${this.breakers.listNames().join(', ')}`);
    return breaker;
  }

  /** What became of all calls to a target; nothing where none was seen. */
  calls(name: string): BreakerStats['calls'] {
    return this.breakers.get(name)?.stats().calls ?? NO_CALLS;
  }
}

const NO_CALLS: BreakerStats['calls'] = {
  success: 0,
  failure: 0,
  ignored: 0,
  rejected: 0,
  inFlight: 0,
  oldestMs: null,
};

/** Counts as `stats()` gives them, with zeros where nothing is said. */
export function counts(some: Partial<BreakerStats['calls']>): BreakerStats['calls'] {
  return { ...NO_CALLS, ...some };
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
