import type { ClientHttp2Session } from 'node:http2';
import { syncBuiltinESMExports } from 'node:module';
import type { Socket } from 'node:net';
import type { Guard } from '../../src/guard/guard.js';
import { defaultPort, targetOfUrl, type Target } from '../../src/target.js';
import { Attachment } from '../attachment.js';
import { harmless } from '../harmless.js';
import { hiddenProperty } from '../hidden-property.js';
import { openAnswer } from '../open-answer.js';
import type { Patches } from '../patches.js';
import { headerOf, Http2Call, type Headers, type Stream } from './http2-call.js';
import { RefusedStream } from './refused-stream.js';

type RequestOptions = { readonly signal?: AbortSignal } | undefined;

interface Session extends Pick<ClientHttp2Session, 'closed' | 'destroyed'> {
  request(this: Session, headers?: Headers, options?: RequestOptions, ...rest: unknown[]): Stream;
  emit(this: Session, event: string | symbol, ...args: unknown[]): boolean;
}

interface Http2 {
  connect(this: unknown, ...args: unknown[]): Session;
}

/** What is known of a session. */
interface Route {
  readonly target: Target;
  readonly socket: Socket | undefined;
  /** Whether its connection was there, or a request waits for it that will tell. */
  tells: boolean;
  /** Whether undici made the session; known with its first request. */
  isOfUndici?: boolean;
}

const routes = hiddenProperty<Route>();
const calls = hiddenProperty<Http2Call>();

const GUARDING_FAILED = 'Guarding a request of HTTP/2 failed';

/**
 * Guards `node:http2` as a client.
 *
 * The door is `request` of a session: every request passes it, before anything is sent and whether the session is connected
 * or not. What becomes of a request is read from the events of its stream, on their way to its listeners. Where a session
 * goes, `connect` knows. Requests of gRPC and of undici are left to those who guard these: they pass here as well.
 */
export class Http2Attachment extends Attachment {
  static readonly client = 'http2';

  constructor(guard: Guard) {
    super(Http2Attachment.client, guard);
  }

  protected override patch(patches: Patches): void {
    const guarded = new WeakSet<object>();
    patches.onBuiltin('http2', (exports) => {
      const http2 = exports as Http2;
      if (guarded.has(http2)) return;
      guarded.add(http2);
      const learn = harmless('Following a session of HTTP/2 failed', (session: Session, args: readonly unknown[]) => {
        const target = targetOf(args);
        if (target !== undefined) routes.set(session, { target, socket: socketOf(session), tells: false });
        const prototype = Object.getPrototypeOf(session) as Session;
        if (guarded.has(prototype)) return;
        guarded.add(prototype);
        this.#guardSessions(patches, prototype);
      });
      patches.replace(
        http2,
        'connect',
        (connect) =>
          function (this: unknown, ...args) {
            const session = connect.apply(this, args);
            learn(session, args);
            return session;
          },
      );
      // Named imports of ES modules are copies.
      syncBuiltinESMExports();
      patches.onUndo(syncBuiltinESMExports);
    });
  }

  #guardSessions(patches: Patches, prototype: Session): void {
    /** @returns the call that a request is, or what its caller gets in the place of a stream */
    const begin = harmless(
      GUARDING_FAILED,
      (session: Session, headers: Headers, options: RequestOptions): Http2Call | RefusedStream | undefined => {
        const route = routes.get(session);
        if (route === undefined || session.closed || session.destroyed || isOfOthers(route, session, headers)) {
          return undefined;
        }
        route.tells = true;
        const { target, socket } = route;
        const call = new Http2Call(this, headers, socket);
        const rejection = call.enter(target);
        if (rejection === undefined) return call.isOver ? undefined : call;
        const config = this.responds(target, call);
        const outcome = config === undefined ? rejection : openAnswer(rejection, config, call.method);
        return new RefusedStream(session, headers, outcome, options?.signal);
      },
    );

    const guarded = new WeakSet<object>();
    const follow = harmless(
      GUARDING_FAILED,
      (call: Http2Call, stream: Stream) => {
        calls.set(stream, call);
        const streams = Object.getPrototypeOf(stream) as Stream;
        if (guarded.has(streams)) return;
        guarded.add(streams);
        watchStreams(patches, streams);
      },
      (call) => call.forgo(),
    );

