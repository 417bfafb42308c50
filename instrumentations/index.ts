import { getGuard } from '../src/runtime.js';
import type { BreakerInstrumentation, BreakerInstrumentationConfig } from './attachment.js';
import { HttpBreakerInstrumentation } from './http/http-attachment.js';
import { IoredisBreakerInstrumentation } from './ioredis/ioredis-attachment.js';
import { PgBreakerInstrumentation } from './pg/pg-attachment.js';
import { UndiciBreakerInstrumentation } from './undici/undici-attachment.js';

export { BreakerInstrumentation, type BreakerInstrumentationConfig } from './attachment.js';
export { HttpBreakerInstrumentation } from './http/http-attachment.js';
export { HttpStatusError } from '../src/outcomes/http.js';
export { IoredisBreakerInstrumentation } from './ioredis/ioredis-attachment.js';
export { PgBreakerInstrumentation } from './pg/pg-attachment.js';
export { UndiciBreakerInstrumentation } from './undici/undici-attachment.js';

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
