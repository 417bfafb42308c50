import { getGuard } from '../src/runtime.js';
import type { BreakerInstrumentation, BreakerInstrumentationConfig } from './breaker-instrumentation.js';
import { HttpBreakerInstrumentation } from './http.js';

export { BreakerInstrumentation, type BreakerInstrumentationConfig } from './breaker-instrumentation.js';
export { HttpBreakerInstrumentation } from './http.js';
export { HttpStatusError } from './http-outcome.js';

/** One of each instrumentation there is, for `instrumentations` of an OpenTelemetry SDK; they share the rules given here. */
export function getBreakerInstrumentations(config: BreakerInstrumentationConfig = {}): BreakerInstrumentation[] {
  const guard = getGuard('getBreakerInstrumentations()', config);
  return [new HttpBreakerInstrumentation(config, guard)];
}
