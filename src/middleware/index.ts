// What `otel-breaker/middleware` exports.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
import { Door, type DoorOptions } from './inbound.js';
import {
  fastifyFace,
  handlerFace,
  honoFace,
  koaFace,
  nodeFace,
  type FastifyLike,
  type HonoContextLike,
  type KoaContextLike,
  type Next,
  type NodeRequest,
} from './frameworks.js';

export { healthChecks } from './inbound.js';
export type {
  FastifyLike,
  FastifyReplyLike,
  FastifyRequestLike,
  HonoContextLike,
  KoaContextLike,
  Next,
  NodeRequest,
} from './frameworks.js';

/** Which breaker guards the routes, and which requests pass unguarded. */
export interface CircuitBreakerMiddlewareOptions extends DoorOptions {
  /** Gets the errors of a `handler` on a plain `http` server, which are answered with 502. Default: prints them, as Express does. */
  onError?: (error: unknown) => void;
}

/**
 * A circuit breaker before routes, with one form for each framework.
 *
 * | framework | use |
 * |---|---|
 * | Express 4 and 5, Connect | `app.use(guard)`, `app.get(path, guard, route)` |
 * | NestJS | `app.use(guard)`, `consumer.apply(guard).forRoutes(…)` |
 * | Fastify 5 | `app.register(guard.fastify)`: for the routes of that scope |
 * | Koa 3 | `app.use(guard.koa)` |
 * | Hono | `app.use(guard.hono)` |
 * | `node:http` | `createServer(guard.handler(route))` |
 */
export interface CircuitBreakerMiddleware {
  (request: NodeRequest, response: ServerResponse, next: Next): void;

  readonly breaker: CircuitBreaker;
  /**
   * A request listener, or a route of Express 4, that may be asynchronous. Where the rejection of a promise would leave
   * the request hanging, it goes to `next`; on a plain server, which has none, it is answered with 502.
   */
  readonly handler: <Req extends IncomingMessage, Res extends ServerResponse>(
    route: (request: Req, response: Res, next: Next) => unknown,
  ) => (request: Req, response: Res, next?: Next) => void;
  /** A plugin. */
  readonly fastify: (instance: FastifyLike, options: unknown, done: () => void) => void;
  readonly koa: (context: KoaContextLike, next: () => Promise<unknown>) => Promise<void>;
  readonly hono: (context: HonoContextLike, next: () => Promise<void>) => Promise<Response | undefined>;
}

function create({ onError = console.error, ...options }: CircuitBreakerMiddlewareOptions): CircuitBreakerMiddleware {
  const door = new Door(options);
  return Object.assign(nodeFace(door), {
    breaker: door.breaker,
    handler: handlerFace(door, onError),
    fastify: fastifyFace(door),
    koa: koaFace(door),
    hono: honoFace(door),
  });
}

/** A guard for routes that call other services: the preset `httpApi`. */
export function forHttpApi(name: string): CircuitBreakerMiddleware {
  return create({ name, preset: 'httpApi' });
}

/** A guard for routes that work through an LLM service: the preset `llmService`. */
export function forLlmService(name: string): CircuitBreakerMiddleware {
  return create({ name, preset: 'llmService' });
}

/** A guard with the default options. */
export function withDefaults(name: string): CircuitBreakerMiddleware {
  return create({ name });
}

/**
 * Guards routes whose work keeps failing: while the circuit is open, a request is answered with `503`, `Retry-After`
 * (whole seconds, 1 or more) and `{ "error": { "code": "CIRCUIT_BREAKER_OPEN", "message": …, "status": 503 } }`.
 *
 * Answers with one of `failureStatuses` (5xx) and thrown errors are failures; a client that goes away, 408 and 429 give
 * no verdict. A request ends when its answer has been sent, streams included (Hono elsewhere than on Node: when its
 * route returns). Health checks pass, whatever the state: see `skip`.
 *
 * `forHttpApi(name)`, `forLlmService(name)` and `withDefaults(name)` are short for the presets; they are also properties
 * of this function.
 *
 * @throws ConfigError naming every option that is unknown or has a bad value
 */
export const circuitBreakerMiddleware = Object.assign(
  (options: CircuitBreakerMiddlewareOptions): CircuitBreakerMiddleware => create(options),
  { forHttpApi, forLlmService, withDefaults },
);
