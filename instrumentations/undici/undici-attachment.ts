import { channel, type Channel } from 'node:diagnostics_channel';
import { EventEmitter } from 'node:events';
import { reportOnce } from '../../src/breaker/diagnostics.js';
import { isNonCallable, ownerOf } from '../../src/breaker/values.js';
import type { Guard } from '../../src/guard/guard.js';
import { LastingTarget, targetName, targetOfUrl, type Target } from '../../src/target.js';
import { Attachment } from '../attachment.js';
import { harmless } from '../harmless.js';
import { hiddenProperty, OnAnother } from '../hidden-property.js';
import { isIntercepted } from '../mocks.js';
import type { Patches } from '../patches.js';
import {
  CALL,
  callOfWatch,
  carriedBy,
  hearOfLeaving,
  UndiciCall,
  UndiciCalls,
  watched,
  WATCHING_FAILED,
  type DispatchOptions,
  type Handler,
} from './handler.js';
import type * as Refusals from './refusal.js';
import { queueMicrotask } from '../../src/breaker/real-time.js';

/** What all of undici's dispatchers inherit from: `DispatcherBase`. */
interface Dispatcher {
  readonly closed: boolean;
  readonly destroyed: boolean;
  dispatch(this: Dispatcher, options: DispatchOptions, handler: Handler): boolean;
}

/** One copy of undici: an npm package, or the one within Node. Their symbols differ, though their names are the same. */
class UndiciCopy {
  #url: symbol | undefined;
  #socket: symbol | undefined;
  #factory: symbol | undefined;
  #clientsArePlain: boolean | undefined;

  /** @param base where `dispatch` is guarded */
  constructor(private readonly base: object) {}

  /** The origin that a dispatcher is for; those that serve several have none. */
  urlOf(dispatcher: object): URL | undefined {
    const url = this.#read(dispatcher, (this.#url ??= ownSymbol(dispatcher, 'url')));
    return url instanceof URL ? url : undefined;
  }

  /** What a client writes to at the moment. */
  readonly #socketOf = (dispatcher: object): object | undefined =>
    this.#read(dispatcher, (this.#socket ??= ownSymbol(dispatcher, 'socket'))) as object | undefined;

  readonly calls = new UndiciCalls(this.#socketOf);

  /**
   * Whether a dispatcher hands a request and its handler on as they are, or sends it itself. Not one with a factory of the
   * application or with interceptors of its own (undici 5 and 6), which may put something in between.
   */
  isPlain(dispatcher: object): boolean {
    const { name } = dispatcher.constructor;
    if (name === 'Client') {
      // Somebody may have wrapped the `dispatch` of clients, and hand on what they like.
      const isPlain = ownerOf(dispatcher, 'dispatch' as never) === this.base;
      this.#clientsArePlain = isPlain && this.#clientsArePlain !== false;
      return isPlain;
    }
    if (name !== 'Pool' || (dispatcher as { interceptors?: ArrayLike<unknown> }).interceptors?.length) return false;
    const factory = this.#read(dispatcher, (this.#factory ??= ownSymbol(dispatcher, 'factory')));
    return typeof factory === 'function' && factory.name === 'defaultFactory';
  }

  /** Whether all its clients are such, as far as there have been any. */
  get clientsArePlain(): boolean {
    return this.#clientsArePlain === true;
  }

  #read(dispatcher: object, key: symbol | undefined): unknown {
    return key === undefined ? undefined : ((dispatcher as Record<symbol, unknown>)[key] ?? undefined);
  }
}

function ownSymbol(object: object, description: string): symbol | undefined {
  return Object.getOwnPropertySymbols(object).find((symbol) => symbol.description === description);
}

// Through these, several copies of undici share one dispatcher. Version 8 reads the second, all others the first.
const GLOBAL_DISPATCHERS = [Symbol.for('undici.globalDispatcher.1'), Symbol.for('undici.globalDispatcher.2')];

const globals = globalThis as Record<symbol, unknown>;

/** What there is to know of a dispatcher. */
interface Knowledge {
  /** `undefined` where it serves several origins. */
  target: LastingTarget | undefined;
  /** Whether that is an address rather than a name. */
  readonly isAddress: boolean;
  readonly isPlain: boolean;
}

/** Of those that leave each request to a dispatcher for one origin. */
const SERVES_SEVERAL: Knowledge = { target: undefined, isAddress: false, isPlain: false };
/** Of those that we do not see handing a request on. */
const IS_OPAQUE: Knowledge = { target: undefined, isAddress: false, isPlain: false };

