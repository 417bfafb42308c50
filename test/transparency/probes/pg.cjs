// What applications do with `pg`, `pg-pool`, `pg-cursor` and `pg-query-stream`.
'use strict';

const { once } = require('node:events');
const { heard, nextTurn } = require('./witness.cjs');

const host = '127.0.0.1';

/** Ends a client or pool once it was used. */
async function using(witness, client, use) {
  client.on('error', (error) => witness.note('error event', error));
  try {
    await use(client);
  } finally {
    if (!client.ended && !client._ending) await client.end().catch(() => {});
    await nextTurn();
  }
}

const probe =
  (use, options) =>
  ({ witness, clients: [pg, Cursor, QueryStream], ...settings }) => {
    const { port, user, database } = settings;
    const config = { host, port, user, database, ...options };
    const client = new pg.Client(config);
    return using(witness, client, async () => {
      await client.connect();
      await use({ witness, client, pg, Cursor, QueryStream, config });
    });
  };

const poolProbe =
  (use, options) =>
  ({ witness, clients: [pg], port, deadPort, user, database }) =>
    using(witness, new pg.Pool({ host, port, user, database, ...options }), (pool) =>
      use({ witness, pool, pg, deadPort }),
    );

/** What a callback is called with, as a promise. */
const calledBack = (witness, what, start) =>
  new Promise((resolve) => {
    const returned = start((...args) => {
      witness.note(`${what} calls back`, args);
      witness.stack(what);
      setImmediate(resolve);
    });
    witness.note(`${what} returns`, returned);
  });

