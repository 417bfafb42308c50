import { AsyncResource } from 'node:async_hooks';
import { reportOnce } from '../../src/breaker/diagnostics.js';
import type { Verdict } from '../../src/breaker/verdict.js';
import { isTimeout } from '../../src/outcomes/timeouts.js';
import { isFailureOfTarget, type HeaderReader } from '../../src/outcomes/http.js';
import type { Target } from '../../src/target.js';
import type { Attachment } from '../attachment.js';
import { harmless } from '../harmless.js';
import { HttpClientCall } from '../http-client-call.js';
import { isPartOfRestart, noteAnswer } from '../restart-episodes.js';

/** What undici is told of a request; only what is read here. */
export interface DispatchOptions {
  readonly method?: unknown;
  readonly path?: unknown;
  readonly upgrade?: unknown;
  readonly servername?: unknown;
  readonly origin?: unknown;
  readonly body?: unknown;
  /** An object, names and values in turn, pairs, or something that brings pairs. */
  readonly headers?: unknown;
  readonly signal?: { readonly aborted?: boolean; readonly reason?: unknown } | null;
  /** Only on copies that we hand down: the call that the request belongs to. */
  readonly [CALL]?: UndiciCall;
}

type RawHeaders = readonly (Buffer | string | readonly (Buffer | string)[])[];
type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;
export type Abort = (reason?: unknown) => void;

export interface Controller {
  readonly aborted: boolean;
  readonly reason: unknown;
}

/** Who hears of a request's fate. undici 6 calls the first group, 8 the second, 7 translates between the two. */
export interface Handler {
  onConnect?(abort: Abort, context?: unknown): unknown;
  onUpgrade?(status: number, headers: RawHeaders | null, socket: unknown): unknown;
  onHeaders?(status: number, headers: RawHeaders, resume: () => void, statusText?: string): unknown;
  onData?(chunk: Buffer): unknown;
  onComplete?(trailers: RawHeaders | null): unknown;
  onError?(error: unknown): unknown;

  onRequestStart?(controller: Controller, context?: unknown): unknown;
  onRequestUpgrade?(controller: Controller, status: number, headers: Headers, socket: unknown): unknown;
  onResponseStart?(controller: Controller, status: number, headers: Headers, statusText?: string): unknown;
  onResponseData?(controller: Controller, chunk: Buffer): unknown;
  onResponseEnd?(controller: Controller, trailers: Headers): unknown;
  onResponseError?(controller: Controller | null, error: unknown): unknown;

  onBodySent?(chunk: unknown): unknown;
  onRequestSent?(): unknown;
  onResponseStarted?(): unknown;
}

export const WATCHING_FAILED = 'Watching an undici request failed';

/** The options of a request carry its call down from Pool to Client: a copy with this, which survives `{ ...options }`. */
export const CALL = Symbol('otel-breaker.call');

/**
 * The call that options carry. Asked before it is read: undici's API gives the options of each request a shape of their own,
 * of which V8 remembers nothing, and there it takes four times as long to read what is not there.
 */
export function carriedBy(options: DispatchOptions): UndiciCall | undefined {
  return Reflect.has(options, CALL) ? options[CALL] : undefined;
}

/** Who ends a request once it is being sent: what undici gave its handler to do so with. */
type Sending = Abort | Controller;

/** What stands between undici and a handler, and tells a call what it sees on its way. */
interface Watch {
  readonly handler: Handler;
  readonly call: UndiciCall;
  sending: Sending | undefined;
  /**
   * What the handler is given to end the request with: the same while it waits and while it is sent. Bound rather than a
   * closure: 48 bytes in the place of 104.
   */
  ender: Abort | undefined;
}

/**
 * One attempt, and what has become of it so far. Its subclasses have the methods of its handler, in whose place it is handed
 * to undici: an object of its own for that would be one more for each call.
 */
export class UndiciCall extends HttpClientCall implements Watch {
  /** The lowest dispatcher that has it by now, in the end the client that sends it; then what it was sent on. */
  private via: object | undefined = undefined;
  /** Whoever watches it last; `undefined` while it waits to be sent. */
  sending: Sending | undefined = undefined;
  ender: Abort | undefined = undefined;
  /** Our own process ended it, for this reason. */
  private ending: { readonly reason: unknown } | undefined = undefined;

