import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
import type { CircuitOpenError } from '../breaker/errors.js';
import type { PresetName } from '../breaker/options.js';
import { namedBreaker, type NamedBreakerOptions } from '../named-breaker.js';

/** A client and the breaker before what is done with it. */
abstract class GuardedClient<Client> {
  readonly breaker: CircuitBreaker;

  protected constructor(
    /** The client itself, unguarded. */
    readonly inner: Client,
    preset: PresetName,
    options: NamedBreakerOptions,
  ) {
    this.breaker = namedBreaker({ preset, ...options });
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
 * An error with an SQLSTATE counts as calls of `pg` do: as a failure where it says that the server is in trouble (`08006`,
 * `53300`, `57P01` …), not at all for a refused login or a deadlock, and any other, like a violated constraint, shows that
 * the server answers. `isFailure` in the options replaces this.
 */
export class CircuitBreakerDbWrapper<Client> extends GuardedClient<Client> {
  constructor(client: Client, options: NamedBreakerOptions) {
    super(client, 'database', options);
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
 * An error reply counts as calls of ioredis do: it shows that the server answers, unless it says that it cannot work
 * (LOADING, BUSY, CLUSTERDOWN, MASTERDOWN), or speaks of roles, rights and memory (READONLY, MOVED, OOM …), which does not
 * count. `isFailure` in the options replaces this.
 */
export class CircuitBreakerRedis<Client> extends GuardedClient<Client> {
  constructor(client: Client, options: NamedBreakerOptions) {
    super(client, 'cache', options);
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
