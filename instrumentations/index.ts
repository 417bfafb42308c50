export { BreakerInstrumentation, type BreakerInstrumentationConfig } from './breaker-instrumentation.js';
export { HttpBreakerInstrumentation } from './http.js';
export { HttpStatusError } from './http-outcome.js';
export { PgBreakerInstrumentation } from './pg.js';