  constructor(
    attachment: Attachment,
    /** Where it goes; `undefined` where the dispatchers below are for another place, a proxy. */
    readonly sentTo: Target | undefined,
    readonly options: DispatchOptions,
    readonly handler: Handler,
  ) {
    super(attachment);
  }

  /** Whether it can be handed to undici in the place of its handler. */
  get isHandler(): boolean {
    return this.constructor !== UndiciCall;
  }

  get call(): this {
    return this;
  }

  /** What a client writes to at the moment: each copy of undici has its own way to tell. */
  protected socketOf(_dispatcher: object): object | undefined {
    return undefined;
  }

  override spanName(): string {
    return this.method;
  }

  get method(): string {
    const { method } = this.options;
    return typeof method === 'string' ? method : 'GET';
  }

  get path(): string | undefined {
    const { path } = this.options;
    return typeof path === 'string' ? path : undefined;
  }

  /** A header of the request. */
  header(name: string): unknown {
    return headerOf(this.options.headers, name);
  }

  /** A dispatcher has it that hands it on or sends it. */
  passTo(dispatcher: object): void {
    try {
      if (this.isWaiting) this.via = dispatcher;
    } catch (error) {
      this.unwatch(error);
    }
  }

  /** It is being sent: its connection is there, and secured where it is to be. */
  start(sending: Sending): void {
    try {
      this.sending = sending;
      this.via = this.via && this.socketOf(this.via);
      if (this.sentTo?.scheme === 'https') this.showsLife(this.sentTo);
    } catch (error) {
      this.unwatch(error);
    }
  }

  /** Whether it waits for a connection. */
  get isWaiting(): boolean {
    return this.sending === undefined && !this.isOver;
  }

  noteAbort(reason: unknown): void {
    this.ending ??= { reason };
  }

  /** Headers came, read by `readerOf`. */
  answer<Headers>(
    status: number,
    headers: Headers,
    readerOf: (headers: Headers) => HeaderReader,
    reasonPhrase?: string,
  ): void {
    try {
      if (!this.answerByStatus(status)) this.answerByHeaders(status, readerOf(headers), reasonPhrase);
    } catch (error) {
      this.unwatch(error);
    }
  }

  private answerByHeaders(status: number, header: HeaderReader, reasonPhrase?: string): void {
    // 1xx, which may come before the answer.
    if (status < 200) return;
    if (this.via !== undefined) noteAnswer(this.via);
    this.judgeHeaders(status, header, reasonPhrase);
  }

  /** As `answerByHeaders`, of a status that says all there is to know. @returns whether it does */
  private answerByStatus(status: number): boolean {
    if (status < 200 || !this.judgeStatus(status)) return false;
    if (this.via !== undefined) noteAnswer(this.via);
    return true;
  }

  upgrade(status: number, header: HeaderReader): void {
    // A CONNECT ends here with any status, an upgrade with 101 only.
    if (status !== 101) this.answerByHeaders(status, header);
    this.succeed();
  }

  /** It ended with this error. */
  endBy(error: unknown): void {
    if (this.isOver) return;
    const { sending } = this;
    if (typeof sending === 'object' && sending.aborted) this.noteAbort(sending.reason);
    // undici ends a refused upgrade with an error of its own, which would be taken for one of the connection.
    if (this.answeredWell && isSwitch(this.options)) this.succeed();
    else if (this.isAbort(error)) this.leave(this.ending?.reason ?? this.options.signal?.reason ?? error);
    else if (this.isOfBody(error) || this.isPartOfRestart(error)) this.forgo();
    else this.fail(error);
  }

  /** Its caller ended it: because time ran out, since it had what it wanted, or for reasons of its own. */
  leave(reason: unknown): void {
    if (isTimeout(reason)) this.end('timeout', reason);
    else if (this.answeredWell) this.succeed();
    else this.abandon(reason);
  }

  protected override verdictOf(error: unknown): Verdict {
    if (isTimeout(error)) return 'timeout';
    return isFailureOfTarget(error) ? 'failure' : 'ignored';
  }

  // `private`, not `#`: for private methods of a class, each of its objects carries one field more.
  private isAbort(error: unknown): boolean {
    const { signal } = this.options;
    return this.ending !== undefined || (signal?.aborted === true && signal.reason === error);
  }

  /** Whether a request body that could not be read ended it. */
  private isOfBody(error: unknown): boolean {
    const { errored } = (this.options.body ?? {}) as { readonly errored?: unknown };
    return error instanceof Error && errored === error;
  }

