import { once } from 'node:events';
import { expect } from 'chai';
import pg = require('pg');
import Cursor = require('pg-cursor');
import QueryStream = require('pg-query-stream');
import { PgBreakerInstrumentation } from '../../instrumentations/pg/pg-instrumentation.js';
import { isCircuitOpenError } from '../../src/breaker/errors.js';
import type { CircuitBreaker } from '../../src/breaker/circuit-breaker.js';
import { countCalls, only, TestGuard } from '../support/guarded.js';
import { anyPostgres } from '../support/postgres-server.js';
import { rejectionOf } from '../support/rejections.js';

type Callback = (error: unknown, result?: unknown) => void;

describe('pg: Client', () => {
  let server: Awaited<ReturnType<typeof anyPostgres>>;
  let guard: TestGuard;
  let instrumentation: PgBreakerInstrumentation;
  let client: pg.Client;
  let breaker: CircuitBreaker;

  before(async () => {
    server = await anyPostgres();
  });
  after(() => server.stop());

  beforeEach(async () => {
    guard = new TestGuard({ preset: 'database' });
    instrumentation = new PgBreakerInstrumentation({}, guard);
    client = new pg.Client(server.url);
    await client.connect();
    breaker = guard.only;
  });

  afterEach(async () => {
    instrumentation.disable();
    await client.end();
    expect(breaker.stats().calls.inFlight).to.equal(0);
  });

  const called = (run: (callback: Callback) => unknown) =>
    new Promise((resolve, reject) => {
      const returned = run((error, result) => (error ? reject(error) : resolve(result)));
      if (returned !== undefined && !(returned instanceof pg.Query)) reject(new Error('something was returned'));
    });

  const query = (...args: unknown[]): unknown => (client.query as (...args: unknown[]) => unknown)(...args);

  const forms: Record<string, () => Promise<unknown>> = {
    text: () => client.query('SELECT 1 AS n'),
    'text and values': () => client.query('SELECT $1::int AS n', [1]),
    config: () => client.query({ text: 'SELECT $1::int AS n', values: [1] }),
    'config and values': () => client.query({ text: 'SELECT $1::int AS n' }, [1]),
    'named statement': () => client.query({ name: 'n', text: 'SELECT 1 AS n' }),
    'text and callback': () => called((callback) => query('SELECT 1 AS n', callback)),
    'text, values and callback': () => called((callback) => query('SELECT $1::int AS n', [1], callback)),
    'text, undefined and callback': () => called((callback) => query('SELECT 1 AS n', undefined, callback)),
    'config and callback': () => called((callback) => query({ text: 'SELECT 1 AS n' }, callback)),
    'config with callback': () => called((callback) => query({ text: 'SELECT 1 AS n', callback })),
    'Query with callback': () => called((callback) => query(new pg.Query('SELECT 1 AS n'), callback)),
    'Query with its own callback': () =>
      called((callback) => query(new pg.Query('SELECT 1 AS n', undefined, callback as never))),
    'Query with events': async () => {
      const submitted = client.query(new pg.Query('SELECT 1 AS n'));
      await once(submitted, 'end');
    },
    cursor: async () => {
      const cursor = client.query(new Cursor('SELECT 1 AS n'));
      await cursor.read(1);
      await cursor.close();
    },
    stream: async () => {
      for await (const row of client.query(new QueryStream('SELECT 1 AS n'))) expect(row).to.deep.equal({ n: 1 });
    },
  };

  it('settles the call of a Query that is asked a second time before it has ended', async () => {
    const { success } = breaker.stats().calls;
    const twice = new pg.Query('SELECT 1 AS n');
    query(twice);
    query(twice);
    await client.query('SELECT 2');
    expect(breaker.stats().calls).to.include({ success: success + 2, ignored: 1, inFlight: 0 });
  });

  it('gives the permit back of a statement that makes another one before pg has taken it', async () => {
    const calls = countCalls(breaker);
    const others: Promise<unknown>[] = [];
    const outer = client.query({
      get text() {
        if (others.length === 0) others.push(client.query('SELECT 2 AS n'));
        return 'SELECT 1 AS n';
      },
    });
    await Promise.all([outer, ...others]);
    expect(others).to.have.length(1);
    expect(calls()).to.deep.equal(only({ success: 1, ignored: 1 }));
  });

  describe('every form of query', () => {
    for (const [name, run] of Object.entries(forms)) {
      it(`counts once and works as ever: ${name}`, async () => {
        const counts = countCalls(breaker);
        await run();
        // A cursor's portal is closed by a message whose answer comes after its promise.
        await client.query('SELECT 2');
        expect(counts()).to.deep.equal(only({ success: 2 }));
      });

      it(`is rejected in its own way while the circuit is open: ${name}`, async () => {
        breaker.forceOpen();
        const counts = countCalls(breaker);
        const error = await rejectionOf(run());
        expect(isCircuitOpenError(error)).to.equal(true);
        expect(counts()).to.deep.equal(only({ rejected: 1 }));
        breaker.reset();
        expect((await client.query('SELECT 3 AS n')).rows).to.deep.equal([{ n: 3 }]);
      });
    }

    it('rejects after the caller has gone on, and only once', async () => {
      breaker.forceOpen();
      const calls: unknown[] = [];
      query('SELECT 1', (error: unknown) => calls.push(error));
      expect(calls).to.have.length(0);
      await rejectionOf(client.query('SELECT 1'));
      expect(calls).to.have.length(1);
    });

    it('lets the event loop turn under a caller that tries again at once', async () => {
      breaker.forceOpen();
      let turned = false;
      setImmediate(() => (turned = true));
      while (!turned) expect(isCircuitOpenError(await rejectionOf(client.query('SELECT 1')))).to.equal(true);
      turned = false;
      setImmediate(() => (turned = true));
      const other = new pg.Client(server.url);
      while (!turned) expect(isCircuitOpenError(await rejectionOf(other.connect()))).to.equal(true);
    });

    it('leads the stack of a rejected promise to whoever asked', async () => {
      breaker.forceOpen();
      const error = (await rejectionOf(client.query('SELECT 1'))) as Error;
      expect(error.stack).to.contain(__filename);
    });

    it('lets pg say what is wrong with arguments, however the circuit stands', async () => {
      for (const prepare of [() => {}, () => breaker.forceOpen()]) {
        prepare();
        expect(() => query(null)).to.throw(TypeError, 'null or undefined query');
        expect(() => query('SELECT 1', [], 'no function')).to.throw(TypeError, 'callback is not a function');
      }
      breaker.reset();
      const counts = countCalls(breaker);
      const error = (await rejectionOf(client.query({ text: 'SELECT 1', values: 'none' as never }))) as Error;
      expect(error.message).to.equal('Query values must be an array');
      expect(counts()).to.deep.equal(only({ ignored: 1 }));
    });

    it("gives pg's own error after end(), uncounted", async () => {
      const other = new pg.Client(server.url);
      await other.connect();
      await other.end();
      const counts = countCalls(breaker);
      breaker.forceOpen();
      expect(await rejectionOf(other.query('SELECT 1'))).to.have.property(
        'message',
        'Client was closed and is not queryable',
      );
      expect(counts()).to.deep.equal(only({}));
    });

    it('leaves nothing on a cursor or stream when it is done', async () => {
      const cursor = new Cursor('SELECT 1');
      const before = Object.getOwnPropertyNames(cursor);
      client.query(cursor);
      expect(Object.keys(cursor)).to.not.include('handleError');
      await cursor.read(2);
      await client.query('SELECT 1');
      expect(Object.getOwnPropertyNames(cursor)).to.have.members(before);
    });

    it('judges a cursor at its end: its connection was lost half-way', async () => {
      const counts = countCalls(breaker);
      const lost = new Promise((resolve) => client.on('error', resolve));
      const cursor = client.query(new Cursor('SELECT n FROM generate_series(1, 100) n'));
      expect(await cursor.read(1)).to.deep.equal([{ n: 1 }]);
      expect(counts()).to.deep.equal(only({}));
      const other = new pg.Client(server.url);
      await other.connect();
      await other.query('SELECT pg_terminate_backend($1)', [(client as unknown as { processID: number }).processID]);
      await lost;
      expect(await rejectionOf(cursor.read(1))).to.have.property('code', '57P01');
      await other.end();
      expect(counts()).to.deep.equal(only({ success: 2, failure: 1 }));
    });
  });

  describe('pipelining', () => {
    it('counts every query once, and lets pg refuse what does not work there', async () => {
      const piped = new pg.Client({ connectionString: server.url, pipeline: true });
      piped.on('error', () => {});
      await piped.connect();
      const counts = countCalls(breaker);
      const all = ['SELECT 1', 'SELECT 1/0', 'BEGIN', 'SELECT 2', 'COMMIT'].map((text) => piped.query(text));
      expect((await Promise.allSettled(all)).filter(({ status }) => status === 'rejected')).to.have.length(1);
      expect(counts()).to.deep.equal(only({ success: 5 }));
      expect(await rejectionOf(piped.query(new Cursor('SELECT 1')).read(1)))
        .to.have.property('message')
        .that.contains('pipeline');
      expect(counts()).to.deep.equal(only({ success: 5, ignored: 1 }));
      const sleeping = [60, 61].map((seconds) => rejectionOf(piped.query('SELECT pg_sleep($1)', [seconds])));
      await client.query('SELECT pg_terminate_backend($1)', [(piped as unknown as { processID: number }).processID]);
      await Promise.all(sleeping);
      // One connection was lost: one failure, however many queries were under way.
      expect(counts()).to.deep.equal(only({ success: 6, ignored: 2, failure: 1 }));
    });
  });

  describe('connect', () => {
    it('counts once, a promise or a callback', async () => {
      const counts = countCalls(breaker);
      for (const connect of [
        (other: pg.Client) => other.connect(),
        (other: pg.Client) => new Promise<void>((resolve) => other.connect(() => resolve())),
      ]) {
        const other = new pg.Client(server.url);
        await connect(other);
        await other.end();
      }
      expect(counts()).to.deep.equal(only({ success: 2 }));
    });

    it('calls back as a method of the client, as pg does', async () => {
      const other = new pg.Client(server.url);
      const self = await new Promise((resolve) => {
        other.connect(function (this: unknown) {
          resolve(this);
        });
      });
      await other.end();
      expect(self).to.equal(other);
    });

    it('is rejected while the circuit is open, and the same client can connect later', async () => {
      breaker.forceOpen();
      const counts = countCalls(breaker);
      const other = new pg.Client(server.url);
      expect(isCircuitOpenError(await rejectionOf(other.connect()))).to.equal(true);
      const error = await new Promise((resolve) => other.connect((problem: unknown) => resolve(problem)));
      expect(isCircuitOpenError(error)).to.equal(true);
      expect(counts()).to.deep.equal(only({ rejected: 2 }));
      breaker.reset();
      await other.connect();
      await other.end();
    });

    it('ends what waits for it when it is rejected, and tells its end, as pg does', async () => {
      breaker.forceOpen();
      const other = new pg.Client(server.url);
      const order: string[] = [];
      const noted = (what: string) => (error: unknown) => {
        expect(isCircuitOpenError(error)).to.equal(true);
        order.push(what);
      };
      other.on('end', () => order.push('end'));
      const ended = once(other, 'end');
      other.query('SELECT 1', noted('query before'));
      await other.connect().catch(noted('connect'));
      other.query('SELECT 1', noted('query after'));
      await ended;
      expect(order).to.deep.equal(['connect', 'query before', 'query after', 'end']);
    });

    it('leaves what waits to the next attempt, where its caller tries again at once', async () => {
      breaker.forceOpen();
      const other = new pg.Client(server.url);
      let ends = 0;
      other.on('end', () => ends++);
      const waiting = other.query('SELECT 1 AS n');
      expect(isCircuitOpenError(await rejectionOf(other.connect()))).to.equal(true);
      breaker.reset();
      await other.connect();
      expect((await waiting).rows).to.deep.equal([{ n: 1 }]);
      expect(ends).to.equal(0);
      await other.end();
    });

    it('takes a refused login and a missing database for no word on the health of the server', async () => {
      const counts = countCalls(breaker);
      const url = new URL(server.url);
      url.username = 'nobody-of-this-name';
      const refused = await rejectionOf(new pg.Client(url.href).connect());
      // As the server asks for a password or not.
      expect(refused).to.have.property('code').that.is.oneOf(['28000', '28P01']);
      expect(counts()).to.deep.equal(only({ ignored: 1 }));
      url.href = server.url;
      url.pathname = '/no-such-database';
      expect(await rejectionOf(new pg.Client(url.href).connect())).to.have.property('code', '3D000');
      const other = [...guard.breakers].find(({ name }) => name.endsWith('/no-such-database'));
      expect(other?.stats().calls).to.deep.include({ ignored: 1, failure: 0, inFlight: 0 });
    });

    it('settles when the client is ended before it is connected', async () => {
      const counts = countCalls(breaker);
      const other = new pg.Client(server.url);
      other.connect(() => expect.fail('pg itself does not call back here'));
      expect(breaker.stats().calls.inFlight).to.equal(1);
      await other.end();
      expect(counts()).to.deep.equal(only({ ignored: 1 }));
    });

    it('does not count what waits for the connection a second time', async () => {
      const counts = countCalls(breaker);
      const other = new pg.Client(server.url);
      const connected = other.connect();
      const answer = other.query('SELECT 1 AS n');
      await connected;
      expect((await answer).rows).to.deep.equal([{ n: 1 }]);
      await other.end();
      expect(counts()).to.deep.equal(only({ success: 1 }));
    });
  });

  describe('transactions', () => {
    it('rejects nothing inside one, whatever the circuit, and gates again after it', async () => {
      await client.query('CREATE TEMP TABLE t (n int)');
      await client.query('BEGIN');
      breaker.forceOpen();
      const counts = countCalls(breaker);
      await client.query('INSERT INTO t VALUES (1)');
      await client.query('SAVEPOINT s');
      await client.query('SELECT 1');
      await client.query('RELEASE s');
      const cursor = client.query(new Cursor('SELECT n FROM t'));
      expect(await cursor.read(10)).to.deep.equal([{ n: 1 }]);
      await client.query('COMMIT');
      expect(counts()).to.deep.equal(only({ success: 6 }));
      expect(isCircuitOpenError(await rejectionOf(client.query('SELECT 1')))).to.equal(true);
      breaker.reset();
      expect((await client.query('SELECT n FROM t')).rows).to.deep.equal([{ n: 1 }]);
    });

    it('rejects nothing in a failed one either', async () => {
      await client.query('BEGIN');
      expect(await rejectionOf(client.query('SELECT 1/0'))).to.have.property('code', '22012');
      breaker.forceOpen();
      expect(await rejectionOf(client.query('SELECT 1'))).to.have.property('code', '25P02');
      await client.query('ROLLBACK');
      expect(isCircuitOpenError(await rejectionOf(client.query('SELECT 1')))).to.equal(true);
    });

    it('knows one that no first word tells of from the server', async () => {
      await client.query('SELECT 1; BEGIN');
      breaker.forceOpen();
      await client.query('SELECT 1');
      await client.query('ROLLBACK');
    });

    for (const begin of [
      'BEGIN',
      'begin isolation level serializable',
      '/* app */ START TRANSACTION',
      'SELECT 1; BEGIN',
    ]) {
      it(`lets everything pass while the answer to it is awaited: ${begin}`, async () => {
        const begun = client.query(begin);
        breaker.forceOpen();
        const selected = client.query('SELECT 1 AS n');
        const committed = client.query('COMMIT');
        await begun;
        expect((await selected).rows).to.deep.equal([{ n: 1 }]);
        await committed;
      });
    }

    for (const begin of ['BEGIN', '-- why\nBEGIN', 'start transaction read only']) {
      it(`is gated at its beginning: ${JSON.stringify(begin)}`, async () => {
        breaker.forceOpen();
        expect(isCircuitOpenError(await rejectionOf(client.query(begin)))).to.equal(true);
      });
    }

    it('rejects what was sent after a rejected BEGIN, although the circuit has closed meanwhile', async () => {
      await client.query('CREATE TEMP TABLE t (n int)');
      breaker.forceOpen();
      const begun = client.query('BEGIN');
      breaker.reset();
      const inserted = client.query('INSERT INTO t VALUES (1)');
      const errors = await Promise.all([begun, inserted].map(rejectionOf));
      expect(errors.map(isCircuitOpenError)).to.deep.equal([true, true]);
      expect((await client.query('SELECT n FROM t')).rows).to.deep.equal([]);
    });

    it('rejects what is sent before the caller of a rejected BEGIN can know of it', async () => {
      await client.query('CREATE TEMP TABLE t (n int)');
      breaker.forceOpen();
      let isTold = false;
      const begun = rejectionOf(client.query('BEGIN')).finally(() => (isTold = true));
      breaker.reset();
      await Promise.resolve();
      expect(isTold).to.equal(false);
      expect(isCircuitOpenError(await rejectionOf(client.query('INSERT INTO t VALUES (1)')))).to.equal(true);
      await begun;
      expect((await client.query('SELECT n FROM t')).rows).to.deep.equal([]);
    });

    it('lets through what comes after a BEGIN that pg itself does not take', async () => {
      breaker.forceOpen();
      expect(() => query('BEGIN', [], 'no function')).to.throw(TypeError);
      breaker.reset();
      await client.query('SELECT 1');
    });

    const cleaning = [
      'COMMIT',
      'end',
      ' ROLLBACK',
      'abort',
      '/* tidy */ UNLISTEN *',
      'LISTEN channel',
      'DISCARD ALL',
      'DEALLOCATE ALL',
      'CLOSE ALL',
      'RESET ALL',
      'SELECT pg_advisory_unlock_all()',
      '-- first\n  select pg_catalog.pg_advisory_unlock(1)',
    ];
    for (const text of cleaning) {
      it(`never rejects ${JSON.stringify(text)}`, async () => {
        breaker.forceOpen();
        const counts = countCalls(breaker);
        await client.query(text);
        expect(counts()).to.deep.equal(only({ success: 1 }));
      });
    }

    for (const text of ['SAVEPOINT s', 'RELEASE s', 'ROLLBACK TO s']) {
      it(`leaves the answer to ${text} outside of a transaction to the server`, async () => {
        breaker.forceOpen();
        expect(await rejectionOf(client.query(text))).to.have.property('code', '25P01');
      });
    }

    it('does not take a name that begins like a command for one', async () => {
      breaker.forceOpen();
      for (const text of ['ENDLESS', 'SELECT commit', 'releases']) {
        expect(isCircuitOpenError(await rejectionOf(client.query(text)))).to.equal(true);
      }
    });
  });

  describe('the verdict on an error', () => {
    const fails = (state: string) =>
      client.query(`DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '${state}'; END $$`);

    const verdicts = {
      failure: ['08006', '08P01', '53000', '53200', '53300', '53400', '57P01', '57P02', '57P03', '58000', '58030'],
      ignored: ['25006', '40001', '40P01', '53100', '55P03', '57014', '28P01'],
      success: ['22012', '23505', '42601', '42P01', '0A000', 'P0001', 'XX000', '57P04'],
    };
    for (const [outcome, states] of Object.entries(verdicts)) {
      for (const state of states) {
        it(`${state} is ${outcome}`, async () => {
          const counts = countCalls(breaker);
          const error = await rejectionOf(fails(state));
          expect(error).to.be.instanceOf(pg.DatabaseError).and.to.have.property('code', state);
          expect(counts()).to.deep.equal(only({ [outcome]: 1 }));
        });
      }
    }

    it('a statement timeout is a timeout', async () => {
      await client.query('SET statement_timeout = 20');
      const counts = countCalls(breaker);
      expect(await rejectionOf(client.query('SELECT pg_sleep(60)'))).to.have.property('code', '57014');
      expect(counts()).to.deep.equal(only({ failure: 1 }));
    });

    it('a query cancelled by hand says nothing', async () => {
      const counts = countCalls(breaker);
      const other = new pg.Client(server.url);
      await other.connect();
      const sleeping = rejectionOf(client.query('SELECT pg_sleep(60)'));
      // Only a query that runs can be cancelled.
      let cancelled = false;
      while (!cancelled) {
        const { rows } = await other.query<{ cancelled: boolean }>(
          `SELECT pg_cancel_backend(pid) AS cancelled FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'`,
        );
        cancelled = rows.length > 0;
      }
      expect(await sleeping).to.have.property('code', '57014');
      await other.end();
      expect(counts()).to.include({ ignored: 1, failure: 0 });
    });

    it('a read timeout is a timeout, and the answer that comes later changes nothing', async () => {
      const counts = countCalls(breaker);
      const error = await rejectionOf(
        client.query({ text: 'SELECT pg_sleep(0.1)', query_timeout: 10 } as pg.QueryConfig),
      );
      expect(error).to.have.property('message', 'Query read timeout');
      expect(counts()).to.deep.equal(only({ failure: 1 }));
      await client.query('SELECT 1');
      expect(counts()).to.deep.equal(only({ failure: 1, success: 1 }));
    });

    it('a read timeout is known when its callback hears of it, whichever argument that is', async () => {
      const counts = countCalls(breaker);
      const slow = { text: 'SELECT pg_sleep(0.1)', query_timeout: 10 };
      const ask = client.query.bind(client) as (...args: unknown[]) => void;
      for (const [failure, values] of [[], [[]]].entries()) {
        const [error, seen, context] = await new Promise<unknown[]>((resolve) => {
          ask(slow, ...values, function (this: unknown, error: unknown) {
            resolve([error, counts(), this]);
          });
        });
        expect(error).to.have.property('message', 'Query read timeout');
        expect(seen).to.deep.equal(only({ failure: failure + 1 }));
        expect(context).to.equal(undefined);
      }
      await client.query('SELECT 1');
      expect(counts()).to.deep.equal(only({ failure: 2, success: 1 }));
    });
  });
});

describe('pg: timeouts that do not count', () => {
  it('are ignored', async () => {
    const server = await anyPostgres();
    const guard = new TestGuard({ preset: 'database', countTimeouts: false });
    const instrumentation = new PgBreakerInstrumentation({}, guard);
    const client = new pg.Client({ connectionString: server.url, query_timeout: 10 });
    await client.connect();
    const counts = countCalls(guard.only);
    await rejectionOf(client.query('SELECT pg_sleep(0.1)'));
    await client.end();
    instrumentation.disable();
    await server.stop();
    expect(counts()).to.deep.equal(only({ ignored: 1 }));
  });
});
