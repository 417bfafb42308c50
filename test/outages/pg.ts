import { PostgresServer } from '../support/postgres-server.js';
import type { Row, Service } from './outage.js';

/** A PostgreSQL that is killed, connections and all, and started again. */
export async function postgres(): Promise<Service> {
  const server = await PostgresServer.start();
  return {
    env: { OUTAGE_URL: server.url },
    away: () => server.kill(),
    back: () => server.start(),
    remove: () => server.stop(),
  };
}

export const PG: readonly Row[] = [
  {
    title: 'pg, Pool',
    client: 'pg',
    service: postgres,
    patterns: ['awaited', 'tight loop'],
    inTests: true,
    underCallers: {},
  },
];
