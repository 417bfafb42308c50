import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
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
  const counts = { closed: 0, open: 0, half_open: 0 };
  let enforcing = 0;
  let rejecting = 0;
  for (const { name, state, config } of breakers) {
    if (names.length > 0 && !names.includes(name)) continue;
    counts[state]++;
    if (config.mode !== 'enforce') continue;
    enforcing++;
    if (state === 'open') rejecting++;
  }
  const unhealthy = { any_open: rejecting > 0, all_open: rejecting > 0 && rejecting === enforcing, never: false }[rule];
  return {
    healthy: !unhealthy,
    rule,
    total: counts.closed + counts.open + counts.half_open,
    closed: counts.closed,
    open: counts.open,
    halfOpen: counts.half_open,
    panic: panic ?? null,
  };
}
