import { MongoServer } from '../support/mongo-server.js';
import type { Row, Service } from './outage.js';

/** A server of our own that speaks the protocol of MongoDB: it is killed, connections and all, and started again. */
export async function mongodb(): Promise<Service> {
  const server = await MongoServer.start();
  return {
    env: { OUTAGE_URL: server.url },
    away: () => server.kill(),
    back: () => server.start(),
    remove: () => server.kill(),
  };
}

export const MONGODB: readonly Row[] = [
  {
    title: 'mongodb',
    client: 'mongodb',
    service: mongodb,
    patterns: ['awaited', 'tight loop'],
    failsWithout: false,
    inTests: true,
    underCallers: { patienceMs: 30_000, throws: true, inTests: true },
  },
  {
    title: 'mongoose',
    client: 'mongoose',
    service: mongodb,
    patterns: ['awaited'],
    failsWithout: false,
    underCallers: { patienceMs: 30_000, throws: true },
  },
];
