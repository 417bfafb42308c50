import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
import { isAbort, isTimeout } from '../outcomes/endings.js';
import type { CircuitOpenError } from '../breaker/errors.js';
import type { BreakerOptions, PresetName, FailureVerdict } from '../breaker/options.js';
import { presets } from '../breaker/presets.js';
import { namedBreaker, type NamedBreakerOptions } from '../named-breaker.js';

/** A client and the breaker before what is done with it. */
abstract class GuardedClient<Client> {
  readonly breaker: CircuitBreaker;

  protected constructor(
    /** The client itself, unguarded. */
    readonly inner: Client,
    preset: PresetName,
    isFailureOfServer: (error: unknown) => boolean | undefined,
    options: NamedBreakerOptions,
  ) {
    this.breaker = namedBreaker({ preset, isFailure: judge(isFailureOfServer, { preset, ...options }), ...options });
  }

  /**
   * Does something with the client, as one call through the breaker.
   *
   * @param fn gets the client; several commands in it are one call
   * @returns what `fn` returns; rejects with `CircuitOpenError`, or with the error of `fn`, unchanged
   */
  execute<T>(fn: (client: Client) => T | PromiseLike<T>): Promise<T> {
    return this.breaker.call(() => fn(this.inner));
  }

  protected executeOr<T, F>(
    fn: (client: Client) => T | PromiseLike<T>,
    fallback: (error: CircuitOpenError) => F | PromiseLike<F>,
  ): Promise<T | F> {
    return this.breaker.callWithFallback(() => fn(this.inner), fallback);
  }
}

/**
 * A database client (a pool of `pg`, Prisma, Knex, any other) behind a breaker; options from the preset `database`.
 *
 * An error with an SQLSTATE counts as a failure where it says that the server is in trouble (classes 08, 53, 57P, 58);
 * any other, like a violated constraint, shows that the server answers. `isFailure` in the options replaces this.
 */
export class CircuitBreakerDbWrapper<Client> extends GuardedClient<Client> {
  constructor(client: Client, options: NamedBreakerOptions) {
    super(client, 'database', isFailureOfDatabase, options);
  }

  /**
   * As `execute`, but a rejected call gets a degraded answer. An error of `fn` does not: the call was made.
   *
   * @param degraded makes the answer from the `CircuitOpenError`
   */
  executeWithDegraded<T, F = T>(
    fn: (client: Client) => T | PromiseLike<T>,
    degraded: (error: CircuitOpenError) => F | PromiseLike<F>,
  ): Promise<T | F> {
    return this.executeOr(fn, degraded);
  }
}

/**
 * A Redis client (ioredis, node-redis) behind a breaker; options from the preset `cache`.
 *
 * An error reply of the server shows that it answers, unless it says that it cannot work (LOADING, BUSY, CLUSTERDOWN,
 * MASTERDOWN). `isFailure` in the options replaces this.
 */
export class CircuitBreakerRedis<Client> extends GuardedClient<Client> {
  constructor(client: Client, options: NamedBreakerOptions) {
    super(client, 'cache', isFailureOfRedis, options);
  }

  /**
   * As `execute`, but a rejected call gets what `fallback` returns. An error of `fn` does not: the call was made.
   *
   * @param fallback gets the `CircuitOpenError`
   */
  executeWithFallback<T, F = T>(
    fn: (client: Client) => T | PromiseLike<T>,
    fallback: (error: CircuitOpenError) => F | PromiseLike<F>,
  ): Promise<T | F> {
    return this.executeOr(fn, fallback);
  }
}

/** Lets what the server says decide; for all else, what `CircuitBreaker.call` would say. */
function judge(
  isFailureOfServer: (error: unknown) => boolean | undefined,
  options: BreakerOptions,
): (error: unknown) => FailureVerdict {
  const { countTimeouts } = { ...presets[options.preset ?? 'default'], ...options };
  return (error) => {
    const said = isFailureOfServer(error);
    if (said !== undefined) return said;
    if (isTimeout(error)) return countTimeouts === false ? 'ignored' : true;
    return isAbort(error) ? 'ignored' : true;
  };
}

// PostgreSQL, appendix A: connection exceptions, insufficient resources, operator intervention, system errors.
const SERVER_IN_TROUBLE = /^(08|53|57P|58)/;

function isFailureOfDatabase(error: unknown): boolean | undefined {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && /\d/.test(code)
    ? SERVER_IN_TROUBLE.test(code)
    : undefined;
}

function isFailureOfRedis(error: unknown): boolean | undefined {
  const { name, message } = (error ?? {}) as { name?: unknown; message?: unknown };
  // ioredis calls it a ReplyError, node-redis a SimpleError or ErrorReply.
  if (name !== 'ReplyError' && name !== 'SimpleError' && name !== 'ErrorReply') return undefined;
  return /^(LOADING|BUSY|CLUSTERDOWN|MASTERDOWN)\b/.test(String(message));
}
