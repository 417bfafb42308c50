import { expect } from 'chai';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import mysql, { type Connection, type Pool, type PoolConnection, type PoolOptions, type QueryError } from 'mysql2';
import mysqlPromise from 'mysql2/promise';
import { Mysql2BreakerInstrumentation } from '../../instrumentations/mysql2/mysql2-instrumentation.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { CircuitOpenError } from '../../src/guard/guard.js';
import { counts, TestGuard } from '../support/guarded.js';
import { MariadbServer } from '../support/mariadb-server.js';
import { rejection } from '../support/ioredis.js';

const OPTIONS: BreakerOptions = {
  failureThreshold: 5,
  minimumCalls: 1_000_000,
  successThreshold: 1,
  openDuration: 60_000,
  initialOpenDuration: 60_000,
  openJitter: 0,
};

const full = (times: number) => Array.from({ length: times }, () => "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1040");

describe('mysql2', () => {
  let server: MariadbServer;
  let guard: TestGuard;
  let instrumentation: Mysql2BreakerInstrumentation;
  const made: { destroy(): unknown }[] = [];

  before(async () => {
    server = await MariadbServer.start();
  });
  after(() => server.stop());

  beforeEach(() => guardWith(OPTIONS));
  afterEach(() => {
    for (const one of made.splice(0)) one.destroy();
    instrumentation.disable();
  });

  function guardWith(options: BreakerOptions): void {
    instrumentation?.disable();
    guard = new TestGuard(options);
    instrumentation = new Mysql2BreakerInstrumentation({}, guard);
  }

  const breaker = () => guard.breaker(server.target);
  const calls = () => guard.calls(server.target);

  function connection(): Connection {
    const client = mysql.createConnection(server.config);
    client.on('error', () => {});
    made.push(client);
    return client;
  }

  function pool(options: PoolOptions = {}): Pool {
    const made_ = mysql.createPool({ ...server.config, connectionLimit: 4, ...options });
    made.push({ destroy: () => made_.end(() => {}) });
    return made_;
  }

  const query = (client: Connection | Pool, sql: string): Promise<unknown> =>
    new Promise((resolve, reject) =>
      client.query(sql, (error: QueryError | null, rows: unknown) => (error ? reject(error) : resolve(rows))),
    );

  async function open(client: Connection | Pool): Promise<void> {
    for (const sql of full(5)) await rejection(query(client, sql));
    expect(breaker().state).to.equal('open');
  }

  /** How many statements the server has been asked to prepare, to execute, or to answer with rows; nothing that this asks. */
  async function statements(): Promise<number> {
    instrumentation.disable();
    const client = await mysqlPromise.createConnection(server.config);
    const names = "'Com_select', 'Com_stmt_prepare', 'Com_stmt_execute'";
    const [rows] = await client.query(`SHOW GLOBAL STATUS WHERE Variable_name IN (${names})`);
    await client.end();
    instrumentation.enable();
    return (rows as { readonly Value: string }[]).reduce((sum, { Value }) => sum + Number(Value), 0);
  }

  it('counts a statement once, however it is asked, and the connection that is made for it as a part of it', async () => {
    const client = connection();
    expect(await query(client, 'SELECT 1 AS one')).to.deep.equal([{ one: 1 }]);
    await new Promise((resolve) => client.execute('SELECT ? AS one', [1], resolve));
    await new Promise((resolve) => client.execute('SELECT ? AS one', [2], resolve));
    for await (const row of client.query('SELECT 1 AS one UNION SELECT 2').stream()) expect(row).to.have.key('one');
    await client.promise().query('SELECT 1');
    await client.promise().execute('SELECT 1');
    await client.promise().ping();
    const statement = await client.promise().prepare('SELECT ? AS one');
    await statement.execute([1]);
    expect(calls()).to.deep.equal(counts({ success: 9 }));

    const many = pool();
    await Promise.all(Array.from({ length: 12 }, () => query(many, 'SELECT 1')));
    await many.promise().execute('SELECT 1');
    expect(calls()).to.deep.equal(counts({ success: 22 }));
    expect(guard.breakers.listNames()).to.deep.equal([server.target]);
  });

  it('counts a connection that is asked nothing, and none that goes back unused', async () => {
    const client = await mysqlPromise.createConnection(server.config);
    expect(calls()).to.deep.equal(counts({ success: 1 }));
    await client.end();
    const unused = await pool().promise().getConnection();
    unused.release();
    expect(calls()).to.deep.equal(counts({ success: 1, ignored: 1 }));
  });

  it('takes an error of the server for an answer, unless it says that it cannot work', async () => {
    const client = connection();
    expect(await rejection(query(client, 'SELEC 1'))).to.have.property('code', 'ER_PARSE_ERROR');
    await rejection(client.promise().execute('SELECT * FROM nowhere'));
    const count = (sql: string) => rejection(query(client, sql));
    await count("SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213");
    await count("SIGNAL SQLSTATE '08004' SET MYSQL_ERRNO = 1040");
    expect(calls()).to.deep.equal(counts({ success: 2, ignored: 1, failure: 1 }));
    await rejection(client.promise().query({ sql: 'SELECT SLEEP(1)', timeout: 20 }));
    expect(calls()).to.deep.equal(counts({ success: 2, ignored: 1, failure: 2 }));
  });

  it('opens by its failures, and then asks nothing, in any way', async () => {
    const client = connection();
    const many = pool();
    // The statement has the connection in it: which of the two comes first must not decide how many calls there are.
    await query(client, 'SELECT 1');
    await query(many, 'SELECT 1');
    await open(client);
    const before = await statements();
    const streamed = client.query('SELECT 1').stream();
    const [error] = (await once(streamed, 'error')) as [Error];
    expect(error).to.be.instanceOf(CircuitOpenError);
    for (const call of [
      () => query(client, 'SELECT 1'),
      () => client.promise().query('SELECT 1'),
      () => client.promise().execute('SELECT ?', [1]),
      () => client.promise().prepare('SELECT ?'),
      () => client.promise().ping(),
      () => query(many, 'SELECT 1'),
      () => many.promise().execute('SELECT ?', [1]),
      () => mysqlPromise.createConnection(server.config),
      () => query(pool(), 'SELECT 1'),
    ]) {
      expect(await rejection(call())).to.be.instanceOf(CircuitOpenError);
    }
    expect(breaker().stats().calls).to.deep.equal(counts({ success: 2, failure: 5, rejected: 10 }));
    // Its connection is where it was.
    expect(await statements()).to.equal(before);
    breaker().reset();
    await query(client, 'SELECT 1');
    await query(many, 'SELECT 1');
  });

  it('calls back once, after the event loop has turned', async () => {
    const client = connection();
    await open(client);
    const order: unknown[] = [];
    await new Promise<void>((resolve) => {
      client.execute('SELECT ?', [1], (error) => {
        order.push((error as { code?: string } | null)?.code);
        setImmediate(resolve);
      });
      process.nextTick(() => order.push('tick'));
    });
    expect(order).to.deep.equal(['tick', 'ERR_CIRCUIT_OPEN']);
  });

  it('lets nobody hang who waits for a connection of the pool', async () => {
    const client = connection();
    const many = pool({ connectionLimit: 1 });
    await open(client);
    const waiting = Array.from({ length: 5 }, () => rejection(query(many, 'SELECT 1')));
    for (const error of await Promise.all(waiting)) expect(error).to.be.instanceOf(CircuitOpenError);
    breaker().reset();
    await Promise.all(Array.from({ length: 5 }, () => query(many, 'SELECT 1')));
    expect(breaker().stats().calls.inFlight).to.equal(0);
  });

  it('makes no connection for a checkout that it rejects, in any way of asking', async () => {
    const client = connection();
    await open(client);
    const many = pool({ connectionLimit: 1 });
    let sockets = 0;
    const count = () => sockets++;
    subscribe('net.client.socket', count);
    try {
      const errors = await Promise.all(
        [
          () => new Promise((_, reject) => many.getConnection(reject)),
          () => many.promise().getConnection(),
          () => query(many, 'SELECT 1'),
          () => new Promise((_, reject) => many.execute('SELECT ?', [1], reject)),
          () => many.promise().query('SELECT 1'),
          () => many.promise().execute('SELECT ?', [1]),
          () => once(many.query('SELECT 1').stream(), 'end'),
        ].map((call) => rejection(call())),
      );
      for (const error of errors) {
        expect(error).to.be.instanceOf(CircuitOpenError);
        expect(error).to.have.property('fatal', true);
      }
      expect(sockets).to.equal(0);
    } finally {
      unsubscribe('net.client.socket', count);
    }
    expect(breaker().stats().calls).to.deep.equal(counts({ failure: 5, rejected: 7 }));
    breaker().reset();
    await query(many, 'SELECT 1');
    expect(breaker().stats().calls).to.include({ success: 1, inFlight: 0 });
  });

  it('refuses no checkout of a cluster, which would give its server up for good, and still every statement', async () => {
    const cluster = mysql.createPoolCluster();
    const removed: string[] = [];
    cluster.on('remove', (id) => removed.push(String(id)));
    cluster.add('one', server.config);
    made.push({ destroy: () => cluster.end() });
    const ask = () =>
      new Promise((resolve, reject) => cluster.of('*').query('SELECT 1', (e, rows) => (e ? reject(e) : resolve(rows))));
    // At hand while the circuit opens, so that further ones are made then.
    const held = await new Promise<PoolConnection>((resolve, reject) =>
      cluster.getConnection((e, made_) => (e ? reject(e) : resolve(made_))),
    );
    breaker().forceOpen();
    for (let call = 0; call < 8; call++) expect(await rejection(ask())).to.be.instanceOf(CircuitOpenError);
    expect([removed, breaker().stats().calls.rejected]).to.deep.equal([[], 8]);
    breaker().reset();
    await ask();
    held.release();
    expect(breaker().stats().calls.inFlight).to.equal(0);
  });

  it('gives back the permit of a connection whose pool is closed before a statement', async () => {
    for (let round = 0; round < 3; round++) {
      const many = pool();
      const asked = rejection(query(many, 'SELECT 1'));
      const closed = new Promise((resolve) => many.end(resolve));
      await Promise.all([asked, closed]);
    }
    const many = pool();
    const idle = await many.promise().getConnection();
    await many.promise().end();
    idle.release();
    expect(breaker().stats().calls).to.deep.equal(counts({ ignored: 4 }));
  });

  it('rejects those that wait for a connection of the pool when the last one is gone, and loses none', async () => {
    const many = pool({ connectionLimit: 1 });
    const only = await many.promise().getConnection();
    const waiting = Array.from({ length: 100 }, () => rejection(query(many, 'SELECT 1')));
    breaker().forceOpen();
    only.destroy();
    for (const error of await Promise.all(waiting)) expect(error).to.be.instanceOf(CircuitOpenError);
    expect(calls()).to.include({ rejected: 100, inFlight: 0 });
    breaker().reset();
    await Promise.all(Array.from({ length: 5 }, () => query(many, 'SELECT 1')));
    instrumentation.disable();
    breaker().forceOpen();
    await query(pool(), 'SELECT 1');
  });

  it('rejects nothing inside a transaction, nor what ends one', async () => {
    const client = connection();
    await query(client, 'CREATE TABLE IF NOT EXISTS inside (id INT) ENGINE = InnoDB');
    for (const begin of ['START TRANSACTION', 'BEGIN', '/* mine */ begin', 'SET autocommit = 0']) {
      await query(client, begin);
      breaker().forceOpen();
      await query(client, 'INSERT INTO inside VALUES (1)');
      await client.promise().execute('SELECT * FROM inside WHERE id = ?', [1]);
      await query(client, 'ROLLBACK');
      if (begin.startsWith('SET')) await query(client, 'SET autocommit = 1');
      expect(await rejection(query(client, 'SELECT 1'))).to.be.instanceOf(CircuitOpenError);
      await query(client, 'COMMIT');
      breaker().reset();
    }
  });

  it('rejects what follows a rejected BEGIN before its caller knows, and lets pass what follows one on its way', async () => {
    const client = connection();
    await query(client, 'CREATE TABLE IF NOT EXISTS outside (id INT) ENGINE = InnoDB');
    const begun = [query(client, 'BEGIN')];
    breaker().forceOpen();
    begun.push(query(client, 'INSERT INTO outside VALUES (1)'), query(client, 'ROLLBACK'));
    await Promise.all(begun);

    const refused = [rejection(query(client, 'BEGIN'))];
    breaker().reset();
    refused.push(rejection(query(client, 'INSERT INTO outside VALUES (2)')));
    for (const error of await Promise.all(refused)) expect(error).to.be.instanceOf(CircuitOpenError);
    expect(await query(client, 'SELECT * FROM outside')).to.deep.equal([]);
  });

  it('lets cleaning up pass while the circuit is open', async () => {
    const client = connection();
    const statement = await client.promise().prepare('SELECT 1');
    breaker().forceOpen();
    await statement.close();
    await query(client, "DO RELEASE_LOCK('mine')");
    await query(client, 'UNLOCK TABLES');
    await client.promise().end();
  });

  it('fails a connection that cannot be made once, with everything that waits for it', async () => {
    const dead = await MariadbServer.start();
    await dead.stop();
    const client = mysql.createConnection(dead.config);
    const failed = Array.from({ length: 10 }, () => rejection(query(client, 'SELECT 1')));
    for (const error of await Promise.all(failed)) expect(error.code).to.equal('ECONNREFUSED');
    const { state } = guard.breaker(dead.target);
    expect(state).to.equal('closed');
    const many = mysql.createPool(dead.config);
    for (let call = 0; call < 4; call++)
      expect((await rejection(query(many, 'SELECT 1'))).code).to.equal('ECONNREFUSED');
    expect(await rejection(query(many, 'SELECT 1'))).to.be.instanceOf(CircuitOpenError);
    expect(guard.breaker(dead.target).stats().calls.inFlight).to.equal(0);
    many.end(() => {});
  });

  it('says nothing of the server by a refused login', async () => {
    await rejection(mysqlPromise.createConnection({ ...server.config, database: 'nowhere' }));
    expect(guard.calls(server.target.replace('orders', 'nowhere'))).to.deep.equal(counts({ ignored: 1 }));
  });

  it('gives back the permit of a call whose connection its caller destroys, or whose arguments were wrong', async () => {
    const client = connection();
    await query(client, 'SELECT 1');
    client.query('SELECT SLEEP(1)', () => {});
    client.query('SELECT 2', () => {});
    client.destroy();
    connection().destroy();
    const other = connection();
    await query(other, 'SELECT 1');
    expect(() => other.execute('SELECT ?', [undefined as never])).to.throw(TypeError);
    expect(calls()).to.deep.equal(counts({ success: 2, ignored: 3 }));
  });

  it('takes the end of many connections by one restart for one failure, and waits for nothing', async () => {
    const own = await MariadbServer.start();
    try {
      const many = mysql.createPool({ ...own.config, connectionLimit: 10 });
      const ask = (sql = 'SELECT 1') =>
        Promise.all(Array.from({ length: 10 }, () => query(many, sql).catch((error: Error) => error)));
      await ask();
      // None is answered before the server is gone.
      const lost = ask('SELECT SLEEP(60)');
      await new Promise((resolve) => setImmediate(resolve));
      await own.kill();
      for (const error of await lost) expect(error).to.be.instanceOf(Error);
      expect(guard.only.state).to.equal('closed');
      expect(guard.only.stats().calls).to.deep.equal(counts({ success: 10, failure: 1, ignored: 9 }));
      await own.start();
      for (const rows of await ask()) expect(rows).to.deep.equal([{ 1: 1 }]);
      many.end(() => {});
    } finally {
      await own.stop();
    }
  });

  it('guards a unix socket by its path', async () => {
    const { user, database } = server.config;
    const client = mysql.createConnection({ socketPath: server.socketPath, user, database });
    await query(client, 'SELECT 1');
    expect(guard.breakers.listNames()).to.deep.equal([`unix:${server.socketPath}/orders`]);
    client.destroy();
  });

  it('leaves the client as it was', async () => {
    const first = connection();
    await once(first, 'connect');
    const prototype = Object.getPrototypeOf(Object.getPrototypeOf(first)) as Record<
      string,
      { name: string; length: number }
    >;
    const patched = prototype.addCommand!;
    expect([patched.name, patched.length]).to.deep.equal(['addCommand', 1]);
    instrumentation.disable();
    expect(prototype.addCommand).to.not.equal(patched);
    const { success } = calls();
    const client = connection();
    await query(client, 'SELECT 1');
    expect(calls().success).to.equal(success);
  });

  it('is not hurt by a fault of ours', async () => {
    const client = connection();
    Object.assign(guard, {
      enter() {
        throw new Error('a fault of ours');
      },
    });
    expect(await query(client, 'SELECT 1 AS one')).to.deep.equal([{ one: 1 }]);
  });

  it('lets nothing pass as a probe but one, and closes by it', async () => {
    guardWith({ ...OPTIONS, halfOpenMaxCalls: 1, initialOpenDuration: 1, openDuration: 1, openBackoff: 1 });
    const many = pool();
    await query(many, 'SELECT 1');
    const client = connection();
    for (const sql of full(5)) await rejection(query(client, sql));
    while (breaker().state !== 'closed') await query(many, 'SELECT 1').catch(() => undefined);
    expect(breaker().stats().calls.inFlight).to.equal(0);
  });

  describe('half-open, with room for one probe', () => {
    let many: Pool;

    beforeEach(async () => {
      guardWith({ ...OPTIONS, halfOpenMaxCalls: 1, successThreshold: 2, initialOpenDuration: 1, openDuration: 1 });
      const client = connection();
      for (const sql of full(5)) await rejection(query(client, sql));
      many = pool();
      const until = breaker().stats().openUntil!.getTime() + 1;
      while (Date.now() <= until) await new Promise((resolve) => setImmediate(resolve));
    });

    it('gets the slot of a connection back that is checked out and asked nothing, and its first statement asks anew', async () => {
      const before = calls();
      const held = await many.promise().getConnection();
      await new Promise((resolve) => setTimeout(resolve, 5));
      expect(calls()).to.deep.equal({ ...before, ignored: 1 });
      expect(breaker().state).to.equal('half_open');
      await query(many, 'SELECT 1');
      await held.query('SELECT 1');
      expect(breaker().state).to.equal('closed');
      expect(calls()).to.deep.equal({ ...before, ignored: 1, success: before.success + 2 });
      held.release();
    });

    it('takes a checkout and the statement that follows it for one probe', async () => {
      const before = calls();
      const held = await many.promise().getConnection();
      const first = held.query('SELECT 1');
      expect(await rejection(query(many, 'SELECT 1'))).to.be.instanceOf(CircuitOpenError);
      await first;
      expect(calls()).to.deep.equal({ ...before, success: before.success + 1, rejected: before.rejected + 1 });
      held.release();
    });

    it('takes a connection of its own for a probe, and gets its slot back once that is made', async () => {
      const session = await mysqlPromise.createConnection(server.config);
      made.push(session);
      expect(breaker().stats().calls.inFlight).to.equal(0);
      await session.query('SELECT 1');
      expect(breaker().state).to.equal('closed');
    });
  });
});
