import type { IncomingMessage, ServerResponse } from 'node:http';
import { settleByAnswer, FAILED_ANSWER, type Answer, type Door, type Inbound } from './inbound.js';

// We declare only the parts of the frameworks that we use, so that this package does not depend on their types.

/** Calls the next handler or, with an argument, the error handler. */
export type Next = (error?: unknown) => void;

/** A request of Node. Express and Nest add `originalUrl`. */
export type NodeRequest = IncomingMessage & { originalUrl?: string };

/** The part of a Fastify request that we use. */
export interface FastifyRequestLike {
  readonly raw: IncomingMessage;
}

/** The part of a Fastify reply that we use. */
export interface FastifyReplyLike {
  readonly raw: ServerResponse;
  code(status: number): unknown;
  headers(headers: Record<string, string>): unknown;
  send(body: string): unknown;
}

/** The part of a Fastify instance that we use. */
export interface FastifyLike {
  addHook(
    name: 'onRequest',
    hook: (request: FastifyRequestLike, reply: FastifyReplyLike, done: () => void) => void,
  ): unknown;
  addHook(
    name: 'onError',
    hook: (request: FastifyRequestLike, reply: FastifyReplyLike, error: Error, done: () => void) => void,
  ): unknown;
}

/** The part of a Koa context that we use. */
export interface KoaContextLike {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  status: number;
  body: unknown;
  set(headers: Record<string, string>): unknown;
}

/** The part of a Hono context that we use. */
export interface HonoContextLike {
  readonly req: { readonly path: string; readonly raw: Request };
  readonly res: Response;
  readonly error?: Error | undefined;
  readonly env: unknown;
}

/** Express 4 and 5, Nest, Connect, and a plain `http` server that calls `next` itself. */
export function nodeFace(door: Door) {
  return (request: NodeRequest, response: ServerResponse, next: Next): void => {
    const refusal = enterNode(door, request, response);
    if (refusal !== undefined) return write(response, refusal);
    try {
      next();
    } catch (error) {
      // A framework's `next` does not throw. On a plain server, `next` is the application's own function and may throw.
      settleByThrown(door, request, error);
      throw error;
    }
  };
}

/** @param onError gets the errors that would be lost otherwise */
export function handlerFace(door: Door, onError: (error: unknown) => void) {
  return <Req extends IncomingMessage, Res extends ServerResponse>(
      handler: (request: Req, response: Res, next: Next) => unknown,
    ) =>
    (request: Req, response: Res, next?: Next): void => {
      const refusal = enterNode(door, request, response);
      if (refusal !== undefined) return write(response, refusal);
      const fail = (error: unknown) => {
        if (next !== undefined) {
          // The framework answers with an error; the status of that answer settles the request.
          noteError(door, request, error);
          return next(error);
        }
        settleByThrown(door, request, error);
        onError(error);
        if (response.headersSent) response.destroy();
        else write(response, FAILED_ANSWER);
      };
      // Inside a promise, a synchronous throw becomes a rejection too.
      void new Promise((resolve) => resolve(handler(request, response, next ?? (() => {})))).catch(fail);
    };
}

export function fastifyFace(door: Door) {
  const plugin = (instance: FastifyLike, _options: unknown, done: () => void): void => {
    instance.addHook('onRequest', (request, reply, go) => {
      const refusal = enterNode(door, request.raw, reply.raw);
      if (refusal === undefined) return go();
      reply.code(refusal.status);
      reply.headers({ ...refusal.headers });
      reply.send(refusal.body);
    });
    instance.addHook('onError', (request, _reply, error, go) => {
      noteError(door, request.raw, error);
      go();
    });
    done();
  };
  // As fastify-plugin does: without this, the hooks would apply to a new, empty scope.
  return Object.assign(plugin, {
    [Symbol.for('skip-override')]: true,
    [Symbol.for('fastify.display-name')]: 'otel-breaker',
  });
}

export function koaFace(door: Door) {
  return async (context: KoaContextLike, next: () => Promise<unknown>): Promise<void> => {
    const refusal = enterNode(door, context.req, context.res);
    if (refusal !== undefined) {
      context.status = refusal.status;
      context.body = refusal.body;
      context.set({ ...refusal.headers });
      return;
    }
    try {
      await next();
    } catch (error) {
      noteError(door, context.req, error);
      throw error;
    }
  };
}

export function honoFace(door: Door) {
  return async (context: HonoContextLike, next: () => Promise<void>): Promise<Response | undefined> => {
    const { path, raw } = context.req;
    // On Node, the underlying response shows the end of a stream and clients that go away. Elsewhere, use the answer.
    const { outgoing } = (context.env ?? {}) as { outgoing?: ServerResponse };
    const refusal = door.enter(raw, [path], (inbound) => {
      if (outgoing !== undefined) watch(inbound, outgoing);
    });
    if (refusal !== undefined) return new Response(refusal.body, refusal);
    await next();
    const inbound = door.inboundOf(raw);
    if (inbound === undefined) return undefined;
    // Hono has turned an error of the route into an answer before this point.
    inbound.error = context.error;
    if (outgoing !== undefined) return undefined;
    if (raw.signal.aborted) inbound.permit.ignore();
    else settleByAnswer(inbound, context.res.status);
    return undefined;
  };
}

function enterNode(door: Door, request: NodeRequest, response: ServerResponse): Answer | undefined {
  return door.enter(request, pathsOf(request), (inbound) => watch(inbound, response));
}

function noteError(door: Door, request: object, error: unknown): void {
  const inbound = door.inboundOf(request);
  if (inbound !== undefined) inbound.error = error;
}

/** Settles a request whose route threw, where no framework turns the error into an answer. */
function settleByThrown(door: Door, request: object, error: unknown): void {
  const inbound = door.inboundOf(request);
  if (inbound !== undefined) inbound.permit.settleByError(error);
}

/** Settles a request when its answer has been sent. If it closes before that, the client went away. */
function watch(inbound: Inbound, response: ServerResponse): void {
  // The client went away while something before us was at work, and no event follows.
  if (response.closed) return inbound.permit.ignore();
  response.once('finish', () => settleByAnswer(inbound, response.statusCode));
  response.once('close', () => {
    // A stream that breaks in the middle of an answer ends it by `destroy(error)`.
    if (response.errored) inbound.permit.settleByError(response.errored);
    else inbound.permit.ignore();
  });
}

function write(response: ServerResponse, { status, headers, body }: Answer): void {
  response.writeHead(status, { ...headers });
  response.end(body);
}

function pathsOf({ url, originalUrl }: NodeRequest): string[] {
  const paths = [pathOf(url)];
  if (originalUrl !== undefined && originalUrl !== url) paths.push(pathOf(originalUrl));
  return paths;
}

function pathOf(url = '/'): string {
  return url.split('?', 1)[0]!;
}