  /** The server closed an idle connection just as we took it from the pool: every client tries again, and nothing is wrong. */
  private isPartOfRestart(error: unknown): boolean {
    if (this.answeredWell) return false;
    const { code, socket } = error as { code?: unknown; socket?: { readonly bytesRead?: number } | null };
    if (code !== 'UND_ERR_SOCKET' && code !== 'ECONNRESET' && code !== 'EPIPE') return false;
    const { breaker } = this.permit;
    const connection = this.sending && this.via;
    if (connection !== undefined) return isPartOfRestart(breaker, connection);
    // Sent by a client that a proxy agent keeps to itself.
    return isPartOfRestart(breaker, undefined, (socket?.bytesRead ?? 0) > 0);
  }

  private unwatch(error: unknown): void {
    reportOnce(WATCHING_FAILED, error);
    this.forgo();
  }
}

/** Whether a request wants another protocol, and no answer. */
export function isSwitch({ method, upgrade }: DispatchOptions): boolean {
  return Boolean(upgrade) || method === 'CONNECT';
}

/** One of the headers that a caller gives, in each form that undici takes; named in lower case. */
function headerOf(headers: unknown, name: string): unknown {
  if (headers === null || typeof headers !== 'object') return undefined;
  const isNamed = (key: unknown) => String(key).toLowerCase() === name;
  if (isArray(headers) && !isArray(headers[0])) {
    const at = headers.findIndex((key, index) => index % 2 === 0 && isNamed(key));
    return at === -1 ? undefined : headers[at + 1];
  }
  const pairs = Symbol.iterator in headers ? (headers as Iterable<readonly unknown[]>) : Object.entries(headers);
  for (const [key, value] of pairs) if (isNamed(key)) return value;
  return undefined;
}

function rawHeader(headers: RawHeaders | null): HeaderReader {
  return (name) => {
    if (!isArray(headers)) return undefined;
    const at = headers.findIndex((key, index) => index % 2 === 0 && String(key).toLowerCase() === name);
    return at === -1 ? undefined : first(headers[at + 1]);
  };
}

function parsedHeader(headers: Headers | null | undefined): HeaderReader {
  return (name) => first(headers?.[name]);
}

function first(value: RawHeaders[number] | Headers[string]): string | undefined {
  const one = isArray(value) ? value[0] : value;
  return one === undefined ? undefined : String(one);
}