class Known extends OnAnother {
  #knowledge: Knowledge | undefined;

  /** @returns nothing where a dispatcher comes for the first time */
  static of(dispatcher: object): Knowledge | undefined {
    // Not asked with `in` before it is read: agents, pools and clients, each before and after, are more shapes than V8
    // remembers in one place.
    try {
      return (dispatcher as Known).#knowledge;
    } catch {
      return undefined;
    }
  }

  static set(dispatcher: object, knowledge: Knowledge): void {
    new Known(dispatcher).#knowledge = knowledge;
  }
}

/** These serve several origins, so the request names its own, and hand it to clients for the proxy, or in a way not seen here. */
const PLAIN_PROXY = 'Http1ProxyWrapper';
const OPAQUE: ReadonlySet<string> = new Set([PLAIN_PROXY, 'Socks5ProxyAgent']);
/** Of agents for proxies, the proxy as a target is named. */
const proxies = hiddenProperty<string>();

// A request that nothing guards carries this down, so that no dispatcher below asks again.
const NOBODYS = new UndiciCall(undefined as never, undefined, {}, {});

/**
 * Guards `undici`, every copy of it, and so the global `fetch`, `WebSocket` and `EventSource`.
 *
 * The door is `DispatcherBase.dispatch` at the first dispatcher that is for one origin, in most cases a Pool. Above it,
 * interceptors, retries, redirects, proxies, balancing and mocks have had their say, so that what arrives is one attempt
 * at one target; below it there are queues, sockets and DNS, none of which a rejected call touches.
 */
export class UndiciAttachment extends Attachment {
  static readonly client = 'undici';

  constructor(guard: Guard) {
    super(UndiciAttachment.client, guard);
  }

  protected override patch(patches: Patches): void {
    const door: Door = { attachment: this, going: undefined, proxy: undefined };
    const guarded = new WeakSet<object>();
    const guardCopy = (base: Dispatcher) => {
      if (guarded.has(base)) return;
      guarded.add(base);
      const copy = new UndiciCopy(base);
      patches.replace(base, 'dispatch', (dispatch) => guardedDispatch(copy, door, dispatch));
    };
    const guardCopyOf = (object: unknown) => {
      const base = dispatcherBase(object);
      if (base !== undefined) guardCopy(base);
    };

    for (const file of ['/lib/dispatcher/dispatcher-base.js', '/lib/dispatcher-base.js']) {
      patches.onModule(file, (exports) => guardCopyOf((exports as { prototype?: unknown } | null)?.prototype));
    }
    this.onEachCopy(patches, '/lib/dispatcher/proxy-agent.js', proxyAgentOf, (agent) =>
      patches.replace(agent, 'dispatch', (dispatch) => rememberedProxy(door, dispatch)),
    );
    watchRequests(patches, (request) => {
      const call = door.going;
      if (call === undefined || call === NOBODYS) return;
      CallOf.set(request, call);
      call.sent();
    });
    for (const key of GLOBAL_DISPATCHERS) {
      if (globals[key] === undefined) awaitGlobalDispatcher(patches, key, guardCopyOf);
      else guardCopyOf(globals[key]);
    }
  }
}

/** What a dispatch asks of its instrumentation. */
interface Door {
  readonly attachment: Attachment;
  /** The call that is being handed down just now. */
  going: UndiciCall | undefined;
  /** The proxy whose agent is handing a request down just now. */
  proxy: string | undefined;
}

function proxyAgentOf(exports: unknown): Dispatcher | undefined {
  const agent = (exports as { prototype?: Dispatcher } | null)?.prototype;
  return typeof agent?.dispatch === 'function' ? agent : undefined;
}

/** An agent for a proxy keeps to itself which one it is for; what it hands requests to does not know. */
function rememberedProxy(door: Door, dispatch: Dispatcher['dispatch']): Dispatcher['dispatch'] {
  const remember = harmless(GUARDING_FAILED, (agent: Dispatcher) => {
    door.proxy = proxyOf(agent);
  });
  return function (options, handler) {
    const before = door.proxy;
    remember(this);
    try {
      return dispatch.call(this, options, handler);
    } finally {
      door.proxy = before;
    }
  };
}

function proxyOf(agent: object): string | undefined {
  const known = proxies.get(agent);
  if (known !== undefined) return known;
  const options = ownSymbol(agent, 'proxy agent options');
  if (options === undefined) return undefined;
  const { uri } = (agent as Record<symbol, { readonly uri?: unknown }>)[options]!;
  if (!URL.canParse(String(uri))) return undefined;
  const proxy = targetName(targetOfUrl(new URL(String(uri))));
  proxies.set(agent, proxy);
  return proxy;
}

