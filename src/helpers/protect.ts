import { CircuitOpenError } from '../breaker/errors.js';
import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
import type { Permit } from '../breaker/permit.js';
import { namedBreaker, type NamedBreakerOptions } from '../named-breaker.js';
import { ignoreIfDropped, isStream, settleAtEnd } from '../outcomes/stream-outcome.js';
import { rejectLater } from '../breaker/run.js';
import { isObject, isThenable } from '../breaker/values.js';

/** Names of the methods of `T` that return a promise or an async iterable. */
export type AsyncMethod<T> = {
  [Key in keyof T & string]: T[Key] extends (...args: never[]) => PromiseLike<unknown> | AsyncIterable<unknown>
    ? Key
    : never;
}[keyof T & string];

/** Which breaker guards a client, and which of its methods. */
export interface ProtectOptions<T extends object> extends NamedBreakerOptions {
  /**
   * The methods whose calls go through the breaker; those of a part of the client by their path: `chat.completions.create`.
   *
   * Default: every method that is asynchronous, found out from what it returns, but for those that clean up (`close`,
   * `end`, `quit` …). Name them where you can: a method is known as asynchronous from its first call on.
   */
  methods?: readonly (AsyncMethod<T> | `${string}.${string}`)[];
}

/** A client whose calls go through a breaker, and which is otherwise what it was. */
export type Protected<T extends object> = T & {
  /** The client itself, unguarded. */
  readonly inner: T;
  readonly breaker: CircuitBreaker;
};

/**
 * Puts a breaker before the methods of any object. Types, `this`, getters, `instanceof` and private fields work as
 * before, and what the client calls on itself is not counted a second time.
 *
 * Errors mean what they mean to `CircuitBreaker.call`. A call ends when its promise settles; where it brings a stream (an
 * async iterable), when that ends: a stream that breaks is a failure, one whose reader stops early a success. A promise with methods of its own (the `APIPromise`
 * of `openai` and `@anthropic-ai/sdk`, a query builder) stays that object, and is not started by being looked at.
 *
 * An open circuit rejects with `CircuitOpenError`; a method that returns its stream at once, as an event emitter, throws it.
 *
 * @throws ConfigError naming every option that is unknown or has a bad value
 * @throws TypeError naming a method that the client does not have
 */
export function protect<T extends object>(client: T, { methods, ...options }: ProtectOptions<T>): Protected<T> {
  if (methods !== undefined) for (const path of methods) checkMethod(client, path);
  const breaker = namedBreaker(options);
  const own: Readonly<Record<string, unknown>> = { inner: client, breaker };
  return guarded(client, breaker, methods, own) as Protected<T>;
}

/** A class whose instances are protected clients of type `T`. */
export type WrapperClass<T extends object> = new (
  client: T,
  options?: Partial<Omit<ProtectOptions<T>, 'methods'>>,
) => Protected<T>;

/**
 * The table of a client's breaker and methods, as a class: `new SearchWithBreaker(new SearchClient(url))`.
 *
 * @param defaults the name of the breaker, its options and the methods; what is given to the constructor goes before them
 */
export function wrapperClass<T extends object>(defaults: ProtectOptions<T>): WrapperClass<T> {
  return class {
    constructor(client: T, options: Partial<Omit<ProtectOptions<T>, 'methods'>> = {}) {
      return protect(client, { ...defaults, ...options });
    }
  } as WrapperClass<T>;
}

type AnyFunction = (this: unknown, ...args: unknown[]) => unknown;

const NOTHING: Readonly<Record<string, unknown>> = Object.freeze({});

// An open circuit must never keep a client from being closed.
const CLEANS_UP: ReadonlySet<PropertyKey> = new Set<PropertyKey>([
  'close',
  'destroy',
  'disconnect',
  'dispose',
  'end',
  'quit',
  'release',
  'shutdown',
  'stop',
  'terminate',
]);

/**
 * @param paths what goes through the breaker, as seen from this object; `undefined`: whatever is asynchronous
 * @param own properties that are ours
 */
