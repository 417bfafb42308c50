import type { ClientHttp2Session } from 'node:http2';
import { syncBuiltinESMExports } from 'node:module';
import type { Socket } from 'node:net';
import { promisify } from 'node:util';
import type { Guard } from '../../src/guard/guard.js';
import { verdictOfHttp2Error } from '../../src/outcomes/http2.js';
import { defaultPort, targetOfUrl, type Target } from '../../src/target.js';
import { isNonCallable } from '../../src/breaker/values.js';
import { Attachment } from '../attachment.js';
import { harmless } from '../harmless.js';
import { hiddenProperty } from '../hidden-property.js';
import { openAnswer, type OpenAnswer } from '../open-answer.js';
import { copyShape, type Patches } from '../patches.js';
import { headerOf, Http2Call, isTunnel, type Connection, type Headers, type Stream } from './http2-call.js';
import { agentOf, guardAgent, guardWaitingRequests, handedOn, requestOf, type Ask } from './http2-wrapper.js';
import { REJECTING_FAILED, RefusedStream } from './refused-stream.js';

type RequestOptions = { readonly signal?: AbortSignal } | undefined;

interface ClosableStream extends Stream {
  readonly pending: boolean;
  close(this: ClosableStream, ...args: unknown[]): unknown;
}

interface Session extends Pick<ClientHttp2Session, 'closed' | 'destroyed'> {
  request(this: Session, headers?: Headers, options?: RequestOptions, ...rest: unknown[]): Stream;
  emit(this: Session, event: string | symbol, ...args: unknown[]): boolean;
  once(event: 'error', listener: (error: unknown) => void): unknown;
  removeListener(event: 'error', listener: (error: unknown) => void): unknown;
}

interface Http2 {
  connect: Connect;
}

interface Connect {
  (this: unknown, ...args: unknown[]): Session;
  /** What `util.promisify` gives. */
  readonly [promisify.custom]?: (authority: unknown, options?: unknown) => Promise<Session>;
}

/** What is known of a session. */
interface Route extends Connection {
  readonly target: Target;
  /** Whether its connection was there, or somebody else tells that it could not be made: a request that waits for it. */
  tells: boolean;
  /** Whether undici made the session; known with its first request. */
  isOfUndici?: boolean;
}

const routes = hiddenProperty<Route>();
const calls = hiddenProperty<Http2Call>();