// `Array.isArray` makes `any[]` of a readonly array.
function isArray(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

/** Watches for a call where something between its dispatchers has put another handler in the place of its own. */
class LaterWatch implements Watch {
  sending: Sending | undefined = undefined;
  ender: Abort | undefined = undefined;

  constructor(
    readonly handler: Handler,
    readonly call: UndiciCall,
  ) {}
}

function endRequest(this: Watch, reason?: unknown): void {
  // Not called on us: undici's function must not see who keeps it.
  const { sending } = this;
  if (typeof sending !== 'function') return void leaveWaiting(this, reason);
  noteAbort(this.call, reason);
  sending(reason);
}

type Watching = {
  readonly [Method in keyof Handler]-?: (this: Watch, ...args: Parameters<Required<Handler>[Method]>) => unknown;
};

const forgo = (call: UndiciCall): void => call.forgo();

/**
 * Whoever waits for a connection has left. Most handlers of undici that have been told how to abort keep no reason of their own, so
 * that their request would be sent once the connection is there.
 */
const leaveWaiting = harmless(
  WATCHING_FAILED,
  (watch: Watch & Handler, reason: unknown) => {
    if (watch.onConnect !== undefined) hide(watch, 'onConnect', abortOnConnect(reason));
    watch.call.leave(reason);
  },
  (watch) => watch.call.forgo(),
);
const noteAbort = harmless(WATCHING_FAILED, (call: UndiciCall, reason: unknown) => call.noteAbort(reason));
const noteError = harmless(WATCHING_FAILED, (call: UndiciCall, error: unknown) => call.endBy(error), forgo);
const upgrade = harmless(
  WATCHING_FAILED,
  (call: UndiciCall, status: number, headers: RawHeaders | null) => call.upgrade(status, rawHeader(headers)),
  forgo,
);
const upgradeParsed = harmless(
  WATCHING_FAILED,
  (call: UndiciCall, status: number, headers: Headers) => call.upgrade(status, parsedHeader(headers)),
  forgo,
);

// Arguments are named, not spread: these run for every request, some for every chunk.
const watching: Watching = {
  onConnect(abort, context) {
    this.call.start(abort);
    this.sending = abort;
    const ender = (this.ender ??= endRequest.bind(this));
    // Clients send no context, and a handler may count its arguments.
    return arguments.length < 2 ? this.handler.onConnect!(ender) : this.handler.onConnect!(ender, context);
  },
  onUpgrade(status, headers, socket) {
    upgrade(this.call, status, headers);
    return this.handler.onUpgrade!(status, headers, socket);
  },
  onHeaders(status, headers, resume, statusText) {
    this.call.answer(status, headers, rawHeader, statusText);
    return this.handler.onHeaders!(status, headers, resume, statusText);
  },
  onData(chunk) {
    return this.handler.onData!(chunk);
  },
  onComplete(trailers) {
    this.call.succeed();
    return this.handler.onComplete!(trailers);
  },
  onError(error) {
    noteError(this.call, error);
    return this.handler.onError!(error);
  },

  onRequestStart(controller, context) {
    this.call.start(controller);
    return this.handler.onRequestStart!(controller, context);
  },
  onRequestUpgrade(controller, status, headers, socket) {
    upgradeParsed(this.call, status, headers);
    return this.handler.onRequestUpgrade!(controller, status, headers, socket);
  },
  onResponseStart(controller, status, headers, statusText) {
    this.call.answer(status, headers, parsedHeader, statusText);
    return this.handler.onResponseStart!(controller, status, headers, statusText);
  },
  onResponseData(controller, chunk) {
    return this.handler.onResponseData!(controller, chunk);
  },
  onResponseEnd(controller, trailers) {
    this.call.succeed();
    return this.handler.onResponseEnd!(controller, trailers);
  },
  onResponseError(controller, error) {
    if (controller?.aborted === true) noteAbort(this.call, controller.reason);
    noteError(this.call, error);
    return this.handler.onResponseError!(controller, error);
  },

  onBodySent(chunk) {
    return this.handler.onBodySent!(chunk);
  },
  onRequestSent() {
    return this.handler.onRequestSent!();
  },
  onResponseStarted() {
    return this.handler.onResponseStarted!();
  },
};

function abortOnConnect(reason: unknown): Watching['onConnect'] {
  return function (...args) {
    watching.onConnect.apply(this, args);
    const [abort] = args;
    abort(reason);
  };
}

const METHODS = Object.keys(watching) as (keyof Handler)[];

/** A set that an unknown kind of method makes impossible. */
const IMPOSSIBLE = 1 << METHODS.length;

function bit(method: unknown, index: number): number {
  if (method === undefined) return 0;
  return typeof method === 'function' ? 1 << index : IMPOSSIBLE;
}

/**
 * Which methods a handler has, a bit for each in the order of `METHODS`. By name each, which is ten times as fast as by a
 * variable, and without an array of them.
 */
function methodsOf(handler: Readonly<Partial<Record<keyof Handler, unknown>>>): number {
  return (
    bit(handler.onConnect, 0) |
    bit(handler.onUpgrade, 1) |
    bit(handler.onHeaders, 2) |
    bit(handler.onData, 3) |
    bit(handler.onComplete, 4) |
    bit(handler.onError, 5) |
    bit(handler.onRequestStart, 6) |
    bit(handler.onRequestUpgrade, 7) |
    bit(handler.onResponseStart, 8) |
    bit(handler.onResponseData, 9) |
    bit(handler.onResponseEnd, 10) |
    bit(handler.onResponseError, 11) |
    bit(handler.onBodySent, 12) |
    bit(handler.onRequestSent, 13) |
    bit(handler.onResponseStarted, 14)
  );
}

type Class<Made, Args extends unknown[]> = new (...args: Args) => Made;
type CallClass = Class<UndiciCall, ConstructorParameters<typeof UndiciCall>>;

/** Makes the calls of one copy of undici. */
export class UndiciCalls {
  readonly #classes = new Map<number, CallClass>();
  // Of the handler before, which mostly was of the same kind.
  #methods = -1;
  #class: CallClass = UndiciCall;

  /** @param socketOf what a client writes to at the moment */
  constructor(private readonly socketOf: (dispatcher: object) => object | undefined) {}

  make(attachment: Attachment, sentTo: Target | undefined, options: DispatchOptions, handler: Handler): UndiciCall {
    const methods = methodsOf(handler);
    if (methods !== this.#methods) {
      this.#class = this.#classFor(methods);
      this.#methods = methods;
    }
    return new this.#class(attachment, sentTo, options, handler);
  }

  #classFor(methods: number): CallClass {
    // undici will say what is wrong with the handler.
    if (methods >= IMPOSSIBLE) return UndiciCall;
    let found = this.#classes.get(methods);
    if (found === undefined) {
      // With a constructor written out: V8 makes an array of its arguments for one that is not.
      found = class extends UndiciCall {
        constructor(attachment: Attachment, sentTo: Target | undefined, options: DispatchOptions, handler: Handler) {
          super(attachment, sentTo, options, handler);
        }
      };
      addMethods(found.prototype as object, methods);
      hide(found.prototype as object, 'socketOf', this.socketOf);
      this.#classes.set(methods, found);
    }
    return found;
  }
}

