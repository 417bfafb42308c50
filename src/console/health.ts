import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
import { countStates } from '../breaker/registry.js';
import type { HealthRule } from '../environment.js';
import type { Health } from './api.js';

/**
 * Judges the health of a service by its breakers.
 *
 * Breakers in mode `observe` are counted, but have no say: they promise to change nothing.
 *
 * In panic nothing is rejected, and the verdict stays what it is by the circuits: something is wrong.
 *
 * @param names look at these alone; a breaker that does not exist yet has nothing against it
 */
export function judgeHealth(
  rule: HealthRule,
  breakers: Iterable<CircuitBreaker>,
  names: readonly string[],
  panic?: string,
): Health {
  const chosen = Array.from(breakers).filter(({ name }) => names.length === 0 || names.includes(name));
  const enforcing = chosen.filter(({ config }) => config.mode === 'enforce');
  const rejecting = enforcing.filter(({ state }) => state === 'open').length;
  const unhealthy = {
    any_open: rejecting > 0,
    all_open: rejecting > 0 && rejecting === enforcing.length,
    never: false,
  };
  return { healthy: !unhealthy[rule], rule, total: chosen.length, ...countStates(chosen), panic: panic ?? null };
}
