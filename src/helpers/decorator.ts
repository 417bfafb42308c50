import type { CircuitOpenError } from '../breaker/errors.js';
import type { BreakerOptions } from '../breaker/options.js';
import { namedBreaker } from '../named-breaker.js';

// The method itself, of which nothing is known but that it is asynchronous. `any`, since only that admits every method.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type AsyncFunction = (this: any, ...args: any[]) => PromiseLike<any>;

/** Options of the breaker before a method. */
export interface CircuitBreakerDecoratorOptions extends BreakerOptions {
  /** Name of the breaker. Default: class and method, as in `PaymentService.charge`; a subclass then has its own. */
  name?: string;
  /** What a rejected call gets instead of the error; called on the object, with the error and the call's arguments. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  fallback?: (this: any, error: CircuitOpenError, ...args: any[]) => unknown;
}

/** A decorator of asynchronous methods for both kinds of decorators that TypeScript knows. */
export interface CircuitBreakerDecorator {
  /** As in the standard (stage 3). */
  <Method extends AsyncFunction>(method: Method, context: ClassMethodDecoratorContext): Method;
  /** As under `experimentalDecorators`. */
  <Method extends AsyncFunction>(
    target: object,
    key: string | symbol,
    descriptor: TypedPropertyDescriptor<Method>,
  ): TypedPropertyDescriptor<Method>;
}

/**
 * Guards a method: `@circuitBreaker({ preset: 'httpApi' })`. Objects of one class share the breaker.
 *
 * Works as a standard decorator and under `experimentalDecorators`. A call ends when its promise settles.
 */
export function circuitBreaker(options: CircuitBreakerDecoratorOptions = {}): CircuitBreakerDecorator {
  function decorate(
    ...[target, where, descriptor]:
      | [method: AsyncFunction, context: ClassMethodDecoratorContext, nothing?: undefined]
      | [target: object, key: string | symbol, descriptor: PropertyDescriptor]
  ): unknown {
    // The standard gives a context, the older proposal the method's key.
    if (typeof where === 'object') return guarded(target as AsyncFunction, where.name, options);
    return { ...descriptor, value: guarded(descriptor!.value as AsyncFunction, where, options) };
  }
  return decorate as CircuitBreakerDecorator;
}

function guarded(
  method: AsyncFunction,
  key: string | symbol,
  { name, fallback, ...options }: CircuitBreakerDecoratorOptions,
): AsyncFunction {
  if (typeof method !== 'function') {
    throw new TypeError(
      `circuitBreaker decorates methods; "${String(key)}" is not a method, and its calls could not be guarded.`,
    );
  }
  function guardedMethod(this: unknown, ...args: unknown[]): Promise<unknown> {
    const breaker = namedBreaker({ ...options, name: name ?? `${classNameOf(this)}.${String(key)}` });
    const call = () => method.apply(this, args);
    return fallback === undefined
      ? breaker.call(call)
      : breaker.callWithFallback(call, (error) => fallback.call(this, error, ...args));
  }
  for (const property of ['name', 'length'] as const) {
    Object.defineProperty(guardedMethod, property, { value: method[property], configurable: true });
  }
  return guardedMethod;
}

function classNameOf(self: unknown): string {
  // The `this` of a static method is the class.
  return typeof self === 'function' ? self.name : ((self as object | undefined)?.constructor.name ?? 'function');
}
