import { expect } from 'chai';
import { asc, eq } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { integer, pgTable, text } from 'drizzle-orm/pg-core';
import { knex as createKnex } from 'knex';
import pg = require('pg');
import { PgBreakerInstrumentation } from '../../instrumentations/pg/pg-instrumentation.js';
import { isCircuitOpenError } from '../../src/breaker/errors.js';
import { TestGuard } from '../support/guarded.js';
import { endPool } from '../support/pools.js';
import { PostgresServer } from '../support/postgres-server.js';
import { rejectionOf } from '../support/rejections.js';

// Knex prints every connection that it loses.
const QUIET = { warn() {}, error() {}, debug() {}, deprecate() {} };

interface Order {
  readonly id: number;
  readonly item: string;
}

/** What an application would write on top of a library. */
interface Repository {
  add(order: Order): Promise<unknown>;
  all(): Promise<Order[]>;
  /** In one transaction. */
  replace(id: number, order: Order): Promise<unknown>;
  close(): Promise<unknown>;
}

const libraries: Record<string, (server: PostgresServer) => Repository> = {
  knex: ({ host, port, user, database }) => {
    const knex = createKnex({
      client: 'pg',
      connection: { host, port, user, database },
      pool: { min: 0, max: 5 },
      log: QUIET,
    });
    return {
      add: (order) => knex('orders').insert(order),
      all: () => knex<Order>('orders').select().orderBy('id'),
      replace: (id, order) =>
        knex.transaction(async (transaction) => {
          await transaction('orders').where({ id }).delete();
          await transaction('orders').insert(order);
        }),
      close: () => knex.destroy(),
    };
  },
  drizzle: ({ host, port, user, database }) => {
    const pool = new pg.Pool({ host, port, user, database, max: 5 });
    pool.on('error', () => {});
    const db = drizzle({ client: pool });
    const orders = pgTable('orders', { id: integer().primaryKey(), item: text().notNull() });
    return {
      add: (order) => db.insert(orders).values(order),
      all: () => db.select().from(orders).orderBy(asc(orders.id)),
      replace: (id, order) =>
        db.transaction(async (transaction) => {
          await transaction.delete(orders).where(eq(orders.id, id));
          await transaction.insert(orders).values(order);
        }),
      close: () => endPool(pool),
    };
  },
};

describe('pg: what is built on it', () => {
  let server: PostgresServer;
  let guard: TestGuard;
  let instrumentation: PgBreakerInstrumentation;
  // A test that has failed must not go on in the background.
  let over: boolean;

  beforeEach(async () => {
    over = false;
    server = await PostgresServer.start();
    guard = new TestGuard({ preset: 'database', openDuration: 50 });
    instrumentation = new PgBreakerInstrumentation({}, guard);
  });

  afterEach(async () => {
    over = true;
    instrumentation.disable();
    await server.stop();
  });

  for (const [library, open] of Object.entries(libraries)) {
    it(`${library}: a repository works unchanged, and recovers by itself after the server returns`, async () => {
      const setUp = new pg.Client(server.url);
      await setUp.connect();
      await setUp.query('CREATE TABLE orders (id int PRIMARY KEY, item text NOT NULL)');
      await setUp.end();
      const repository = open(server);

      await repository.add({ id: 1, item: 'one' });
      await repository.add({ id: 2, item: 'two' });
      await repository.replace(2, { id: 3, item: 'three' });
      const duplicate = await rejectionOf(repository.add({ id: 1, item: 'again' }));
      expect(codeOf(duplicate)).to.equal('23505');
      const expected = [
        { id: 1, item: 'one' },
        { id: 3, item: 'three' },
      ];
      expect(await repository.all()).to.deep.equal(expected);
      const breaker = guard.only;
      expect(breaker.stats().calls).to.deep.include({ failure: 0, rejected: 0, inFlight: 0 });

      await server.kill();
      while (breaker.state === 'closed') await rejectionOf(repository.all());
      expect(isCircuitOpenError(await rejectionOf(repository.all()))).to.equal(true);
      expect(isCircuitOpenError(await rejectionOf(repository.replace(1, { id: 4, item: 'four' })))).to.equal(true);

      await server.start();
      // As its own callers would: they try again, and nothing else is done.
      const recovered = () => breaker.state === 'closed';
      while (!recovered() && !over) {
        await repository.all().catch(() => new Promise((resolve) => setTimeout(resolve, 10)));
      }
      expect(await repository.all()).to.deep.equal(expected);
      await repository.replace(3, { id: 4, item: 'four' });
      expect(await repository.all()).to.deep.equal([expected[0], { id: 4, item: 'four' }]);
      expect(breaker.stats().calls.inFlight).to.equal(0);

      await repository.close();
    });
  }

  it('knex: a transaction that is open when the circuit opens ends as it would have', async () => {
    const { host, port, user, database } = server;
    const knex = createKnex({ client: 'pg', connection: { host, port, user, database } });
    await knex.schema.createTable('orders', (table) => table.integer('id'));
    await knex.transaction(async (transaction) => {
      await transaction('orders').insert({ id: 1 });
      guard.only.forceOpen();
      await transaction('orders').insert({ id: 2 });
    });
    guard.only.reset();
    const wanted = new Error('changed my mind');
    const error = await rejectionOf(
      knex.transaction(async (transaction) => {
        await transaction('orders').insert({ id: 3 });
        guard.only.forceOpen();
        throw wanted;
      }),
    );
    expect(error).to.equal(wanted);
    guard.only.reset();
    expect(await knex('orders').select().orderBy('id')).to.deep.equal([{ id: 1 }, { id: 2 }]);
    await knex.destroy();
  });
});

/** Drizzle wraps what pg gives it. */
function codeOf(error: unknown): unknown {
  const { code, cause } = error as { code?: unknown; cause?: unknown };
  return code ?? codeOf(cause);
}
