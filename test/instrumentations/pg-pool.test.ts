import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { expect } from 'chai';
import pg = require('pg');
import { PgBreakerInstrumentation } from '../../instrumentations/pg/pg-instrumentation.js';
import type { CircuitBreaker } from '../../src/breaker/circuit-breaker.js';
import { isCircuitOpenError } from '../../src/breaker/errors.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { countCalls, only, TestGuard } from '../support/guarded.js';
import { endPool } from '../support/pools.js';
import { anyPostgres } from '../support/postgres-server.js';
import { rejectionOf } from '../support/rejections.js';

describe('pg: Pool', () => {
  let server: Awaited<ReturnType<typeof anyPostgres>>;
  let guard: TestGuard;
  let instrumentation: PgBreakerInstrumentation | undefined;
  let pools: pg.Pool[];

  before(async () => {
    server = await anyPostgres();
  });
  after(() => server.stop());

  beforeEach(() => {
    pools = [];
    guardWith({});
  });

  afterEach(async () => {
    try {
      for (const pool of pools) await endPool(pool);
      for (const breaker of guard.breakers) expect(breaker.stats().calls.inFlight).to.equal(0);
    } finally {
      instrumentation?.disable();
    }
  });

  function guardWith(options: BreakerOptions): void {
    instrumentation?.disable();
    guard = new TestGuard({ preset: 'database', openDuration: 1, ...options });
    instrumentation = new PgBreakerInstrumentation({}, guard);
  }

  function poolOf(config: pg.PoolConfig = {}): pg.Pool {
    const pool = new pg.Pool({ connectionString: server.url, ...config });
    pools.push(pool);
    return pool;
  }

  /** The breaker of the server, before any call. */
  function breakerOf(): CircuitBreaker {
    const { host, port, database } = new pg.Client(server.url);
    return guard.breakerOf({ system: 'postgresql', scheme: 'postgresql', host, port, database: database! });
  }

  const countsOf = ({ totalCount, idleCount, waitingCount }: pg.Pool) => ({ totalCount, idleCount, waitingCount });
  const called = (pool: pg.Pool) =>
    new Promise((resolve, reject) => {
      pool.query('SELECT 1 AS n', (error: unknown, result: pg.QueryResult) =>
        error ? reject(error as Error) : resolve(result.rows),
      );
    });

  it('counts a query once, connection included', async () => {
    const counts = countCalls(breakerOf());
    const pool = poolOf();
    expect((await pool.query('SELECT 1 AS n')).rows).to.deep.equal([{ n: 1 }]);
    expect(counts()).to.deep.equal(only({ success: 1 }));
    await pool.query('SELECT $1::int AS n', [1]);
    expect(await called(pool)).to.deep.equal([{ n: 1 }]);
    expect(counts()).to.deep.equal(only({ success: 3 }));
    expect(guard.breakers.size).to.equal(1);
  });

  it('counts a checkout and its first statement once, and each further statement', async () => {
    const counts = countCalls(breakerOf());
    const pool = poolOf();
    for (const expected of [1, 2]) {
      const client = await pool.connect();
      await client.query('SELECT 1');
      client.release();
      expect(counts()).to.deep.equal(only({ success: expected }));
    }
    const client = await pool.connect();
    await client.query('BEGIN');
    await client.query('SELECT 1');
    await client.query('COMMIT');
    client.release();
    expect(counts()).to.deep.equal(only({ success: 5 }));
  });

  it('ignores a connection made for nothing, and counts no checkout of an idle client', async () => {
    const counts = countCalls(breakerOf());
    const pool = poolOf();
    (await pool.connect()).release();
    expect(counts()).to.deep.equal(only({ ignored: 1 }));
    (await pool.connect()).release();
    await new Promise<void>((resolve, reject) => {
      pool.connect((error, _client, release) => {
        release();
        error ? reject(error) : resolve();
      });
    });
    expect(counts()).to.deep.equal(only({ ignored: 1 }));
  });

  it('counts failed connections', async () => {
    const { port } = new URL(server.url);
    const pool = poolOf({ connectionString: server.url.replace(`:${port}`, ':1') });
    for (const error of [await rejectionOf(pool.query('SELECT 1')), await rejectionOf(pool.connect())]) {
      expect(error).to.have.property('code', 'ECONNREFUSED');
    }
    expect(guard.only.stats().calls).to.deep.include({ failure: 2, success: 0, ignored: 0 });
    expect(countsOf(pool)).to.deep.equal({ totalCount: 0, idleCount: 0, waitingCount: 0 });
  });

  describe('while the circuit is open', () => {
    it('leaves the pool exactly as it was', async () => {
      const pool = poolOf();
      await pool.query('SELECT 1');
      const before = countsOf(pool);
      const events: string[] = [];
      for (const event of ['connect', 'acquire', 'release', 'remove', 'error'] as const) {
        pool.on(event as 'connect', () => events.push(event));
      }
      guard.only.forceOpen();
      const counts = countCalls(guard.only);
      const errors = await Promise.all([
        ...[pool.connect(), pool.query('SELECT 1'), called(pool)].map(rejectionOf),
        new Promise((resolve) =>
          pool.connect((error, client, release) => {
            expect(client).to.equal(undefined);
            release();
            resolve(error);
          }),
        ),
      ]);
      expect(errors.map(isCircuitOpenError)).to.deep.equal([true, true, true, true]);
      expect(counts()).to.deep.equal(only({ rejected: 4 }));
      expect(countsOf(pool)).to.deep.equal(before);
      expect(events).to.deep.equal([]);
      guard.only.reset();
      await pool.query('SELECT 1');
      expect(countsOf(pool)).to.deep.equal(before);
    });

    it('makes no connection, not even the first', async () => {
      const breaker = breakerOf();
      breaker.forceOpen();
      const pool = poolOf();
      const rejected = rejectionOf(pool.connect());
      expect(pool.totalCount).to.equal(0);
      expect(isCircuitOpenError(await rejected)).to.equal(true);
      expect(guard.only).to.equal(breaker);
    });

    it('lets the event loop turn under a caller that tries again at once', async () => {
      breakerOf().forceOpen();
      const pool = poolOf();
      let turned = false;
      setImmediate(() => (turned = true));
      while (!turned) expect(isCircuitOpenError(await rejectionOf(pool.query('SELECT 1')))).to.equal(true);
    });

    it('leads the stack of a rejected promise to whoever asked', async () => {
      breakerOf().forceOpen();
      const pool = poolOf();
      for (const error of [await rejectionOf(pool.connect()), await rejectionOf(pool.query('SELECT 1'))]) {
        expect((error as Error).stack).to.contain(__filename);
      }
    });

    it('calls back after the caller has gone on', async () => {
      breakerOf().forceOpen();
      const pool = poolOf();
      let calls = 0;
      const done = new Promise<void>((resolve) => pool.connect(() => resolve(void calls++)));
      expect(calls).to.equal(0);
      await done;
    });

    it("gives pg's own error once the pool has ended", async () => {
      breakerOf().forceOpen();
      const pool = new pg.Pool({ connectionString: server.url });
      await pool.end();
      expect(await rejectionOf(pool.connect())).to.have.property(
        'message',
        'Cannot use a pool after calling end on the pool',
      );
    });

    it('lets an open transaction of a checked-out client end', async () => {
      const pool = poolOf();
      for (const end of ['COMMIT', 'ROLLBACK']) {
        const client = await pool.connect();
        await client.query('BEGIN');
        guard.only.forceOpen();
        await client.query('SELECT 1');
        await client.query(end);
        client.release();
        expect(countsOf(pool)).to.deep.equal({ totalCount: 1, idleCount: 1, waitingCount: 0 });
        guard.only.reset();
      }
    });

    it('rejects checkouts that were waiting when it opened, at their turn, and keeps the clients', async () => {
      const pool = poolOf({ max: 1 });
      const client = await pool.connect();
      await client.query('SELECT 1');
      const waiting = Promise.all([pool.query('SELECT 1'), pool.connect(), pool.query('SELECT 1')].map(rejectionOf));
      expect(pool.waitingCount).to.equal(3);
      guard.only.forceOpen();
      const counts = countCalls(guard.only);
      client.release();
      expect((await waiting).map(isCircuitOpenError)).to.deep.equal([true, true, true]);
      expect(counts()).to.deep.equal(only({ rejected: 3 }));
      expect(countsOf(pool)).to.deep.equal({ totalCount: 1, idleCount: 1, waitingCount: 0 });
    });
  });

  describe('exhausted by our own process', () => {
    it("is not the server's failure", async () => {
      const pool = poolOf({ max: 1, connectionTimeoutMillis: 300 });
      const client = await pool.connect();
      await client.query('SELECT 1');
      const counts = countCalls(guard.only);
      for (const error of [await rejectionOf(pool.connect()), await rejectionOf(pool.query('SELECT 1'))]) {
        expect(error).to.have.property('message', 'timeout exceeded when trying to connect');
      }
      client.release();
      expect(counts()).to.deep.equal(only({}));
    });

    it('is no slowness of the server', async () => {
      guardWith({ slowCallDuration: 200, minimumCalls: 1, slowCallRateThreshold: 0.1 });
      const pool = poolOf({ max: 1 });
      const client = await pool.connect();
      await client.query('SELECT 1');
      const waiting = pool.query('SELECT 1');
      await new Promise((resolve) => setTimeout(resolve, 250));
      client.release();
      await waiting;
      await pool.query('SELECT 1');
      expect(guard.only.stats()).to.deep.include({ state: 'closed', slowCallRate: 0 });
    });
  });

  describe('half-open', () => {
    async function halfOpen(breaker: CircuitBreaker): Promise<void> {
      for (let call = 0; call < breaker.config.failureThreshold; call++) breaker.acquire().failure(new Error('down'));
      expect(breaker.state).to.equal('open');
      // A millisecond more, since the breaker measures with a finer clock.
      const until = breaker.stats().openUntil!.getTime() + 1;
      while (Date.now() <= until) await new Promise((resolve) => setImmediate(resolve));
    }

    it('admits so many probes, rejects the rest, and closes when they succeed', async () => {
      guardWith({ halfOpenMaxCalls: 3, successThreshold: 3 });
      const pool = poolOf();
      await Promise.all(Array.from({ length: 10 }, () => pool.query('SELECT 1')));
      const counts = countCalls(guard.only);
      await halfOpen(guard.only);
      const before = counts();
      const answers = await Promise.allSettled(Array.from({ length: 20 }, () => pool.query('SELECT 1')));
      expect(answers.filter(({ status }) => status === 'fulfilled')).to.have.length(3);
      expect(counts()).to.deep.equal({ ...before, success: before.success + 3, rejected: before.rejected + 17 });
      expect(guard.only.state).to.equal('closed');
      expect(countsOf(pool)).to.deep.equal({ totalCount: 10, idleCount: 10, waitingCount: 0 });
    });

    it('takes a probe through connection and statement as one', async () => {
      guardWith({ halfOpenMaxCalls: 1, successThreshold: 2 });
      const breaker = breakerOf();
      await halfOpen(breaker);
      const counts = countCalls(breaker);
      const pool = poolOf();
      await pool.query('SELECT 1');
      expect(breaker.state).to.equal('half_open');
      const client = await pool.connect();
      expect(isCircuitOpenError(await rejectionOf(pool.connect()))).to.equal(true);
      await client.query('SELECT 1');
      client.release();
      expect(breaker.state).to.equal('closed');
      expect(counts()).to.deep.equal(only({ success: 2, rejected: 1 }));
    });

    it('rejects no caller behind the statement that a listener asks first', async () => {
      guardWith({ halfOpenMaxCalls: 1, successThreshold: 2 });
      await halfOpen(breakerOf());
      const pool = poolOf();
      const first: Promise<unknown>[] = [];
      pool.on('connect', (client) => first.push(client.query("SET application_name = 'mine'")));
      const { rows } = await pool.query('SELECT 1 AS n');
      expect(rows).to.deep.equal([{ n: 1 }]);
      await Promise.all(first);
      expect(first).to.have.length(1);
    });

    it('gets the slot of a probe back that was checked out for nothing', async () => {
      guardWith({ halfOpenMaxCalls: 1, successThreshold: 1 });
      const pool = poolOf();
      await pool.query('SELECT 1');
      await halfOpen(guard.only);
      (await pool.connect()).release();
      expect(guard.only.state).to.equal('half_open');
      await pool.query('SELECT 1');
      expect(guard.only.state).to.equal('closed');
    });

    it('gets the slot of a probe back that waited for a client in vain', async () => {
      guardWith({ halfOpenMaxCalls: 1, successThreshold: 1 });
      const pool = poolOf({ max: 1, connectionTimeoutMillis: 300 });
      const client = await pool.connect();
      await client.query('SELECT 1');
      await halfOpen(guard.only);
      expect(await rejectionOf(pool.connect())).to.have.property('message', 'timeout exceeded when trying to connect');
      client.release();
      await pool.query('SELECT 1');
      expect(guard.only.state).to.equal('closed');
    });
  });

  describe('leaves no permit behind', () => {
    it('when a client is released with an error', async () => {
      const pool = poolOf();
      (await pool.connect()).release(true);
      expect(guard.only.stats().calls).to.deep.include({ ignored: 1, inFlight: 0 });
    });

    it('when the onConnect hook fails', async () => {
      const hook: object = { onConnect: () => Promise.reject(new Error('hook')) };
      const pool = poolOf(hook);
      expect(await rejectionOf(pool.connect())).to.have.property('message', 'hook');
      expect(guard.only.stats().calls).to.deep.include({ ignored: 1, inFlight: 0 });
    });

    it('when the check of a new client fails', async () => {
      const verify = (_client: pg.Client, done: (error: Error) => void) => done(new Error('check'));
      const pool = poolOf({ verify });
      expect(await rejectionOf(pool.connect())).to.have.property('message', 'check');
      expect(guard.only.stats().calls).to.deep.include({ ignored: 1, inFlight: 0 });
    });

    it('when the connection is lost before the first statement: a failure', async () => {
      const pool = poolOf();
      const client = await pool.connect();
      const lost = new Promise((resolve) => client.on('error', resolve));
      const other = new pg.Client(server.url);
      await other.connect();
      await other.query('SELECT pg_terminate_backend($1)', [(client as unknown as { processID: number }).processID]);
      expect(await lost).to.have.property('code', '57P01');
      await other.end();
      expect(guard.only.stats().calls).to.deep.include({ failure: 1, inFlight: 0 });
      client.release(true);
    });
  });

  it('counts once through a client class of the application that connects later', async () => {
    class LateClient extends pg.Client {
      override connect(callback?: unknown): never {
        setImmediate(() => super.connect(callback as () => void));
        return undefined as never;
      }
    }
    const pool = poolOf({ Client: LateClient });
    await pool.query('SELECT 1');
    expect(guard.only.stats().calls).to.deep.include({ success: 1, ignored: 0, inFlight: 0 });
  });

  describe('with a server that never gets to talk', () => {
    let silent: Server;
    let answer: (socket: Socket) => void;

    beforeEach(async () => {
      silent = createServer((socket) => answer(socket)).listen(0, '127.0.0.1');
      await once(silent, 'listening');
    });

    afterEach(() => silent.close());

    function poolOfSilent(connectionTimeoutMillis: number): pg.Pool {
      guardWith({ countTimeouts: false });
      const { port } = silent.address() as AddressInfo;
      return poolOf({ connectionString: undefined!, host: '127.0.0.1', port, user: 'u', connectionTimeoutMillis });
    }

    it('counts a connection that takes too long as a timeout', async () => {
      answer = (socket) => socket.resume();
      expect(await rejectionOf(poolOfSilent(30).query('SELECT 1'))).to.have.property(
        'message',
        'Connection terminated due to connection timeout',
      );
      expect(guard.only.stats().calls).to.deep.include({ failure: 0, ignored: 1, inFlight: 0 });
    });

    it('counts a connection that the server closes as a failure', async () => {
      answer = (socket) => socket.end();
      expect(await rejectionOf(poolOfSilent(30_000).query('SELECT 1'))).to.have.property(
        'message',
        'Connection terminated unexpectedly',
      );
      expect(guard.only.stats().calls).to.deep.include({ failure: 1, ignored: 0, inFlight: 0 });
    });
  });
});
