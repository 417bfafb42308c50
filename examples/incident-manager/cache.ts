import type { Redis } from 'ioredis';
import type { Incident } from './domain.js';

/** All Redis commands go through this: `CircuitBreakerRedis`, or Redis itself. */
export interface RedisAccess {
  execute<T>(fn: (redis: Redis) => Promise<T>): Promise<T>;
  executeWithFallback<T>(fn: (redis: Redis) => Promise<T>, fallback: () => T): Promise<T>;
}

/** Redis itself. Under the preload, its commands are guarded too. */
export function plainAccess(redis: Redis): RedisAccess {
  return { execute: (fn) => fn(redis), executeWithFallback: (fn) => fn(redis) };
}

const SECONDS = 300;

/** Incidents that were read or written lately. */
export class IncidentCache {
  constructor(private readonly access: RedisAccess) {}

  async get(id: string): Promise<Incident | undefined> {
    // Treat a rejected read as a miss.
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
