import { getGuard } from '../src/runtime.js';
import { GrpcBreakerInstrumentation } from './grpc/grpc-instrumentation.js';
import { HttpBreakerInstrumentation } from './http/http-instrumentation.js';
import { Http2BreakerInstrumentation } from './http2/http2-instrumentation.js';
import type { BreakerInstrumentation, BreakerInstrumentationConfig } from './instrumentation.js';
import { IoredisBreakerInstrumentation } from './ioredis/ioredis-instrumentation.js';
import { MongodbBreakerInstrumentation } from './mongodb/mongodb-instrumentation.js';
import { Mysql2BreakerInstrumentation } from './mysql2/mysql2-instrumentation.js';
import { NodemailerBreakerInstrumentation } from './nodemailer/nodemailer-instrumentation.js';
import { NodeRedisBreakerInstrumentation } from './node-redis/node-redis-instrumentation.js';
import { PgBreakerInstrumentation } from './pg/pg-instrumentation.js';
import { UndiciBreakerInstrumentation } from './undici/undici-instrumentation.js';

export { HttpStatusError } from '../src/outcomes/http.js';
export { GrpcBreakerInstrumentation } from './grpc/grpc-instrumentation.js';
export { HttpBreakerInstrumentation } from './http/http-instrumentation.js';
export { Http2BreakerInstrumentation } from './http2/http2-instrumentation.js';
export { BreakerInstrumentation, type BreakerInstrumentationConfig } from './instrumentation.js';
export { IoredisBreakerInstrumentation } from './ioredis/ioredis-instrumentation.js';
export { MongodbBreakerInstrumentation } from './mongodb/mongodb-instrumentation.js';
export { Mysql2BreakerInstrumentation } from './mysql2/mysql2-instrumentation.js';
export { NodemailerBreakerInstrumentation } from './nodemailer/nodemailer-instrumentation.js';
export { NodeRedisBreakerInstrumentation } from './node-redis/node-redis-instrumentation.js';
export { PgBreakerInstrumentation } from './pg/pg-instrumentation.js';
export { UndiciBreakerInstrumentation } from './undici/undici-instrumentation.js';

const INSTRUMENTATIONS = [
  HttpBreakerInstrumentation,
  UndiciBreakerInstrumentation,
  IoredisBreakerInstrumentation,
  NodeRedisBreakerInstrumentation,
  Mysql2BreakerInstrumentation,
  MongodbBreakerInstrumentation,
  PgBreakerInstrumentation,
  GrpcBreakerInstrumentation,
  Http2BreakerInstrumentation,
  NodemailerBreakerInstrumentation,
];

/** One of each instrumentation there is, for `instrumentations` of an OpenTelemetry SDK; they share the rules given here. */
export function getBreakerInstrumentations(config: BreakerInstrumentationConfig = {}): BreakerInstrumentation[] {
  const guard = getGuard('getBreakerInstrumentations()', config);
  return INSTRUMENTATIONS.map((Instrumentation) => new Instrumentation(config, guard));
}
