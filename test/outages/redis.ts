import { RedisCluster, RedisServer } from '../support/redis-server.js';
import type { Row, Service } from './outage.js';

// What was answered must be there after a kill, or it could not be told what was lost by whom.
const KEEPS_ALL = { appendonly: 'yes', appendfsync: 'always' };

/** A Redis that is killed and started again. @param name of the client's package: `ioredis`, `ioredis5` */
export function redis(name = 'ioredis'): () => Promise<Service> {
  return async () => {
    const server = await RedisServer.start(KEEPS_ALL);
    return {
      env: { OUTAGE_PORT: String(server.port), OUTAGE_PACKAGE: name },
      away: () => server.kill(),
      back: () => server.start(),
      remove: () => server.remove(),
    };
  };
}

/** A cluster whose nodes are killed and started again, all of them. */
export function redisCluster(name = 'ioredis'): () => Promise<Service> {
  return async () => {
    const cluster = await RedisCluster.start(KEEPS_ALL);
    return {
      env: { OUTAGE_PORT: String(cluster.nodes[0]!.port), OUTAGE_PACKAGE: name },
      away: () => cluster.kill(),
      back: () => cluster.restart(),
      remove: () => cluster.remove(),
    };
  };
}

/** A master behind a sentinel, with no replica left; the master is killed and started again. */
export function redisSentinel(name = 'ioredis'): () => Promise<Service> {
  return async () => {
    const master = await RedisServer.start(KEEPS_ALL);
    const replica = await RedisServer.startReplica(master);
    const sentinel = await RedisServer.startSentinel(master);
    // The sentinel needed one to be ready; without one it has nobody to make a master of.
    await replica.kill();
    return {
      env: { OUTAGE_PORT: String(sentinel.port), OUTAGE_PACKAGE: name },
      away: () => master.kill(),
      back: () => master.start(),
      remove: async () => {
        for (const server of [sentinel, replica, master]) await server.remove();
      },
    };
  };
}

const ALL_PATTERNS = ['awaited', 'fire-and-forget', 'tight loop'] as const;

/** ioredis loses nothing in a short outage without us: nor may it with us. */
export const REDIS: readonly Row[] = [
  {
    title: 'ioredis 6',
    client: 'redis',
    service: redis(),
    patterns: ALL_PATTERNS,
    failsWithout: false,
    inTests: true,
    underCallers: { patienceMs: 71_000 },
  },
  { title: 'ioredis 5', client: 'redis', service: redis('ioredis5'), patterns: ALL_PATTERNS, failsWithout: false },
  {
    title: 'iovalkey',
    client: 'redis',
    service: redis('iovalkey'),
    patterns: ALL_PATTERNS,
    failsWithout: false,
    underCallers: { patienceMs: 10_500, inTests: true },
  },
  {
    title: 'ioredis 6, cluster',
    client: 'redis-cluster',
    service: redisCluster(),
    patterns: ALL_PATTERNS,
    failsWithout: false,
    inTests: true,
  },
  {
    title: 'ioredis 6, sentinel',
    client: 'redis-sentinel',
    service: redisSentinel(),
    patterns: ALL_PATTERNS,
    failsWithout: false,
  },
  {
    title: 'node-redis 6',
    client: 'node-redis',
    service: redis('redis'),
    patterns: ['awaited', 'tight loop'],
    inTests: true,
    underCallers: { patienceMs: 5_000, throws: true, inTests: true },
  },
  {
    title: 'node-redis 5',
    client: 'node-redis',
    service: redis('redis5'),
    patterns: ['awaited', 'tight loop'],
    underCallers: { patienceMs: Infinity, throws: true },
  },
  {
    title: 'node-redis 6, cluster',
    client: 'node-redis-cluster',
    service: redisCluster('redis'),
    patterns: ['awaited'],
  },
  {
    title: 'BullMQ, add',
    client: 'bullmq',
    service: redis(),
    patterns: ['awaited', 'fire-and-forget'],
    failsWithout: false,
    inTests: true,
  },
  {
    title: 'Bull, add',
    client: 'bull',
    service: redis(),
    patterns: ['awaited', 'fire-and-forget'],
    failsWithout: false,
  },
  {
    title: 'socket.io, emit',
    client: 'socket-io',
    service: redis(),
    patterns: ['fire-and-forget'],
    // Whether the other server has subscribed again before the first one sends what waited.
    failsByChance: true,
    inTests: true,
  },
];
