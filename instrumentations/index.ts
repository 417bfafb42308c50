export { BreakerInstrumentation, type BreakerInstrumentationConfig } from './breaker-instrumentation.js';
export { HttpBreakerInstrumentation } from './http.js';
export { HttpStatusError } from './http-outcome.js';
export { UndiciBreakerInstrumentation } from './undici.js';
export { IoredisBreakerInstrumentation } from './ioredis.js';
export { PgBreakerInstrumentation } from './pg.js';