function guarded(
  client: object,
  breaker: CircuitBreaker,
  paths: readonly string[] | undefined,
  own: Readonly<Record<string, unknown>>,
): object {
  // By function: the same method must be the same function each time it is read.
  const functions = new WeakMap<AnyFunction, AnyFunction>();
  const parts = new WeakMap<object, object>();

  const proxy: object = new Proxy(client, {
    get(target, key) {
      if (typeof key === 'string' && Object.hasOwn(own, key)) return own[key];
      // The client itself is `this`, also of its getters: a proxy has no private fields.
      const value: unknown = Reflect.get(target, key, target);
      if (isFixed(target, key)) return value;
      if (typeof value === 'function') return functionOf(value as AnyFunction, key);
      const inside = partPaths(paths, key);
      if (inside.length === 0 || value === null || typeof value !== 'object') return value;
      return remember(parts, value, () => guarded(value, breaker, inside, NOTHING));
    },
    set: (target, key, value) => Reflect.set(target, key, value, target),
    has: (target, key) => (typeof key === 'string' && Object.hasOwn(own, key)) || Reflect.has(target, key),
  });

  function functionOf(original: AnyFunction, key: PropertyKey): AnyFunction {
    // A class has no `this` to be given, and neither has what every object inherits.
    if (key === 'constructor') return original;
    return remember(functions, original, () => {
      const listed = paths?.includes(key as string) ?? false;
      const found = paths === undefined && typeof key === 'string' && !CLEANS_UP.has(key);
      return new Proxy(original, {
        apply(method, self, args: unknown[]) {
          const call = (): unknown => Reflect.apply(method, self === proxy ? client : self, args);
          const result = listed
            ? guardedCall(breaker, method, call)
            : found
              ? foundCall(breaker, method, call)
              : call();
          // A method that returns its client, for chaining, must not lead out of the guard.
          return result === client ? proxy : result;
        },
      });
    });
  }

  return proxy;
}

/** Calls a method of which it is not known whether it is asynchronous: that shows with the first promise it returns. */
function foundCall(breaker: CircuitBreaker, method: AnyFunction, call: () => unknown): unknown {
  if (shapes.has(method) || isAsyncByDeclaration(method)) return guardedCall(breaker, method, call);
  const result = call();
  if (!isThenable(result) && !isStream(result)) return result;
  // It went through unasked. Asking afterwards is right only where the answer cannot be no.
  const admission = breaker.state === 'closed' ? breaker.tryAcquire() : undefined;
  if (admission === undefined || admission instanceof CircuitOpenError) {
    learn(method, result);
    return result;
  }
  return watch(admission, method, result);
}

function guardedCall(breaker: CircuitBreaker, method: AnyFunction, call: () => unknown): unknown {
  const permit = breaker.tryAcquire();
  if (permit instanceof CircuitOpenError) return refuse(method, permit);
  let result: unknown;
  try {
    result = call();
  } catch (error) {
    permit.settleByError(error);
    throw error;
  }
  return watch(permit, method, result);
}

/** Settles the permit by what becomes of a result, which the caller gets. */
function watch(permit: Permit, method: AnyFunction, result: unknown): unknown {
  if (isThenable(result)) {
    learn(method, result);
    return Object.getPrototypeOf(result) === Promise.prototype
      ? watchPromise(permit, result as Promise<unknown>)
      : watchThenable(permit, result);
  }
  if (isStream(result)) learn(method, result);
  settleByValue(permit, result, false);
  return result;
}

function watchPromise(permit: Permit, promise: Promise<unknown>): Promise<unknown> {
  // The caller gets the derived promise: with the first one, a rejection that nobody handles would count as handled.
  return promise.then(
    (value) => {
      settleByValue(permit, value, true);
      return value;
    },
    (error: unknown) => {
      permit.settleByError(error);
      throw error;
    },
  );
}

/**
 * A promise of its own kind is looked at only when its owner looks: `then` sends off the query of a query builder, and
 * reads the body of an `APIPromise`. The first promise that comes out of any of its methods says how the call went.
 */
