import { resolveConfig, type BreakerConfig } from './config.js';
import { OPTIONS, type BreakerOptions, type OptionKey } from './options.js';

/** One method for each option, each returning the builder; `build()` checks and completes them. */
export type CircuitBreakerConfigBuilder = {
  readonly [Key in OptionKey]-?: (value: NonNullable<BreakerOptions[Key]>) => CircuitBreakerConfigBuilder;
} & {
  /** @throws ConfigError naming every option with a bad value */
  build(): BreakerConfig;
};

/**
 * Options as a chain: `circuitBreakerConfig().preset('llmService').failureThreshold(2).openDuration('30s').build()`.
 *
 * What `build()` returns can be given wherever options can.
 */
export function circuitBreakerConfig(): CircuitBreakerConfigBuilder {
  const options: Record<string, unknown> = {};
  const builder: Record<string, unknown> = {
    build: () => resolveConfig(options, 'circuitBreakerConfig()'),
  };
  for (const key of Object.keys(OPTIONS)) {
    builder[key] = (value: unknown) => {
      options[key] = value;
      return builder;
    };
  }
  return builder as CircuitBreakerConfigBuilder;
}