/**
 * OpenTelemetry's instrumentation makes its span when a request is announced in one channel, and ends it when others say
 * that it is complete or has failed, before its handler hears of it. So these are watched from outside: whoever comes
 * after all listeners of the first finds the span, and whoever comes before those of the others finds it still open.
 * Without listeners undici says nothing, and nothing is watched.
 */
function watchRequests(patches: Patches, onMade: (request: object) => void): void {
  const made = harmless(WATCHING_FAILED, ({ request }: RequestMessage) => onMade(request));
  const complete = harmless(WATCHING_FAILED, ({ request }: RequestMessage) => CallOf.get(request)?.succeed());
  const failed = harmless(WATCHING_FAILED, ({ request, error }: RequestMessage) => {
    // Once aborted, its handler has heard of its end and hears no more.
    if (!request.aborted) CallOf.get(request)?.endBy(error);
  });
  watchChannel(patches, 'undici:request:create', undefined, made);
  watchChannel(patches, 'undici:request:trailers', complete);
  watchChannel(patches, 'undici:request:error', failed);
}

const GUARDING_FAILED = 'Guarding an undici request failed';

/** What undici publishes. */
interface RequestMessage {
  readonly request: { readonly aborted?: boolean };
  readonly error?: unknown;
}

/** The call that a request is, as undici's channels know it. */
class CallOf extends OnAnother {
  #call: UndiciCall | undefined;

  static get(request: object): UndiciCall | undefined {
    return #call in request ? request.#call : undefined;
  }

