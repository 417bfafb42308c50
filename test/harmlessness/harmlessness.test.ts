import { join } from 'node:path';
import { expect } from 'chai';
import { runNode } from '../support/child.js';
import { MariadbServer } from '../support/mariadb-server.js';
import { MongoServer } from '../support/mongo-server.js';
import { PostgresServer } from '../support/postgres-server.js';
import { RedisServer } from '../support/redis-server.js';
import { findDeadPort } from '../support/servers.js';

/** What a run with faults found. */
interface Found {
  /** Functions of ours, each of which failed once on the way of a call. */
  readonly tried: number;
  readonly problems: readonly string[];
}

/**
 * Each function of ours that is on the way of a client's call fails once. The call still ends as it does without us,
 * nothing is left unhandled, no permit stays open, and a message says what is wrong.
 */
describe('A fault in any function of ours', function () {
  this.timeout(180_000);

  async function find(client: string, env: NodeJS.ProcessEnv = {}): Promise<Found> {
    const { code, stdout, stderr } = await runNode({
      nodeArgs: [],
      program: join(__dirname, 'client.cjs'),
      programArgs: [client],
      env: { ...process.env, OTEL_LOG_LEVEL: 'none', ...env },
    });
    expect(code, stderr).to.equal(0);
    return JSON.parse(stdout) as Found;
  }

  for (const client of ['http', 'undici', 'grpc', 'http2']) {
    it(`does not reach the application through ${client}`, async () => {
      const { tried, problems } = await find(client);
      expect(problems).to.deep.equal([]);
      expect(tried).to.be.above(200);
    });
  }

  for (const client of ['ioredis', 'node-redis']) {
    it(`does not reach the application through ${client}`, async () => {
      const server = await RedisServer.start();
      try {
        const { tried, problems } = await find(client, {
          REDIS_PORT: String(server.port),
          DEAD_PORT: String(await findDeadPort()),
        });
        expect(problems).to.deep.equal([]);
        expect(tried).to.be.above(200);
      } finally {
        await server.stop();
      }
    });
  }

  it('does not reach the application through nodemailer', async () => {
    const { tried, problems } = await find('nodemailer', { DEAD_PORT: String(await findDeadPort()) });
    expect(problems).to.deep.equal([]);
    expect(tried).to.be.above(200);
  });

  it('does not reach the application through mysql2', async () => {
    const server = await MariadbServer.start();
    try {
      const env = { MYSQL_CONFIG: JSON.stringify(server.config), DEAD_PORT: String(await findDeadPort()) };
      const { tried, problems } = await find('mysql2', env);
      expect(problems).to.deep.equal([]);
      expect(tried).to.be.above(200);
    } finally {
      await server.stop();
    }
  });

  it('does not reach the application through mongodb', async () => {
    const server = await MongoServer.start();
    try {
      const env = { MONGODB_URL: server.url, DEAD_PORT: String(await findDeadPort()) };
      const { tried, problems } = await find('mongodb', env);
      expect(problems).to.deep.equal([]);
      expect(tried).to.be.above(150);
    } finally {
      await server.kill();
    }
  });

  it('does not reach the application through pg', async () => {
    const server = await PostgresServer.start();
    try {
      const { host, port, user, database } = server;
      const env = {
        PG_CONFIG: JSON.stringify({ host, port, user, database }),
        DEAD_PORT: String(await findDeadPort()),
      };
      const { tried, problems } = await find('pg', env);
      expect(problems).to.deep.equal([]);
      expect(tried).to.be.above(200);
    } finally {
      await server.stop();
    }
  });
});