function watchThenable(permit: Permit, thenable: object): object {
  // Settled within the owner's own chain, so that no rejection is handled that the owner leaves unhandled.
  const then = (fulfilled?: unknown, rejected?: unknown): unknown =>
    Reflect.apply(Reflect.get(thenable, 'then', thenable) as AnyFunction, thenable, [
      (value: unknown) => {
        settleByValue(permit, value, true);
        return typeof fulfilled === 'function' ? (fulfilled as AnyFunction)(value) : value;
      },
      (error: unknown) => {
        permit.settleByError(error);
        if (typeof rejected === 'function') return (rejected as AnyFunction)(error);
        throw error;
      },
    ]);
  const chain: Readonly<Record<string, AnyFunction>> = {
    then,
    catch: (rejected) => then(undefined, rejected),
    finally: (settled) => {
      const after = async () => (typeof settled === 'function' ? await (settled as AnyFunction)() : undefined);
      return then(
        (value: unknown) => after().then(() => value),
        (error: unknown) => after().then(() => Promise.reject(error)),
      );
    },
  };

  const proxy: object = new Proxy(thenable, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function' || key === 'constructor' || isFixed(target, key)) return value;
      if (typeof key === 'string' && Object.hasOwn(chain, key)) return chain[key];
      return (...args: unknown[]) => {
        const result: unknown = Reflect.apply(value as AnyFunction, target, args);
        if (result === target) return proxy;
        return result instanceof Promise ? watchPromise(permit, result) : result;
      };
    },
  });
  ignoreIfDropped(proxy, permit);
  return proxy;
}

/**
 * A call is over when its value is there, unless that is a stream.
 *
 * @param hasBegun whether the target has answered by now: a stream that a method returns at once has done nothing yet
 */
function settleByValue(permit: Permit, value: unknown, hasBegun: boolean): void {
  if (isStream(value)) settleAtEnd(permit, value, hasBegun);
  else permit.success();
}

// What each method was last seen to return, so that a refusal can look alike: the prototype.
const shapes = new WeakMap<AnyFunction, object>();

function learn(method: AnyFunction, result: object): void {
  if (!shapes.has(method)) shapes.set(method, (Object.getPrototypeOf(result) as object | null) ?? NOTHING);
}

function isAsyncByDeclaration(method: AnyFunction): boolean {
  const kind = (method as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag];
  return kind === 'AsyncFunction' || kind === 'AsyncGeneratorFunction';
}

/** What the caller of an open circuit gets, where it expects what the method returns otherwise. */
function refuse(method: AnyFunction, error: CircuitOpenError): unknown {
  const kind = (method as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag];
  const shape = shapes.get(method);
  if (shape === undefined || shape === Promise.prototype || 'then' in shape) {
    return kind === 'AsyncGeneratorFunction' ? failingIterator(error) : rejection(error, shape);
  }
  if ('on' in shape) throw error;
  return failingIterator(error);
}

function rejection(error: CircuitOpenError, shape: object | undefined): Promise<never> {
  const promise = rejectLater(error);
  if (shape === undefined) return promise;
  // `create(…).withResponse()` of an SDK must not become "withResponse is not a function".
  for (let proto: object | null = shape; proto !== null; proto = Object.getPrototypeOf(proto) as object | null) {
    for (const [key, { value }] of Object.entries(Object.getOwnPropertyDescriptors(proto))) {
      if (key in promise || typeof value !== 'function') continue;
      void Object.defineProperty(promise, key, { value: () => promise, configurable: true, writable: true });
    }
  }
  return promise;
}

async function* failingIterator(error: CircuitOpenError): AsyncGenerator<never> {
  yield await rejectLater(error);
}

/** A proxy must tell the truth about such a property, so what stands there cannot be replaced. */
function isFixed(target: object, key: PropertyKey): boolean {
  const descriptor = Object.getOwnPropertyDescriptor(target, key);
  return descriptor?.configurable === false && descriptor.writable === false;
}

/** The paths that go on beyond a key: `completions.create` of `chat.completions.create`. */
function partPaths(paths: readonly string[] | undefined, key: PropertyKey): string[] {
  if (paths === undefined || typeof key !== 'string') return [];
  return paths.filter((path) => path.startsWith(`${key}.`)).map((path) => path.slice(key.length + 1));
}

function checkMethod(client: object, path: string): void {
  let owner: unknown = client;
  const keys = path.split('.');
  const last = keys.pop()!;
  for (const key of keys) owner = isObject(owner) ? Reflect.get(owner, key, owner) : undefined;
  const method: unknown = isObject(owner) ? Reflect.get(owner, last, owner) : undefined;
  if (typeof method !== 'function') {
    throw new TypeError(
      `protect: methods: got "${path}"; the client has no such method, and its calls would not be guarded.`,
    );
  }
  if (isFixed(owner as object, last)) {
    throw new TypeError(
      `protect: methods: got "${path}"; the client is frozen there, and its calls could not be guarded.`,
    );
  }
}

function remember<K extends object, V>(map: WeakMap<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}
