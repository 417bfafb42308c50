import { expect } from 'chai';
import pg = require('pg');
import PgPool = require('pg-pool');
import { PgBreakerInstrumentation } from '../../instrumentations/pg/pg-instrumentation.js';
import { countCalls, only, TestGuard } from '../support/guarded.js';
import { endPool } from '../support/pools.js';
import { PostgresServer } from '../support/postgres-server.js';
import { rejectionOf } from '../support/rejections.js';

describe('pg: target', () => {
  let server: PostgresServer;
  let guard: TestGuard;
  let instrumentation: PgBreakerInstrumentation;

  before(async () => {
    server = await PostgresServer.start();
  });
  after(() => server.stop());

  beforeEach(() => {
    guard = new TestGuard({ preset: 'database' });
    instrumentation = new PgBreakerInstrumentation({}, guard);
  });
  afterEach(() => instrumentation.disable());

  const address = () => {
    const { host, port, user, database } = server;
    return { host, port, user, database };
  };

  const configurations: Record<string, () => [pg.PoolConfig, name: string]> = {
    'host, port and database': () => [address(), `postgresql://127.0.0.1:${server.port}/postgres`],
    'a connection string': () => [
      { connectionString: server.url.replace('@', ':secret@') },
      `postgresql://127.0.0.1:${server.port}/postgres`,
    ],
    'a host name in capitals': () => [
      { ...address(), host: 'LOCALHOST' },
      `postgresql://localhost:${server.port}/postgres`,
    ],
    'an IPv6 address': () => [{ ...address(), host: '::1' }, `postgresql://[::1]:${server.port}/postgres`],
    'another database': () => [
      { ...address(), database: 'template1' },
      `postgresql://127.0.0.1:${server.port}/template1`,
    ],
    'a unix socket': () => [
      { ...address(), host: server.socketDirectory },
      `unix:${server.socketDirectory}/.s.PGSQL.${server.port}/postgres`,
    ],
    'a unix socket in a connection string': () => [
      { connectionString: `postgresql://${server.user}@/postgres?host=${server.socketDirectory}&port=${server.port}` },
      `unix:${server.socketDirectory}/.s.PGSQL.${server.port}/postgres`,
    ],
  };

  for (const [name, configure] of Object.entries(configurations)) {
    it(`is the same through client and pool: ${name}`, async () => {
      const [config, expected] = configure();
      const pool = new pg.Pool(config);
      await pool.query('SELECT 1');
      guard.only.forceOpen();
      await rejectionOf(pool.connect());
      guard.only.reset();
      await endPool(pool);
      const client = new pg.Client(config);
      await client.connect();
      await client.end();
      expect(guard.breakers.listNames()).to.deep.equal([expected]);
    });
  }

  it('comes from the environment where the configuration has none', async () => {
    const environment = {
      PGHOST: '127.0.0.1',
      PGPORT: String(server.port),
      PGUSER: server.user,
      PGDATABASE: 'postgres',
    };
    const before = Object.keys(environment).map((key) => [key, process.env[key]] as const);
    Object.assign(process.env, environment);
    try {
      const pool = new pg.Pool();
      await pool.query('SELECT 1');
      await endPool(pool);
    } finally {
      for (const [key, value] of before) {
        if (value === undefined) delete process.env[key];
        else process.env[key] = value;
      }
    }
    expect(guard.breakers.listNames()).to.deep.equal([`postgresql://127.0.0.1:${server.port}/postgres`]);
  });

  it('says nothing of where metrics would put it wrong: labels name address and port', async () => {
    const pool = new pg.Pool(address());
    await pool.query('SELECT 1');
    await endPool(pool);
    expect(guard.only.labels).to.deep.equal({
      system: 'postgresql',
      server_address: '127.0.0.1',
      server_port: server.port,
    });
  });

  it('follows options that change', async () => {
    const pool = new pg.Pool({ ...address(), idleTimeoutMillis: 1 });
    await pool.query('SELECT 1');
    await new Promise((resolve) => pool.once('remove', resolve));
    Object.assign(pool.options, { database: 'template1' });
    await pool.query('SELECT 1');
    await endPool(pool);
    expect(guard.breakers.listNames().map((name) => name.split('/').pop())).to.deep.equal(['postgres', 'template1']);
  });

  it('has one breaker for each of several hosts', async () => {
    for (const host of ['127.0.0.1', 'localhost']) {
      const pool = new pg.Pool({ ...address(), host });
      await pool.query('SELECT 1');
      await endPool(pool);
    }
    expect(guard.breakers.size).to.equal(2);
  });

  it('counts a host whose addresses all refuse once', async () => {
    const client = new pg.Client({ host: 'localhost', port: 1, user: 'u', database: 'd' });
    expect(await rejectionOf(client.connect())).to.have.property('code', 'ECONNREFUSED');
    expect(guard.only.stats().calls).to.deep.include({ failure: 1 });
  });

  it('counts a host name that nobody knows, and a socket that is not there', async () => {
    for (const host of ['no-such-host.invalid', '/no/such/directory']) {
      const client = new pg.Client({ host, user: 'u', database: 'd' });
      expect(await rejectionOf(client.connect()))
        .to.have.property('code')
        .that.is.oneOf(['ENOTFOUND', 'EAI_AGAIN', 'ENOENT']);
    }
    expect([...guard.breakers].map((breaker) => breaker.stats().calls.failure)).to.deep.equal([1, 1]);
  });

  it('counts a pg-pool that was made without pg', async () => {
    const pool = new PgPool(address());
    await pool.query('SELECT 1');
    const counts = countCalls(guard.only);
    await pool.query('SELECT 1');
    await endPool(pool);
    expect(counts()).to.deep.equal(only({ success: 1 }));
  });

  it("leaves other clients' pools alone", async () => {
    // As pg-native's: a client that shares nothing with pg's own.
    class OtherClient {
      readonly #client = new pg.Client(address());
      readonly _queryable = true;
      readonly _ending = false;
      readonly once = this.#client.once.bind(this.#client);
      readonly on = this.#client.on.bind(this.#client);
      readonly removeListener = this.#client.removeListener.bind(this.#client);
      readonly query = this.#client.query.bind(this.#client);
      readonly end = this.#client.end.bind(this.#client);
      readonly connect = this.#client.connect.bind(this.#client);
    }
    const pool = new pg.Pool({ ...address(), Client: OtherClient } as object);
    await pool.query('SELECT 1');
    expect(guard.only.stats().calls).to.deep.include({ success: 2 });
    guard.only.forceOpen();
    const client = await pool.connect();
    client.release();
    await endPool(pool);
  });
});

