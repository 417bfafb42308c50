export { CircuitBreaker } from './breaker/circuit-breaker.js';
export { Permit } from './breaker/permit.js';
export type { BreakerStats } from './breaker/tally.js';
export type { ChangedBy, Transition } from './breaker/observer.js';
export type { BreakerConfig } from './breaker/config.js';
export { circuitBreakerConfig, type CircuitBreakerConfigBuilder } from './breaker/builder.js';
export { CircuitOpenError, ConfigError, isCircuitOpenError } from './breaker/errors.js';
export type {
  BreakerOptions,
  ConfigProblem,
  Duration,
  Mode,
  PresetName,
  FailedCall,
  FailureVerdict,
  WhenOpen,
} from './breaker/options.js';
export type { RespondWith } from './breaker/respond-with.js';
export { presets, type Preset } from './breaker/presets.js';
export { CircuitBreakerRegistry, globalRegistry, type HealthCheck, type StateCounts } from './breaker/registry.js';
export type { CircuitState } from './breaker/state.js';
export { CircuitBreakerDbWrapper, CircuitBreakerRedis } from './helpers/client-wrappers.js';
export {
  circuitBreaker,
  type CircuitBreakerDecorator,
  type CircuitBreakerDecoratorOptions,
} from './helpers/decorator.js';
export { CircuitBreakerHttpClient, type CircuitBreakerHttpClientOptions } from './helpers/http-client.js';
export {
  protect,
  wrapperClass,
  type AsyncMethod,
  type Protected,
  type ProtectOptions,
  type WrapperClass,
} from './helpers/protect.js';
export {
  getCircuitBreaker,
  withCircuitBreaker,
  withCircuitBreakerAndFallback,
} from './helpers/with-circuit-breaker.js';
export type { NamedBreakerOptions } from './named-breaker.js';
export type { FleetConfig, FleetConnect, Rule, RuleMatch, RulesConfig } from './rules/rule.js';
export { configure } from './runtime.js';