    patches.replace(
      prototype,
      'request',
      (request) =>
        function (this: Session, ...args) {
          const call = begin(this, args[0], args[1]);
          if (call instanceof RefusedStream) return call;
          try {
            const stream = request.apply(this, args);
            if (call !== undefined) follow(call, stream);
            return stream;
          } catch (error) {
            call?.forgo();
            throw error;
          }
        },
    );

    const watchSession = harmless(
      'Following a session of HTTP/2 failed',
      (session: Session, event: string | symbol, argument: unknown) => {
        const route = routes.get(session);
        if (route === undefined) return;
        if (event === 'remoteSettings') {
          route.tells = true;
          this.signOfLife(route.target);
        } else if (event === 'error' && !route.tells) {
          route.tells = true;
          // Nobody has asked for anything yet, and nobody will on this session.
          this.evidence(route.target).failure(argument);
        }
      },
    );
    replaceEmit(patches, prototype, watchSession);
  }
}

function watchStreams(patches: Patches, prototype: Stream): void {
  const watch = harmless(
    GUARDING_FAILED,
    (stream: Stream, event: string | symbol, argument: unknown) => {
      const call = calls.get(stream);
      if (call === undefined || call.isOver) return;
      if (event === 'data') call.onData();
      else if (event === 'response') call.onResponse(argument as Readonly<Record<string, unknown>>);
      else if (event === 'timeout') call.onTimeout();
      else if (event === 'end') call.onEnd(stream);
      else if (event === 'error') call.onError(argument);
      else if (event === 'close') call.onClose();
    },
    (stream) => calls.get(stream)?.forgo(),
  );
  replaceEmit(patches, prototype, watch);
}

/** Tells of each event before its listeners hear of it. A listener of ours could be seen. */
function replaceEmit<Emitter extends { emit(event: string | symbol, ...args: never[]): boolean }>(
  patches: Patches,
  prototype: Emitter,
  tell: (emitter: Emitter, event: string | symbol, argument: unknown) => void,
): void {
  const parent = Object.getPrototypeOf(prototype) as { readonly emit: (...args: unknown[]) => boolean };
  const isInherited = !Object.hasOwn(prototype, 'emit');
  patches.replace(
    prototype,
    'emit',
    (emit) =>
      function (this: Emitter, ...args: [event: string | symbol, ...unknown[]]) {
        tell(this, args[0], args[1]);
        // What is inherited is looked up with every event, for those who replace it after us.
        return Reflect.apply(isInherited ? parent.emit : emit, this, args) as boolean;
      },
  );
}

/** Requests that another attachment has guarded already, and tunnels: calls inside them are guarded. */
function isOfOthers(route: Route, session: Session, headers: Headers): boolean {
  if (headerOf(headers, ':method') === 'CONNECT') return true;
  if (String(headerOf(headers, 'content-type')).startsWith('application/grpc')) return true;
  // undici puts its own client on the sessions that it makes.
  return (route.isOfUndici ??= symbolOf(session, 'client') !== undefined);
}

function socketOf(session: Session): Socket | undefined {
  const symbol = symbolOf(session, 'socket');
  return symbol && (session as unknown as Record<symbol, Socket | undefined>)[symbol];
}

function symbolOf(object: object, description: string): symbol | undefined {
  return Object.getOwnPropertySymbols(object).find((symbol) => symbol.description === description);
}

/** Where `connect` goes: its authority is a URL, or anything that has the parts of one. */
function targetOf([authority, options]: readonly unknown[]): Target | undefined {
  const { path, socketPath = path } = (typeof options === 'object' ? (options ?? {}) : {}) as Record<string, unknown>;
  if (typeof socketPath === 'string') return { system: 'http', scheme: 'unix', host: socketPath, port: 0 };
  if (typeof authority === 'string') return URL.canParse(authority) ? targetOfUrl(new URL(authority)) : undefined;
  if (authority instanceof URL) return targetOfUrl(authority);
  const parts = (authority ?? {}) as Partial<Record<keyof URL, string>>;
  const { protocol = 'https:' } = (options ?? {}) as Partial<Record<keyof URL, string>>;
  const scheme = (parts.protocol ?? protocol).slice(0, -1);
  const host = (parts.hostname || parts.host || 'localhost').toLowerCase();
  return { system: 'http', scheme, host, port: Number(parts.port) || (defaultPort(scheme) ?? 443) };
}
