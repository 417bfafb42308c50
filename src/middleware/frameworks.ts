import type { IncomingMessage, ServerResponse } from 'node:http';
import { settleByAnswer, FAILED_ANSWER, type Answer, type Door, type Inbound } from './inbound.js';

// The frameworks are described by the little that is used of them: this package must not bring their types along.

/** Passes on to the next handler; with an argument, to the error handler. */
export type Next = (error?: unknown) => void;

/** A request as Node makes it. Express and Nest keep the address there that they were asked for. */
export type NodeRequest = IncomingMessage & { originalUrl?: string };

/** As much of a Fastify request as is used. */
export interface FastifyRequestLike {
  readonly raw: IncomingMessage;
}

/** As much of a Fastify reply as is used. */
export interface FastifyReplyLike {
  readonly raw: ServerResponse;
  code(status: number): unknown;
  headers(headers: Record<string, string>): unknown;
  send(body: string): unknown;
}

/** As much of a Fastify instance as is used. */
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

/** As much of a Koa context as is used. */
export interface KoaContextLike {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  status: number;
  body: unknown;
  set(headers: Record<string, string>): unknown;
}

/** As much of a Hono context as is used. */
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
      // Frameworks do not throw here; a `next` that is the whole of a plain server may.
      settleByThrown(door, request, error);
      throw error;
    }
  };
}

/** @param onError gets the errors that nobody else would see */
export function handlerFace(door: Door, onError: (error: unknown) => void) {
  return <Req extends IncomingMessage, Res extends ServerResponse>(
      handler: (request: Req, response: Res, next: Next) => unknown,
    ) =>
    (request: Req, response: Res, next?: Next): void => {
      const refusal = enterNode(door, request, response);
      if (refusal !== undefined) return write(response, refusal);
      const fail = (error: unknown) => {
        if (next !== undefined) {
          // A framework makes an answer of it, which then says how the request went.
          noteError(door, request, error);
          return next(error);
        }
        settleByThrown(door, request, error);
        onError(error);
        if (response.headersSent) response.destroy();
        else write(response, FAILED_ANSWER);
      };
      // Within a promise, a handler that throws at once and one that rejects are the same.
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
  // What fastify-plugin does: the hooks are for the routes of whoever registers this, not for an empty scope of its own.
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
    // On Node the response beneath tells of the end of a stream and of clients that go away; elsewhere the answer must do.
    const { outgoing } = (context.env ?? {}) as { outgoing?: ServerResponse };
    const refusal = door.enter(raw, [path], (inbound) => {
      if (outgoing !== undefined) watch(inbound, outgoing);
    });
    if (refusal !== undefined) return new Response(refusal.body, refusal);
    await next();
    const inbound = door.inboundOf(raw);
    if (inbound === undefined) return undefined;
    // Hono has made an answer of what a route throws before it comes here.
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

/** Settles a request whose route threw where no framework makes an answer of it. */
function settleByThrown(door: Door, request: object, error: unknown): void {
  const inbound = door.inboundOf(request);
  if (inbound !== undefined) inbound.permit.settleByError(error);
}

/** Settles a request when its answer has left. One that closes before has no reader: the client went away. */
function watch(inbound: Inbound, response: ServerResponse): void {
  response.once('finish', () => settleByAnswer(inbound, response.statusCode));
  response.once('close', () => {
    // `destroy(error)` is how a stream that broke in the middle of an answer ends it.
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