const GUARDING_FAILED = 'Guarding a request of HTTP/2 failed';
const FOLLOWING_FAILED = 'Following a session of HTTP/2 failed';

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
      const learn = harmless(FOLLOWING_FAILED, (session: Session, args: readonly unknown[]) => {
        const route = routeOf(session, args);
        if (route !== undefined) routes.set(session, route);
        const prototype = Object.getPrototypeOf(session) as Session;
        if (guarded.has(prototype)) return;
        guarded.add(prototype);
        this.#guardSessions(patches, prototype);
      });
      patches.replace(http2, 'connect', (connect) => {
        function guarded(this: unknown, ...args: unknown[]): Session {
          const session = connect.apply(this, args);
          learn(session, args);
          return session;
        }
        return withPromises(guarded, connect);
      });
      // Named imports of ES modules are copies.
      syncBuiltinESMExports();
      patches.onUndo(syncBuiltinESMExports);
    });
    const ask: Ask = (headers, origin) => {
      const call = new Http2Call(this, headers);
      return this.#refusalOf(call, targetOfUrl(origin)) ?? call;
    };
    this.onEachCopy(patches, '/http2-wrapper/source/agent.js', agentOf, (agent) => guardAgent(patches, agent, ask));
    this.onEachCopy(patches, '/http2-wrapper/source/client-request.js', requestOf, (request) =>
      guardWaitingRequests(patches, request),
    );
  }

  #guardSessions(patches: Patches, prototype: Session): void {
    /** @returns the call that a request is: a new one, or one that has asked while it waited for its session */
    const callOf = harmless(GUARDING_FAILED, (session: Session, headers: Headers): Http2Call | undefined => {
      const route = routes.get(session);
      const waited = handedOn(headers);
      if (waited !== undefined) {
        waited.connection = route;
        return waited.isOver ? undefined : waited;
      }
      if (route === undefined || session.closed || session.destroyed || isOfOthers(route, session, headers)) {
        return undefined;
      }
      const call = new Http2Call(this, headers);
      call.connection = route;
      return call;
    });

    /**
     * Whether a request may be rejected: Node looks at it before anybody asks for it, since one that Node does not take is no call.
     *
     * @returns the options for that
     */
    const mayBeRejected = harmless(
      REJECTING_FAILED,
      (session: Session, call: Http2Call, options: RequestOptions): [RequestOptions] | undefined => {
        // It has asked.
        if (!call.isOver) return undefined;
        const { target } = routes.get(session)!;
        if (this.isClosed(target, call)) return undefined;
        return this.guard.configOf(target, call).mode === 'observe' ? undefined : givenUp(options);
      },
    );

    /** @returns the call, or what its caller gets in the place of a stream */
    const begin = harmless(
      GUARDING_FAILED,
      (session: Session, call: Http2Call): Http2Call | Error | OpenAnswer | undefined => {
        if (!call.isOver) return call;
        const route = routes.get(session)!;
        route.tells = true;
        // What a session has said while it was idle is no word on what is asked now.
        route.timedOut = false;
        return this.#refusalOf(call, route.target) ?? (call.isOver ? undefined : call);
      },
    );

    const guarded = new WeakSet<object>();
    const follow = harmless(
      GUARDING_FAILED,
      (call: Http2Call, stream: Stream) => {
        calls.set(stream, call);
        call.isSent = true;
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
          const made = callOf(this, args[0]);
          const look = made && mayBeRejected(this, made, args[1]);
          if (look !== undefined) {
            const [headers, , ...rest] = args;
            // Nobody has the stream of a request that Node has but looked at: its error is no news.
            request.call(this, headers, look[0], ...rest).on('error', ignoreError);
          }
          const call = made && begin(this, made);
          if (call !== undefined && !(call instanceof Http2Call)) {
            return refuse(this, args[0], call, args[1]) ?? request.apply(this, args);
          }
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

    replaceEmit(
      patches,
      prototype,
      harmless(FOLLOWING_FAILED, (session: Session, event: string | symbol, argument: unknown) => {
        const route = routes.get(session);
        if (route === undefined) return;
        if (event === 'timeout') {
          route.timedOut = true;
        } else if (event === 'remoteSettings') {
          route.tells = true;
          this.signOfLife(route.target);
        } else if (event === 'error' && !route.tells) {
          route.tells = true;
          // Nobody has asked for anything yet, and nobody will on this session.
          this.evidence(route.target).settle(verdictOfHttp2Error(argument) ?? 'ignored', argument);
        }
      }),
    );
  }

  /** Asks for a call. @returns what its caller gets where it must not be made: an error, or an answer */
  #refusalOf(call: Http2Call, target: Target): Error | OpenAnswer | undefined {
    const rejection = call.enter(target);
    const config = rejection && this.responds(target, call);
    return config === undefined ? rejection : openAnswer(rejection!, config, call.method);
  }
}

/** Gives a replacement of `connect` its form for `util.promisify`: that of Node makes sessions that ours would not see. */
function withPromises(guarded: Connect, { [promisify.custom]: original }: Connect): Connect {
  if (original === undefined) return guarded;
  const promised = (authority: unknown, options: unknown) =>
    new Promise<Session>((resolve, reject) => {
      const session = guarded(authority, options, () => {
        session.removeListener('error', reject);
        resolve(session);
      });
      session.once('error', reject);
    });
  copyShape(promised, original);
  return Object.defineProperty(guarded, promisify.custom, { value: promised });
}

const GIVEN_UP = AbortSignal.abort();