const probes = {
  'connect by promise and by callback': async ({ witness, clients: [pg], port, user, database }) => {
    for (const way of ['promise', 'callback']) {
      await using(witness, new pg.Client({ host, port, user, database }), async (client) => {
        if (way === 'promise') await witness.outcome('connect', client.connect());
        else await calledBack(witness, 'connect', (done) => client.connect(done));
        await witness.outcome('connect again', client.connect());
        witness.look('client', client, 1);
        await witness.outcome('end', client.end());
        await witness.outcome('query after the end', client.query('SELECT 1'));
        await calledBack(witness, 'query after the end', (done) => client.query('SELECT 1', done));
      });
    }
  },

  'forms of queries': probe(async ({ witness, client, pg }) => {
    await witness.outcome('text', client.query('SELECT 1 AS one'));
    await witness.outcome(
      'values',
      client.query('SELECT $1::int AS n, $2::text AS t, $3::json AS j', [1, null, { a: 1 }]),
    );
    await witness.outcome('config', client.query({ text: 'SELECT $1::text', values: ['x'], rowMode: 'array' }));
    for (let call = 0; call < 2; call++) {
      await witness.outcome('named', client.query({ name: 'named', text: 'SELECT $1::int', values: [call] }));
    }
    await witness.outcome('several', client.query('SELECT 1; SELECT 2'));
    await witness.outcome('nothing', client.query(''));
    await witness.outcome('types', client.query({ text: 'SELECT 1', types: { getTypeParser: () => String } }));
    await calledBack(witness, 'callback', (done) => client.query('SELECT 1 AS one', done));
    await calledBack(witness, 'values and callback', (done) => client.query('SELECT $1::int', [2], done));
    await calledBack(witness, 'config with a callback', (callback) => client.query({ text: 'SELECT 3', callback }));
    const query = client.query(new pg.Query('SELECT generate_series(1, 3) AS n'));
    query.on('row', (row) => witness.note('row', row));
    const [result] = await once(query, 'end');
    witness.note('end', result.rowCount);
    witness.look('query', query, 1);
  }),

  'wrong arguments': probe(async ({ witness, client }) => {
    for (const args of [
      [undefined],
      [null],
      [5],
      [{}],
      ['SELECT 1', 'no array'],
      ['SELECT $1', [1n]],
      ['SELECT 1', [], 'no function'],
    ]) {
      const returned = witness.attempt('query', () => client.query(...args));
      if (returned instanceof Promise) await witness.outcome('its promise', returned);
    }
    await witness.outcome('still works', client.query('SELECT 1'));
  }),

  errors: probe(async ({ witness, client }) => {
    // An error may come in one packet and that the server is ready again in the next: each query waits for both.
    const alone = async (run) => {
      const drained = once(client, 'drain');
      await run();
      await drained;
    };
    await alone(() => client.query('CREATE TEMP TABLE things (id int PRIMARY KEY, name text NOT NULL)'));
    await alone(() => witness.outcome('syntax', client.query('SELEC 1')));
    await alone(() => witness.outcome('constraint', client.query('INSERT INTO things VALUES (1, NULL)')));
    await alone(() => client.query("INSERT INTO things VALUES (1, 'a')"));
    await alone(() => witness.outcome('unique', client.query('INSERT INTO things VALUES ($1, $2)', [1, 'b'])));
    await alone(() => witness.outcome('a missing table', client.query('SELECT * FROM nowhere')));
    await alone(() => witness.outcome('a bad parameter', client.query('SELECT $1::int', ['x'])));
    await alone(() => calledBack(witness, 'callback', (done) => client.query('SELEC 1', done)));
    await alone(() =>
      witness.outcome(
        'raised',
        client.query("DO $$ BEGIN RAISE EXCEPTION 'mine' USING ERRCODE = 'P0099', HINT = 'h'; END $$"),
      ),
    );
    const { Query } = client.constructor;
    await alone(async () => {
      const [error] = await once(client.query(new Query('SELEC 1')), 'end').catch((reason) => [reason]);
      witness.note('error event of a query', error);
    });
  }),

  'callbacks that throw': probe(async ({ witness, client }) => {
    const thrown = once(process, 'uncaughtException');
    client.query('SELECT 1', () => {
      throw new Error('in a callback');
    });
    const [error] = await thrown;
    witness.note('uncaught', error);
    await witness.outcome('still works', client.query('SELECT 1'));
  }),

  'notices and notifications': probe(async ({ witness, client }) => {
    client.on('notice', ({ message, severity }) => witness.note('notice', message, severity));
    client.on('notification', ({ channel, payload }) => witness.note('notification', channel, payload));
    await client.query("DO $$ BEGIN RAISE NOTICE 'hear'; END $$");
    await client.query('LISTEN news');
    await client.query("NOTIFY news, 'hello'");
    await client.query('UNLISTEN news');
  }),

  transactions: probe(async ({ witness, client }) => {
    for (const statement of [
      'BEGIN',
      'SELECT 1',
      'SAVEPOINT a',
      'SELEC',
      'SELECT 2',
      'ROLLBACK TO a',
      'SELECT 3',
      'COMMIT',
    ])
      await witness.outcome(statement, client.query(statement));
    const calls = ['BEGIN', 'SELECT 4', 'ROLLBACK', 'SELECT 5'].map((statement) => client.query(statement));
    for (const call of calls) await witness.outcome('queued', call);
  }),

  cursors: probe(async ({ witness, client, Cursor }) => {
    const cursor = client.query(new Cursor('SELECT generate_series(1, $1::int) AS n', [5]));
    await witness.outcome('read', cursor.read(2));
    witness.listeners('cursor', cursor);
    await calledBack(witness, 'read', (done) => cursor.read(2, done));
    await witness.outcome('close', cursor.close());
    witness.look('closed', cursor, 0);
    const whole = client.query(new Cursor('SELECT generate_series(1, 3) AS n'));
    for (let read = 0; read < 3; read++) await witness.outcome('read', whole.read(2));
    await witness.outcome('wrong', client.query(new Cursor('SELEC')).read(1));
    await witness.outcome('still works', client.query('SELECT 1'));
  }),

  streams: probe(async ({ witness, client, QueryStream }) => {
    const stream = client.query(new QueryStream('SELECT generate_series(1, 250) AS n', [], { batchSize: 100 }));
    const rows = await stream.toArray();
    witness.note('rows', rows.length, rows[249]);
    witness.listeners('stream', stream);
    const left = client.query(new QueryStream('SELECT generate_series(1, 250) AS n'));
    for await (const row of left) {
      witness.note('row', row);
      break;
    }
    await witness.outcome('wrong', client.query(new QueryStream('SELEC')).toArray());
    await witness.outcome('still works', client.query('SELECT 1'));
  }),

  'a query of one’s own kind': probe(async ({ witness, client }) => {
    const told = [];
    const query = {
      submit: (connection) => connection.query('SELECT 1'),
      handleRowDescription: () => told.push('rows'),
      handleDataRow: () => told.push('row'),
      handleCommandComplete: () => told.push('complete'),
      handleReadyForQuery: () => told.push('ready'),
      handleError: () => told.push('error'),
    };
    witness.note('returned', client.query(query) === query);
    await client.query('SELECT 2');
    witness.note('told', told, Object.keys(query), query.handleReadyForQuery.length);
  }),

  'timeouts of queries': probe(async ({ witness, client }) => {
    await witness.outcome('of a query', client.query({ text: 'SELECT pg_sleep(0.1)', query_timeout: 30 }));
    await witness.outcome('after it', client.query('SELECT 1'));
    await client.query('SET statement_timeout = 30');
    await witness.outcome('of the server', client.query('SELECT pg_sleep(5)'));
  }),

  'a query in flight at the end': probe(async ({ witness, client }) => {
    const calls = [client.query('SELECT 1'), client.query('SELECT 2')];
    const ended = client.end();
    for (const call of calls) await witness.outcome('in flight', call);
    await witness.outcome('end', ended);
  }),

  'a lost connection': probe(async ({ witness, client }) => {
    const waiting = client.query('SELECT pg_terminate_backend(pg_backend_pid())');
    const next = client.query('SELECT 2');
    await witness.outcome('waiting', waiting);
    await witness.outcome('next', next);
    await witness.outcome('after', client.query('SELECT 3'));
  }),

  'connections that fail': async ({ witness, clients: [pg], port, deadPort, user, database }) => {
    for (const options of [
      { port: deadPort, user, database },
      { port, user, database: 'nowhere' },
      { port, user: 'nobody', database },
    ]) {
      await using(witness, new pg.Client({ host, ...options }), (client) =>
        witness.outcome('connect', client.connect()),
      );
      await using(witness, new pg.Client({ host, ...options }), (client) =>
        calledBack(witness, 'connect', (done) => client.connect(done)),
      );
      await using(witness, new pg.Pool({ host, ...options }), async (pool) => {
        await witness.outcome('query', pool.query('SELECT 1'));
        await calledBack(witness, 'pool', (done) => pool.connect(done));
        witness.note('pool', pool.totalCount, pool.idleCount, pool.waitingCount);
      });
    }
  },

  'a pool': poolProbe(async ({ witness, pool }) => {
    await witness.outcome('query', pool.query('SELECT $1::int AS n', [1]));
    await calledBack(witness, 'query', (done) => pool.query('SELECT 1', done));
    await calledBack(witness, 'values', (done) => pool.query('SELECT $1::int', [1], done));
    // A client that is let go says so when its connection is closed, sooner or later.
    const first = heard(pool, 'remove');
    await witness.outcome('an error', pool.query('SELEC'));
    await first;
    const client = await pool.connect();
    witness.note('client', client.constructor.name, Reflect.ownKeys(client).map(String));
    witness.listeners('client', client);
    await witness.outcome('its query', client.query('SELECT 2'));
    client.release();
    witness.attempt('released twice', () => client.release());
    const second = heard(pool, 'remove');
    await new Promise((resolve) =>
      pool.connect((error, given, release) => {
        witness.note('given', error, given === client, release.length);
        release(new Error('bad'));
        resolve();
      }),
    );
    await second;
    witness.note('pool', pool.totalCount, pool.idleCount, pool.waitingCount);
    witness.look('pool', pool, 1);
    await witness.outcome('end', pool.end());
    await witness.outcome('after', pool.query('SELECT 1'));
    await witness.outcome('ended twice', pool.end());
  }),

  'checkouts that wait': poolProbe(
    async ({ witness, pool }) => {
      const first = await pool.connect();
      const calls = [1, 2, 3].map((n) => witness.outcome(`query ${n}`, pool.query('SELECT $1::int AS n', [n])));
      witness.note('pool', pool.totalCount, pool.idleCount, pool.waitingCount);
      await first.query('BEGIN');
      await first.query('COMMIT');
      first.release();
      await Promise.all(calls);
      const held = await pool.connect();
      const patient = witness.outcome('waits too long', pool.connect());
      await patient;
      held.release(true);
    },
    { max: 1, connectionTimeoutMillis: 1_000 },
  ),

  'connections of a pool that live shortly': poolProbe(
    async ({ witness, pool }) => {
      await pool.query('SELECT 1');
      await heard(pool, 'remove');
      witness.note('pool', pool.totalCount, pool.idleCount);
      for (let use = 0; use < 3; use++) await pool.query('SELECT 1');
    },
    { idleTimeoutMillis: 10, maxUses: 2, maxLifetimeSeconds: 60 },
  ),

  'a pool whose idle connection is lost': poolProbe(async ({ witness, pool }) => {
    await pool.query('SELECT 1');
    const gone = heard(pool, 'remove');
    const other = new pool.Client(pool.options);
    await other.connect();
    await other.query(
      'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1 AND pid <> pg_backend_pid()',
      [pool.options.user],
    );
    await other.end();
    await gone;
    witness.note('pool', pool.totalCount, pool.idleCount);
    await witness.outcome('query', pool.query('SELECT 1'));
  }),

  'how soon a caller hears': probe(async ({ witness, client }) => {
    for (const args of [['SELECT 1'], ['SELECT $1::int', [1]]]) {
      const stop = witness.microtasksAfter('data');
      await client.query(...args);
      stop('after the answer');
    }
    witness.stack('after awaiting');
  }),

  'how soon a caller of a pool hears': poolProbe(async ({ witness, pool }) => {
    await pool.query('SELECT 1');
    const stop = witness.microtasksAfter('data');
    await pool.query('SELECT 1');
    stop('after the answer');
    const given = witness.microtasksAfter('acquire');
    const client = await pool.connect();
    given('after the checkout');
    client.release();
  }),

  'queries in their order': probe(async ({ witness, client }) => {
    await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        client.query('SELECT $1::int AS n', [n]).then(({ rows }) => witness.note('row', rows)),
      ),
    );
  }),

  'one call within the callback of another': probe(async ({ witness, client }) => {
    await new Promise((resolve) => {
      const next = (left) =>
        client.query('SELECT 1', () => {
          if (left > 1) return next(left - 1);
          witness.stack('the last of 30');
          resolve();
        });
      next(30);
    });
  }),
};

const exits = {
  'a promise that nobody handles': async ({ clients: [pg], deadPort }) => {
    await new pg.Client({ host, port: deadPort }).connect();
  },
  'a query that nobody handles': async ({ clients: [pg], port, user, database }) => {
    const client = new pg.Client({ host, port, user, database });
    await client.connect();
    await client.query('SELEC');
  },
  'a pool does not keep the process': async ({ clients: [pg], port, user, database }) => {
    const pool = new pg.Pool({ host, port, user, database, allowExitOnIdle: true });
    console.log((await pool.query('SELECT 1 AS one')).rows);
  },
};

/** What the packages are called. */
const names = ['pg', 'pg-cursor', 'pg-query-stream'];

module.exports = { names, probes, exits };
