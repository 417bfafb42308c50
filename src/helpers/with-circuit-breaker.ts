import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
import type { CircuitOpenError } from '../breaker/errors.js';
import type { BreakerOptions } from '../breaker/options.js';
import { getRuntime } from '../runtime.js';

/**
 * The breaker of that name in the global registry, made with these options where there is none yet.
 *
 * @throws ConfigError naming every option that is unknown or has a bad value
 */
export function getCircuitBreaker(name: string, options?: BreakerOptions): CircuitBreaker {
  return getRuntime().registry.getOrCreate(name, options);
}

/**
 * Makes a call through the breaker of that name: `CircuitBreaker.call`.
 *
 * @param signal handed to `fn`; once it is aborted, the call's error says nothing of the target
 */
export function withCircuitBreaker<T>(
  name: string,
  options: BreakerOptions | undefined,
  fn: (signal?: AbortSignal) => T | PromiseLike<T>,
  signal?: AbortSignal,
): Promise<T> {
  return getCircuitBreaker(name, options).call(fn, signal);
}

/**
 * Makes a call through the breaker of that name; a rejected one gets what the fallback returns: `CircuitBreaker.callWithFallback`.
 *
 * @param signal as for `withCircuitBreaker`
 */
export function withCircuitBreakerAndFallback<T, F = T>(
  name: string,
  options: BreakerOptions | undefined,
  fn: (signal?: AbortSignal) => T | PromiseLike<T>,
  fallback: (error: CircuitOpenError) => F | PromiseLike<F>,
  signal?: AbortSignal,
): Promise<T | F> {
  return getCircuitBreaker(name, options).callWithFallback(fn, fallback, signal);
}
