import type { Redis } from 'ioredis';
import type { Incident } from './domain.js';

/** What is done with Redis goes through here: `CircuitBreakerRedis`, or nothing in between. */
export interface RedisAccess {
  execute<T>(fn: (redis: Redis) => Promise<T>): Promise<T>;
  executeWithFallback<T>(fn: (redis: Redis) => Promise<T>, fallback: () => T): Promise<T>;
}

/** Redis with nothing in between; under the preload, its commands are guarded all the same. */
export function plainAccess(redis: Redis): RedisAccess {
  return { execute: (fn) => fn(redis), executeWithFallback: (fn) => fn(redis) };
}

const SECONDS = 300;

/** Incidents that were read or written lately. */
export class IncidentCache {
  constructor(private readonly access: RedisAccess) {}

  async get(id: string): Promise<Incident | undefined> {
    // A cache that must not be asked has nothing.
    const text = await this.access.executeWithFallback(
      (redis) => redis.get(keyOf(id)),
      () => null,
    );
    return text === null ? undefined : (JSON.parse(text) as Incident);
  }

  async put(incident: Incident): Promise<void> {
    await this.access.execute((redis) => redis.set(keyOf(incident.id), JSON.stringify(incident), 'EX', SECONDS));
  }
}

function keyOf(id: string): string {
  return `incident:${id}`;
}
