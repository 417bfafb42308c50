import { MariadbServer } from '../support/mariadb-server.js';
import type { Row, Service } from './outage.js';

/** A MariaDB that is killed, connections and all, and started again. */
export async function mariadb(): Promise<Service> {
  const server = await MariadbServer.start();
  return {
    env: { OUTAGE_URL: server.url },
    away: () => server.kill(),
    back: () => server.start(),
    remove: () => server.stop(),
  };
}

export const MYSQL: readonly Row[] = [
  // Not in the tests: a refused checkout makes and drops a connection, which takes more of a busy core than they allow.
  { title: 'mysql2, Pool', client: 'mysql2', service: mariadb, patterns: ['awaited', 'tight loop'] },
];