  static set(request: object, call: UndiciCall): void {
    if (!(#call in request)) new CallOf(request);
    (request as CallOf).#call = call;
  }
}

function watchChannel(
  patches: Patches,
  name: string,
  before?: (message: RequestMessage) => void,
  after?: (message: RequestMessage) => void,
): void {
  const watched = channel(name);
  // Node forgets a channel that nobody holds, and then those who have subscribed to the next one of its name as well.
  patches.hold(watched);
  patches.replace(
    watched,
    'publish',
    () =>
      function (this: Channel, message) {
        // A channel changes its class with its first listener.
        const channelClass = Object.getPrototypeOf(this) as Channel;
        before?.(message as RequestMessage);
        channelClass.publish.call(this, message);
        after?.(message as RequestMessage);
      },
  );
}

function guardedDispatch(copy: UndiciCopy, door: Door, dispatch: Dispatcher['dispatch']): Dispatcher['dispatch'] {
  return function (options, handler) {
    const known = typeof this === 'object' && this !== null ? Known.of(this) : undefined;
    if (known === SERVES_SEVERAL) return dispatch.call(this, options, handler);
    const call = ask(copy, door, this, known, options, handler);
    if (call === undefined) return dispatch.call(this, options, handler);
    if (call === 'refused') return true;
    const watch = watchOf(call, handler);
    const handed = watch && carry(copy, this, known, call, options, watch);
    if (watch === undefined || handed === undefined) {
      call.forgo();
      return dispatch.call(this, options, handler);
    }
    const before = door.going;
    door.going = call;
    try {
      const taken = dispatch.call(this, handed, watch);
      if (watch !== handler && call.isWaiting) hearOfLeaving(watch);
      return taken;
    } catch (error) {
      // Arguments that undici does not take, and a handler that it cannot tell.
      call.forgo();
      throw error;
    } finally {
      door.going = before;
    }
  };
}

// Each of these three is passed by every request, and keeps a fault of ours from it. As functions of `harmless()`, which share
// their code, none of them would be compiled into what calls it.

/** @returns the call that is to be watched from here on; `undefined` where there is nothing to be done */
function ask(
  copy: UndiciCopy,
  door: Door,
  dispatcher: Dispatcher,
  known: Knowledge | undefined,
  options: DispatchOptions,
  handler: Handler,
): UndiciCall | 'refused' | undefined {
  try {
    if (isPassedStraight(copy, known, options, handler)) {
      handler.passTo(dispatcher);
      // Just now there is nothing left to do; one that has waited in the pool is still to be found while its span is made.
      return door.going === handler ? undefined : handler;
    }
    return admit(copy, door, dispatcher, known, options, handler);
  } catch (error) {
    reportOnce(GUARDING_FAILED, error);
    return undefined;
  }
}

function watchOf(call: UndiciCall, handler: Handler): Handler | undefined {
  try {
    return watched(handler, call);
  } catch (error) {
    reportOnce(GUARDING_FAILED, error);
    return undefined;
  }
}

/**
 * The options of a request carry its call down; where nothing can come in between, the watch does that alone. undici 7 puts
 * handlers of the new generation into one of its own.
 */
function carry(
  copy: UndiciCopy,
  dispatcher: Dispatcher,
  known: Knowledge | undefined,
  call: UndiciCall,
  options: DispatchOptions,
  watch: Handler,
): DispatchOptions | undefined {
  try {
    const isPlain = (known ?? Known.of(dispatcher))?.isPlain === true;
    if (isPlain && copy.clientsArePlain && isCarriedBy(watch, call)) return options;
    return carriedBy(options) === call ? options : withCall(options, call);
  } catch (error) {
    reportOnce(GUARDING_FAILED, error);
    return undefined;
  }
}

function isCarriedBy(handler: Handler, call: UndiciCall): boolean {
  return callOfWatch(handler) === call && handler.onRequestStart === undefined;
}

/**
 * Whether a dispatcher got a request from a pool above as that has handed it down, and is for the same target: the most
 * common case, of which `admit` and `carry` would say the same after more looks.
 */
function isPassedStraight(
  copy: UndiciCopy,
  known: Knowledge | undefined,
  options: DispatchOptions,
  handler: Handler,
): handler is Handler & UndiciCall {
  if (!(handler instanceof UndiciCall) || handler.isOver || (handler as Handler).onRequestStart !== undefined)
    return false;
  if (known?.target === undefined || !known.isPlain || !copy.clientsArePlain || !isNonCallable(options)) return false;
  const { sentTo } = handler;
  if (known.target === sentTo) return carriedBy(options) === undefined;
  // The next time it is the very same object.
  if (sentTo instanceof LastingTarget && isSame(known.target, sentTo)) known.target = sentTo;
  return false;
}

/** @returns the call that a request belongs to, which may be that of a dispatcher above; `undefined` where we have no say */
function admit(
  copy: UndiciCopy,
  door: Door,
  dispatcher: Dispatcher,
  known: Knowledge | undefined,
  options: DispatchOptions,
  handler: Handler,
): UndiciCall | 'refused' | undefined {
  // undici has an error of its own for these.
  if (!isNonCallable(options) || !isNonCallable(handler) || dispatcher.closed || dispatcher.destroyed) return undefined;
  const inherited = carriedBy(options) ?? callOfWatch(handler);
  if (inherited === NOBODYS || isIntercepted()) return undefined;
  const found = known ?? learn(copy, dispatcher);
  if (found === SERVES_SEVERAL) return undefined;
  const { target: lasting } = found;
  const target = targetOf(found, door, dispatcher, options);
  if (target === undefined) return undefined;
  if (inherited !== undefined && goesOn(inherited, target)) {
    inherited.passTo(dispatcher);
    return inherited;
  }
  if (isTunnelOfProxyAgent(options)) return NOBODYS;

  // Those below an opaque one are for any target.
  const call = copy.calls.make(door.attachment, lasting && target, options, handler);
  const rejection = call.enter(target);
  if (rejection !== undefined) {
    // Loaded with the first of them.
    const { refuse } = require('./refusal.js') as typeof Refusals;
    refuse(handler, options, rejection, door.attachment.responds(target, call));
    return 'refused';
  }
  if (call.isOver) return NOBODYS;
  call.passTo(dispatcher);
  return call;
}

/** What comes for the first time is to be known from now on. */
function learn(copy: UndiciCopy, dispatcher: Dispatcher): Knowledge {
  const url = copy.urlOf(dispatcher);
  const known = url === undefined ? knownWithoutUrl(dispatcher) : knownByUrl(copy, dispatcher, url);
  Known.set(dispatcher, known);
  return known;
}

function knownWithoutUrl(dispatcher: Dispatcher): Knowledge {
  return OPAQUE.has(dispatcher.constructor.name) ? IS_OPAQUE : SERVES_SEVERAL;
}

function knownByUrl(copy: UndiciCopy, dispatcher: Dispatcher, url: URL): Knowledge {
  const target = LastingTarget.of(targetOfUrl(url));
  return { target, isAddress: isAddress(target.host), isPlain: copy.isPlain(dispatcher) };
}

/** Where a request goes. Of its options no more is read than is needed: each look takes V8 a tenth of a microsecond. */
function targetOf(
  { target: own, isAddress }: Knowledge,
  { proxy }: Door,
  dispatcher: Dispatcher,
  options: DispatchOptions,
): Target | undefined {
  if (own === undefined) {
    const origin = String(options.origin);
    if (!URL.canParse(origin)) return undefined;
    const behind = targetOfUrl(new URL(origin));
    return dispatcher.constructor.name === PLAIN_PROXY ? { ...behind, via: proxy } : behind;
  }
  if (!isAddress) return own;
  // The dns interceptor has put an address in the place of the name.
  const { servername } = options;
  if (typeof servername !== 'string' || servername === '') return own;
  return { ...own, host: servername.toLowerCase() };
}

/**
 * Whether what a dispatcher has been handed is still the call that one above has let through. A settled call that comes
 * again is a retry, made by something between the two, and another target a redirect.
 */
function goesOn({ isOver, sentTo: above }: UndiciCall, target: Target): boolean {
  if (above === undefined) return true;
  if (isOver) return false;
  return above === target || isSame(above, target);
}

function isSame(one: Target, other: Target): boolean {
  return one.host === other.host && one.port === other.port && one.scheme === other.scheme;
}

/** A tunnel is no call, the request that goes through it is. No other CONNECT comes with a port beside its origin. */
function isTunnelOfProxyAgent(options: DispatchOptions): boolean {
  return options.method === 'CONNECT' && 'port' in options;
}

// Not `isIP` of `node:net`: requiring that module would have OpenTelemetry instrument it, in applications that never asked for it.
function isAddress(host: string): boolean {
  return host.includes(':') || /^[\d.]+$/.test(host);
}

function withCall(options: DispatchOptions, call: UndiciCall): DispatchOptions {
  const prototype: unknown = Object.getPrototypeOf(options);
  // Copied rather than extended: what is between two dispatchers copies them again, by `{ ...options }`.
  if (prototype !== Object.prototype || carriedBy(options) !== undefined) {
    return Object.assign(Object.create(prototype as object | null) as object, options, { [CALL]: call });
  }
  // In this order V8 copies at once; a key added to a copy is six times as slow.
  return { [CALL]: call, ...options };
}

/** The prototype that a dispatcher, or another prototype, has its `dispatch` from, if it is one of undici's. */
function dispatcherBase(object: unknown): Dispatcher | undefined {
  for (let proto = object; isNonCallable(proto); proto = Object.getPrototypeOf(proto)) {
    // Agents that have a `dispatch` of their own dispatch through it again. Mocks are never asked: theirs are own properties.
    if (Object.hasOwn(proto, 'dispatch') && Object.hasOwn(proto, 'closed') && Object.hasOwn(proto, 'destroyed')) {
      return proto as Dispatcher;
    }
  }
  return undefined;
}

/**
 * Calls back with the first dispatcher of a copy of undici that makes the global one, before it dispatches anything.
 *
 * This is how the copy within Node is found without loading it, which would cost every start 50 ms and more: its first
 * act is to look whether a global dispatcher is there, and its second to make one, which as an EventEmitter passes
 * through `EventEmitter.init`.
 */
function awaitGlobalDispatcher(patches: Patches, key: symbol, callback: (dispatcher: unknown) => void): void {
  const watchNextEmitters = () => {
    const unwatch = onNewEmitter((emitter) => {
      if (dispatcherBase(emitter) === undefined) return;
      unwatch();
      callback(emitter);
    });
    // Somebody else had a look.
    queueMicrotask(unwatch);
    return undefined;
  };
  Object.defineProperty(globalThis, key, {
    configurable: true,
    enumerable: false,
    get: watchNextEmitters,
    // undici defines a property in our place; whoever assigns gets the same.
    set(dispatcher: unknown) {
      Object.defineProperty(globalThis, key, {
        configurable: true,
        enumerable: true,
        writable: true,
        value: dispatcher,
      });
      callback(dispatcher);
    },
  });
  patches.onUndo(() => {
    if (Object.getOwnPropertyDescriptor(globalThis, key)?.get === watchNextEmitters) delete globals[key];
  });
}

/** @returns a function that ends it */
function onNewEmitter(callback: (emitter: object) => void): () => void {
  const emitters = EventEmitter as unknown as { init: (this: object, ...args: unknown[]) => void };
  const { init } = emitters;
  const watching = function (this: object, ...args: unknown[]) {
    Reflect.apply(init, this, args);
    callback(this);
  };
  emitters.init = watching;
  return () => {
    if (emitters.init === watching) emitters.init = init;
  };
}