describe('pg: attaching', () => {
  const owners = [
    pg.Client.prototype,
    pg.Query.prototype,
    (pg.Pool as { prototype: object }).prototype,
    PgPool.prototype,
  ] as object[];
  const descriptors = () => owners.map((owner) => Object.getOwnPropertyDescriptors(owner));

  it('leaves pg as it was when it is disabled', () => {
    const before = descriptors();
    const instrumentation = new PgBreakerInstrumentation({}, new TestGuard());
    expect(descriptors()).to.not.deep.equal(before);
    instrumentation.disable();
    expect(descriptors()).to.deep.equal(before);
  });

  it('keeps the names and lengths of methods', () => {
    const shape = () =>
      descriptors().map((all) =>
        Object.entries(all).map(([key, { value, enumerable }]) => {
          const { name, length } = Object(value) as { name?: unknown; length?: unknown };
          return [key, enumerable, name, length];
        }),
      );
    const before = shape();
    const instrumentation = new PgBreakerInstrumentation({}, new TestGuard());
    expect(shape()).to.deep.equal(before);
    instrumentation.disable();
  });

  it('lets calls under way end after it is disabled', async () => {
    const server = await PostgresServer.start();
    const guard = new TestGuard();
    const instrumentation = new PgBreakerInstrumentation({}, guard);
    const pool = new pg.Pool(server);
    const answers = [pool.query('SELECT 1'), pool.query('SELECT pg_sleep(0.05)')];
    instrumentation.disable();
    await Promise.all(answers);
    await pool.query('SELECT 1');
    await endPool(pool);
    await server.stop();
    expect(guard.only.stats().calls.success).to.be.at.most(2);
  });
});
