import { expect } from 'chai';
import pg = require('pg');
import { verdictOfPgError } from '../../src/outcomes/postgresql.js';
import { PgBreakerInstrumentation } from '../../instrumentations/pg/pg-instrumentation.js';
import { isCircuitOpenError } from '../../src/breaker/errors.js';
import type { CircuitBreaker } from '../../src/breaker/circuit-breaker.js';
import type { Transition } from '../../src/breaker/observer.js';
import { TestGuard } from '../support/guarded.js';
import { endPool } from '../support/pools.js';
import { PostgresServer } from '../support/postgres-server.js';
import { rejectionOf } from '../support/rejections.js';

const CALLERS = 200;

// A test that has failed must not go on in the background.
let over = false;

describe('pg: the server is killed and comes back', () => {
  let server: PostgresServer;
  let guard: TestGuard;
  let instrumentation: PgBreakerInstrumentation;
  let pool: pg.Pool;
  let unhandled: unknown[];
  const onUnhandled = (reason: unknown) => unhandled.push(reason);

  beforeEach(async () => {
    server = await PostgresServer.start();
    guard = new TestGuard({ preset: 'database', openDuration: 200 });
    instrumentation = new PgBreakerInstrumentation({}, guard);
    pool = new pg.Pool(server);
    pool.on('error', () => {});
    unhandled = [];
    over = false;
    process.on('unhandledRejection', onUnhandled);
  });

  afterEach(async () => {
    over = true;
    process.off('unhandledRejection', onUnhandled);
    try {
      await endPool(pool);
    } finally {
      instrumentation.disable();
      await server.stop();
    }
  });

  it(`under ${CALLERS} callers: the circuit opens, rejects, and closes again`, async () => {
    await pool.query('SELECT 1');
    const breaker = guard.only;
    const transitions = record(breaker);
    const rejectedIn: number[] = [];
    const answers = { success: 0, rejected: 0, failed: 0 };
    async function caller(): Promise<void> {
      while (!over) {
        const start = performance.now();
        try {
          await pool.query('SELECT pg_sleep(0.002)');
          answers.success++;
        } catch (error) {
          if (isCircuitOpenError(error)) {
            answers.rejected++;
            rejectedIn.push(performance.now() - start);
          } else answers.failed++;
          // A caller of a real service has other things to do.
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      }
    }

    const before = breaker.stats().calls;
    const callers = Array.from({ length: CALLERS }, caller);
    await until(() => answers.success >= CALLERS);
    const opened = next(breaker, 'open');
    await server.kill();
    await opened;
    await until(() => answers.rejected >= CALLERS);
    expect(pool.waitingCount).to.equal(0);
    const closed = next(breaker, 'closed');
    await server.start();
    await closed;
    const successes = answers.success;
    await until(() => answers.success >= successes + CALLERS);
    over = true;
    await Promise.all(callers);

    expect(transitions[0]).to.equal('closed → open');
    expect(transitions.at(-1)).to.equal('half_open → closed');
    expect(unhandled).to.deep.equal([]);
    const { calls } = breaker.stats();
    expect(calls.inFlight).to.equal(0);
    expect(calls.success - before.success).to.equal(answers.success);
    expect(calls.rejected).to.equal(answers.rejected);
    expect(calls.failure + calls.ignored).to.equal(answers.failed);
    expect(pool.waitingCount).to.equal(0);
    expect(pool.totalCount).to.equal(pool.idleCount).and.to.be.at.most(10);
    // They come after a turn of the loop, which so many share on a busy machine; what each costs is the benchmark's affair.
    expect(median(rejectedIn)).to.be.below(2_000);
  });

  it('lets a transaction that was open when the circuit opened roll back, and another one commit', async () => {
    const [first, second] = [await pool.connect(), await pool.connect()];
    await first.query('CREATE TABLE kept (n int)');
    for (const client of [first, second]) {
      await client.query('BEGIN');
      await client.query('INSERT INTO kept VALUES (1)');
    }
    const breaker = guard.only;
    // The real thing: connections that are refused, as by a server that has no more of them.
    const stranger = new pg.Client({ ...config(server), port: server.port });
    await stranger.connect();
    while (breaker.state === 'closed') {
      await rejectionOf(stranger.query(`DO $$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53300'; END $$`));
    }
    expect(isCircuitOpenError(await rejectionOf(pool.query('SELECT 1')))).to.equal(true);
    await first.query('INSERT INTO kept VALUES (2)');
    await first.query('COMMIT');
    await second.query('ROLLBACK');
    first.release();
    second.release();
    breaker.reset();
    expect((await pool.query('SELECT n FROM kept ORDER BY n')).rows).to.deep.equal([{ n: 1 }, { n: 2 }]);
    await stranger.end();
  });

  it('fails a transaction under way with the error of pg, and its client can be released', async () => {
    const client = await pool.connect();
    client.on('error', () => {});
    await client.query('BEGIN');
    const sleeping = rejectionOf(client.query('SELECT pg_sleep(60)'));
    await server.kill();
    // Reset or closed, as the kernel had it.
    expect(verdictOfPgError(await sleeping)).to.equal('failure');
    const error = await rejectionOf(client.query('ROLLBACK'));
    expect(error).to.have.property('message', 'Client has encountered a connection error and is not queryable');
    client.release(true);
    expect(pool.totalCount).to.equal(0);
    expect(guard.only.stats().calls).to.deep.include({ success: 1, failure: 1, inFlight: 0 });
    await server.start();
  });

  for (const [how, end] of Object.entries({
    'is killed': (it: PostgresServer) => it.kill(),
    'shuts down': (it: PostgresServer) => it.shutDown(),
  })) {
    it(`takes the loss of all connections for one failure where the server ${how}, and of later ones for one each`, async () => {
      // Enough to open the circuit, were each of them one.
      const underWay = async (count: number) => {
        await Promise.all(Array.from({ length: count }, () => pool.query('SELECT 1')));
        return Array.from({ length: count }, () => rejectionOf(pool.query('SELECT pg_sleep(60)')));
      };
      const all = await underWay(10);
      const breaker = guard.only;
      expect(pool.totalCount).to.equal(10);
      await end(server);
      for (const error of await Promise.all(all)) expect(verdictOfPgError(error)).to.equal('failure');
      expect(breaker.state).to.equal('closed');
      expect(breaker.stats().calls).to.deep.include({ failure: 1, ignored: 9, inFlight: 0 });
      await server.start();
      const three = await underWay(3);
      await end(server);
      await Promise.all(three);
      expect(breaker.stats().calls).to.deep.include({ failure: 4, ignored: 9, inFlight: 0 });
      await server.start();
    });
  }

  it('hears a sign of life in a connection that was begun before the circuit opened', async () => {
    await pool.query('SELECT 1');
    const breaker = guard.only;
    const client = new pg.Client(server.url);
    const connected = client.connect();
    for (let call = 0; call < breaker.config.failureThreshold; call++) {
      breaker.acquire().failure(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }));
    }
    const openUntil = breaker.stats().openUntil!.getTime();
    await connected;
    expect(breaker.stats().openUntil!.getTime()).to.be.below(openUntil);
    await client.end();
  });

  it('takes the end of a client with a statement under way for no word on the server', async () => {
    const client = new pg.Client(server.url);
    await client.connect();
    const sleeping = rejectionOf(client.query('SELECT pg_sleep(60)'));
    await client.end();
    expect(await sleeping).to.have.property('message', 'Connection terminated');
    expect(guard.only.stats().calls).to.deep.include({ success: 1, failure: 0, ignored: 1, inFlight: 0 });
  });

  it('has judged a lost statement when its caller hears of it', async () => {
    await pool.query('SELECT 1');
    const breaker = guard.only;
    let failures = -1;
    const heard = new Promise<void>((resolve) =>
      pool.query('SELECT pg_sleep(60)', () => {
        failures = breaker.stats().calls.failure;
        resolve();
      }),
    );
    await server.kill();
    await heard;
    expect(failures).to.equal(1);
    await server.start();
  });

  it('takes too many connections for a failure', async () => {
    await endPool(pool);
    await server.stop();
    server = await PostgresServer.start({
      settings: { max_connections: 4, superuser_reserved_connections: 0, max_wal_senders: 0 },
    });
    pool = new pg.Pool({ ...config(server), max: 20 });
    const answers = await Promise.allSettled(Array.from({ length: 20 }, () => pool.query('SELECT pg_sleep(0.1)')));
    const refused = answers.filter(({ status }) => status === 'rejected').length;
    const breaker = [...guard.breakers].at(-1)!;
    const { failure, rejected, inFlight } = breaker.stats().calls;
    expect(refused).to.be.greaterThan(0);
    expect({ refused: failure + rejected, inFlight }).to.deep.equal({ refused, inFlight: 0 });
  });

  it('hears nothing from a frozen server until patience ends, and then counts it', async () => {
    await endPool(pool);
    // Patient enough for a busy machine: only the frozen server may try it.
    pool = new pg.Pool({ ...config(server), query_timeout: 1_000, connectionTimeoutMillis: 1_000 });
    pool.on('error', () => {});
    const ask = () => Promise.allSettled(Array.from({ length: 10 }, () => pool.query('SELECT 1')));
    await ask();
    const breaker = guard.only;
    server.freeze();
    await ask();
    expect(breaker.stats().calls).to.deep.include({ failure: 10, rejected: 0, inFlight: 0 });
    expect(isCircuitOpenError(await rejectionOf(pool.query('SELECT 1')))).to.equal(true);
    server.thaw();
    await until(async () => {
      await ask();
      return breaker.state === 'closed';
    });
    expect((await pool.query('SELECT 1 AS n')).rows).to.deep.equal([{ n: 1 }]);
  });

  function config({ host, port, user, database }: PostgresServer): pg.PoolConfig {
    return { host, port, user, database };
  }
});

function record(breaker: CircuitBreaker): string[] {
  const transitions: string[] = [];
  breaker.onTransition(({ from, to }) => transitions.push(`${from} → ${to}`));
  return transitions;
}

function next(breaker: CircuitBreaker, state: Transition['to']): Promise<void> {
  return new Promise((resolve) => {
    const end = breaker.onTransition(({ to }) => {
      if (to !== state) return;
      end();
      resolve();
    });
  });
}

/** Waits for a condition, as long as the test runs. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) {
    if (over) throw new Error('The test is over, and the condition was not met');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}
