import { MariadbServer } from '../support/mariadb-server.js';
import { killableService } from './http.js';
import type { Row, Service } from './outage.js';

/**
 * A MariaDB that clients reach through a process that is killed, connections and all, and followed by another one: MariaDB
 * itself takes longer to start than the shortest outage lasts.
 */
async function mariadb(): Promise<Service> {
  const server = await MariadbServer.start();
  const way = await killableService('forwarder.cjs', 'mysql', server.port);
  const url = new URL(way.env.OUTAGE_URL!);
  return {
    ...way,
    env: { OUTAGE_URL: server.url.replace(String(server.port), url.port) },
    remove: async () => {
      await way.remove();
      await server.stop();
    },
  };
}

export const MYSQL: readonly Row[] = [
  {
    title: 'mysql2, Pool',
    client: 'mysql2',
    service: mariadb,
    patterns: ['awaited', 'tight loop'],
    inTests: true,
    underCallers: { inTests: true },
  },
];