type WatchClass = Class<LaterWatch, ConstructorParameters<typeof LaterWatch>>;
const watchClasses = new Map<number, WatchClass>();

/**
 * What undici is to be handed so that a call hears of what its handler hears of. It has the methods that the handler has and
 * no other: by which ones are there, undici tells the generations apart and finds handlers that cannot do.
 *
 * @returns the handler itself where it tells the call already, and where undici does not take it, so that undici says so
 */
export function watched(handler: Handler, call: UndiciCall): Handler {
  if (call.isOver || callOfWatch(handler) === call) return handler;
  if (call.handler === handler && call.isHandler) return call as Handler;
  const methods = methodsOf(handler);
  if (methods >= IMPOSSIBLE) {
    call.forgo();
    return handler;
  }
  let Class = watchClasses.get(methods);
  if (Class === undefined) {
    Class = class extends LaterWatch {};
    addMethods(Class.prototype as object, methods);
    watchClasses.set(methods, Class);
  }
  return new Class(handler, call) as Handler;
}

// By name, since each copy of undici has classes of its own.
const OWN_HANDLERS: ReadonlySet<string> = new Set([
  'RequestHandler',
  'StreamHandler',
  'PipelineHandler',
  'ConnectHandler',
  'UpgradeHandler',
]);

/**
 * Hears of it when the caller of a request leaves that waits for its connection. undici itself would tell only when that
 * connection is there, or when it has given up making it, ten seconds later.
 *
 * undici's own handlers are told early how to abort, and then again by undici, which they survive; others may not.
 */
export const hearOfLeaving = harmless(WATCHING_FAILED, (watch: Handler) => {
  if (!isWatch(watch) || !watch.call.isWaiting) return;
  const { handler } = watch;
  const isOfUndici = isOwn(handler);
  if (!isOfUndici && !isOfFetch(handler)) return;
  const ender = (watch.ender ??= endRequest.bind(watch));
  if (isOfUndici || handler.onRequestStart === undefined) handler.onConnect?.(ender);
  else handler.onRequestStart({ aborted: false, reason: undefined, abort: ender } as Controller);
});

// The class of undici's own that came last: asking for the name of one takes longer than all else here.
let ownClass: unknown;

function isOwn(handler: Handler): boolean {
  const { constructor } = handler;
  if (constructor === ownClass) return true;
  if (!(handler instanceof AsyncResource) || !OWN_HANDLERS.has(constructor.name)) return false;
  ownClass = constructor;
  return true;
}

function isOfFetch(handler: Handler): boolean {
  const { body, abort, onResponseStarted } = handler as {
    body?: unknown;
    abort?: unknown;
    onResponseStarted?: unknown;
  };
  const isPlain = Object.getPrototypeOf(handler) === Object.prototype;
  return isPlain && body === null && abort === null && typeof onResponseStarted === 'function';
}

function isWatch(handler: object): handler is Watch {
  return handler instanceof UndiciCall || handler instanceof LaterWatch;
}

/** The call whose watch a handler is. */
export function callOfWatch(handler: Handler): UndiciCall | undefined {
  return isWatch(handler) ? handler.call : undefined;
}

function addMethods(prototype: object, methods: number): void {
  for (const [index, method] of METHODS.entries()) {
    if ((methods & (1 << index)) !== 0) hide(prototype, method, watching[method]);
  }
}

function hide(prototype: object, key: string, value: unknown): void {
  Object.defineProperty(prototype, key, { configurable: true, writable: true, enumerable: false, value });
}
