// The breaker that a wrapper uses: one given to it, or one of the registry by name.
import type { CircuitBreaker } from './breaker/circuit-breaker.js';
import type { BreakerOptions } from './breaker/options.js';
import { getRuntime } from './runtime.js';

/** Which breaker a wrapper uses: its name, and the options it is made with where there is none of that name yet. */
export interface NamedBreakerOptions extends BreakerOptions {
  /** Name of the breaker in the global registry; wrappers that share a name share a circuit. */
  name: string;
}

/**
 * The breaker of that name in the global registry, made with these options where there is none yet.
 *
 * @throws ConfigError naming every option that is unknown or has a bad value
 */
export function namedBreaker({ name, ...options }: NamedBreakerOptions): CircuitBreaker {
  return getRuntime().registry.getOrCreate(name, options);
}