/**
 * The options by which Node looks at a request that is not to be made, as at one that is given up before it is sent: nothing of
 * it reaches the connection, and headers or options that are wrong throw what they throw without us.
 *
 * @returns them alone in an array, since wrong options may be none
 */
function givenUp(options: RequestOptions): [RequestOptions] {
  // Wrong options go as they are: a copy of them would be right.
  return [areWrong(options) ? options : { ...options, signal: GIVEN_UP }];
}

const ignoreError = harmless(REJECTING_FAILED, () => {});

const refuse = harmless(
  REJECTING_FAILED,
  (session: Session, headers: Headers, outcome: Error | OpenAnswer, options: RequestOptions) =>
    new RefusedStream(session, headers, outcome, options?.signal),
);

function areWrong(options: RequestOptions): boolean {
  if (options === undefined) return false;
  if (!isNonCallable(options) || Array.isArray(options)) return true;
  const signal: unknown = options.signal;
  return Boolean(signal) && !(isNonCallable(signal) && 'aborted' in signal);
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

  const leave = harmless(
    GUARDING_FAILED,
    (stream: ClosableStream) => {
      const call = calls.get(stream);
      // Node closes it once there is a connection; where there will be none, nobody hears of it for minutes.
      if (call !== undefined && !call.isOver && stream.pending) call.leave(undefined);
    },
    (stream) => calls.get(stream)?.forgo(),
  );
  const owner = (Object.hasOwn(prototype, 'close') ? prototype : Object.getPrototypeOf(prototype)) as ClosableStream;
  patches.replace(
    owner,
    'close',
    (close) =>
      function (this: ClosableStream, ...args) {
        leave(this);
        return close.apply(this, args);
      },
  );
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
  // undici puts its own client on the sessions that it makes.
  route.isOfUndici ??= symbolOf(session, 'client') !== undefined;
  return route.isOfUndici || isTunnel(headers) || isOfGrpc(headers);
}

/** grpc-js names itself, between what applications add. Other clients of gRPC, such as connect-node, are guarded here. */
function isOfGrpc(headers: Headers): boolean {
  const type = headerOf(headers, 'content-type');
  return (
    typeof type === 'string' &&
    type.startsWith('application/grpc') &&
    String(headerOf(headers, 'user-agent')).includes('grpc-node-js/')
  );
}

function symbolOf(object: object, description: string): symbol | undefined {
  return Object.getOwnPropertySymbols(object).find((symbol) => symbol.description === description);
}

function routeOf(session: Session, [authority, options]: readonly unknown[]): Route | undefined {
  const given = (typeof options === 'object' ? (options ?? {}) : {}) as Readonly<Record<string, unknown>>;
  // Whoever brings a connection knows better than we what its errors mean.
  const isBrought = typeof given.createConnection === 'function';
  const socketPath = isBrought ? undefined : given.path;
  const target =
    typeof socketPath === 'string'
      ? ({ system: 'http', scheme: 'unix', host: socketPath, port: 0 } as const)
      : targetOf(authority, given.protocol);
  const symbol = symbolOf(session, 'socket');
  const socket = symbol && (session as unknown as Readonly<Record<symbol, Socket | undefined>>)[symbol];
  return target && { target, socket, timedOut: false, tells: isBrought };
}

/** Where a session goes: an authority is a URL, or anything that has the parts of one. */
function targetOf(authority: unknown, protocol: unknown): Target | undefined {
  if (typeof authority === 'string') return URL.canParse(authority) ? targetOfUrl(new URL(authority)) : undefined;
  if (authority instanceof URL) return targetOfUrl(authority);
  const parts = (authority ?? {}) as Partial<Record<keyof URL, string>>;
  const scheme = (parts.protocol ?? (typeof protocol === 'string' ? protocol : 'https:')).slice(0, -1);
  const host = (parts.hostname || parts.host || 'localhost').toLowerCase();
  return { system: 'http', scheme, host, port: Number(parts.port) || (defaultPort(scheme) ?? 443) };
}
