export { CircuitBreaker, Permit, type BreakerStats, type Transition } from './breaker/circuit-breaker.js';
export type { BreakerConfig } from './breaker/config.js';
export { circuitBreakerConfig, type CircuitBreakerConfigBuilder } from './breaker/builder.js';
export { CircuitOpenError, ConfigError, isCircuitOpenError } from './breaker/errors.js';
export type {
  BreakerOptions,
  ConfigProblem,
  Duration,
  Mode,
  PresetName,
  Verdict,
  WhenOpen,
} from './breaker/options.js';
export { presets } from './breaker/presets.js';
export { CircuitBreakerRegistry, globalRegistry, type HealthCheck, type StateCounts } from './breaker/registry.js';
export type { CircuitState } from './breaker/state.js';
export {
  getCircuitBreaker,
  withCircuitBreaker,
  withCircuitBreakerAndFallback,
} from './helpers/with-circuit-breaker.js';
export type { Rule, RuleMatch, RulesConfig } from './rules/rule.js';
export { configure } from './runtime.js';
