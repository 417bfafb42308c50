import { getGuard } from '../src/runtime.js';
import type { BreakerInstrumentation, BreakerInstrumentationConfig } from './breaker-instrumentation.js';
import { HttpBreakerInstrumentation } from './http.js';
import { IoredisBreakerInstrumentation } from './ioredis.js';
import { PgBreakerInstrumentation } from './pg.js';
import { UndiciBreakerInstrumentation } from './undici.js';

export { BreakerInstrumentation, type BreakerInstrumentationConfig } from './breaker-instrumentation.js';
export { HttpBreakerInstrumentation } from './http.js';
export { HttpStatusError } from '../src/http-outcome.js';
export { IoredisBreakerInstrumentation } from './ioredis.js';
export { PgBreakerInstrumentation } from './pg.js';
export { UndiciBreakerInstrumentation } from './undici.js';

const INSTRUMENTATIONS = [
  HttpBreakerInstrumentation,
  UndiciBreakerInstrumentation,
  IoredisBreakerInstrumentation,
  PgBreakerInstrumentation,
];

/** One of each instrumentation there is, for `instrumentations` of an OpenTelemetry SDK; they share the rules given here. */
export function getBreakerInstrumentations(config: BreakerInstrumentationConfig = {}): BreakerInstrumentation[] {
  const guard = getGuard('getBreakerInstrumentations()', config);
  return INSTRUMENTATIONS.map((Instrumentation) => new Instrumentation(config, guard));
}
