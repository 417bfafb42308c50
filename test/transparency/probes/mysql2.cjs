// What applications do with `mysql2`.
'use strict';

const { heard, nextTurn } = require('./witness.cjs');

const host = '127.0.0.1';

const closed = async ({ stream }) => {
  if (!stream.closed) await heard(stream, 'close');
  await nextTurn();
};

/** What a result shows, without what an answer of the server has in it of its own. */
const rowsOf = (rows) => (Array.isArray(rows) ? rows.map((row) => ({ ...row })) : { affected: rows?.affectedRows });

const probe =
  (use, options) =>
  async ({ witness, clients: [mysql, promises], port, user, database, deadPort }) => {
    const config = { host, port, user, database, ...options };
    const connection = mysql.createConnection(config);
    connection.on('error', (error) => witness.note('error event', error));
    const query = (sql, values) =>
      new Promise((resolve, reject) =>
        connection.query(sql, values, (error, rows) => (error ? reject(error) : resolve(rowsOf(rows)))),
      );
    try {
      await use({ witness, mysql, promises, connection, query, config, deadPort });
    } finally {
      connection.destroy();
      await closed(connection);
    }
  };

const probes = {
  queries: probe(async ({ witness, query }) => {
    await witness.outcome('one', query('SELECT 1 AS one'));
    await witness.outcome('values', query('SELECT ? AS one, ? AS two', [1, 'b']));
    await witness.outcome('none', query('SELECT 1 AS one FROM DUAL WHERE 1 = 0'));
    await witness.outcome('do', query('DO 1'));
  }),

  callbacks: probe(async ({ witness, connection }) => {
    await new Promise((resolve) => {
      connection.query('SELECT 1 AS one', (...args) => {
        witness.note('query', args.length);
        witness.stack('query');
      });
      connection.execute('SELECT ? AS one', [1], (...args) => {
        witness.note('execute', args.length);
        witness.stack('execute');
      });
      connection.query('SELEC 1', (error) => witness.note('error', error));
      connection.ping((...args) => {
        witness.note('ping', args);
        resolve();
      });
    });
  }),

  errors: probe(async ({ witness, connection, query }) => {
    await witness.outcome('syntax', query('SELEC 1'));
    await witness.outcome('no table', query('SELECT * FROM nowhere'));
    await witness.outcome('prepared', connection.promise().execute('SELEC ?', [1]));
    await witness.outcome('its own', query("SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'mine'"));
    witness.attempt('undefined', () => connection.execute('SELECT ?', [undefined]));
    witness.attempt('no array', () => connection.execute('SELECT ?', 'text'));
    witness.attempt('awaited', () => connection.query('SELECT 1').then());
  }),

  'prepared statements': probe(async ({ witness, connection }) => {
    const promise = connection.promise();
    const statement = await promise.prepare('SELECT ? AS one');
    await witness.outcome(
      'first',
      statement.execute([1]).then(([rows]) => rowsOf(rows)),
    );
    await witness.outcome(
      'second',
      statement.execute(['b']).then(([rows]) => rowsOf(rows)),
    );
    await statement.close();
    for (const value of [1, 2]) {
      await witness.outcome(
        'execute',
        promise.execute('SELECT ? AS two', [value]).then(([rows]) => rowsOf(rows)),
      );
    }
    connection.unprepare('SELECT ? AS two');
  }),

  events: probe(async ({ witness, connection }) => {
    const command = connection.query('SELECT 1 AS one UNION SELECT 2');
    const ended = new Promise((resolve) => command.on('end', resolve));
    command.on('fields', (fields) => witness.note('fields', fields.length));
    command.on('result', (row) => {
      witness.note('row', { ...row });
      witness.stack('row');
    });
    await ended;
    const failing = connection.query('SELEC 1');
    const failed = new Promise((resolve) => failing.on('end', resolve));
    failing.on('error', (error) => witness.note('error', error));
    await failed;
  }),

  streams: probe(async ({ witness, connection }) => {
    const rows = [];
    for await (const row of connection.query('SELECT 1 AS one UNION SELECT 2').stream()) rows.push({ ...row });
    witness.note('rows', rows);
    const broken = connection.query('SELEC 1').stream();
    broken.on('error', (error) => witness.note('error', error));
    await new Promise((resolve) => broken.on('close', resolve));
  }),

  transactions: probe(async ({ witness, connection, query }) => {
    const promise = connection.promise();
    await query('CREATE TEMPORARY TABLE t (id INT) ENGINE = InnoDB');
    await witness.outcome('begin', promise.beginTransaction());
    await witness.outcome('insert', query('INSERT INTO t VALUES (1)'));
    await witness.outcome('rollback', promise.rollback());
    await witness.outcome('none', query('SELECT * FROM t'));
    await promise.beginTransaction();
    await query('INSERT INTO t VALUES (2)');
    await witness.outcome('commit', promise.commit());
    await witness.outcome('one', query('SELECT * FROM t'));
  }),

  'several statements': probe(
    async ({ witness, query }) => {
      await witness.outcome('two', query('SELECT 1 AS one; SELECT 2 AS two'));
      await witness.outcome('the second fails', query('SELECT 1 AS one; SELEC 2'));
    },
    { multipleStatements: true },
  ),

  'a limit of time': probe(async ({ witness, connection }) => {
    await witness.outcome('too long', connection.promise().query({ sql: 'SELECT SLEEP(0.2)', timeout: 30 }));
    await witness.outcome(
      'after',
      connection
        .promise()
        .query('SELECT 1 AS one')
        .then(([rows]) => rowsOf(rows)),
    );
  }),

  'the life of a connection': probe(async ({ witness, promises, config }) => {
    const connection = await promises.createConnection(config);
    await witness.outcome('ping', connection.ping());
    await witness.outcome('reset', connection.reset());
    await witness.outcome('change', connection.changeUser({ user: config.user }));
    const { connection: core } = connection;
    await witness.outcome('end', connection.end());
    await closed(core);
    await witness.outcome('after', connection.query('SELECT 1'));
  }),

  pools: probe(async ({ witness, mysql, config }) => {
    const pool = mysql.createPool({ ...config, connectionLimit: 2 });
    for (const event of ['acquire', 'connection', 'enqueue', 'release']) {
      pool.on(event, () => witness.note(event));
    }
    const promise = pool.promise();
    await witness.outcome(
      'three at once',
      Promise.all([1, 2, 3].map((value) => promise.query('SELECT ? AS one', [value]).then(([rows]) => rowsOf(rows)))),
    );
    await witness.outcome(
      'execute',
      promise.execute('SELECT ? AS one', [1]).then(([rows]) => rowsOf(rows)),
    );
    const one = await promise.getConnection();
    await witness.outcome('an error', one.query('SELEC 1'));
    one.release();
    const two = await promise.getConnection();
    two.destroy();
    await witness.outcome('end', promise.end());
    await nextTurn();
  }),

  'a refused connection': async ({ witness, clients: [mysql, promises], deadPort }) => {
    const config = { host, port: deadPort };
    await witness.outcome('create', promises.createConnection(config));
    const connection = mysql.createConnection(config);
    connection.on('error', (error) => witness.note('error event', error));
    await Promise.all(
      ['SELECT 1', 'SELECT 2'].map((sql) =>
        witness.outcome(
          'query',
          new Promise((resolve, reject) => connection.query(sql, (error) => (error ? reject(error) : resolve()))),
        ),
      ),
    );
    const pool = mysql.createPool(config).promise();
    await witness.outcome('pool', pool.query('SELECT 1'));
    await pool.end();
    await nextTurn();
  },

  'a lost connection': probe(async ({ witness, connection, query }) => {
    await query('SELECT 1');
    const waiting = [query('SELECT SLEEP(5)'), query('SELECT 1')];
    await nextTurn();
    connection.stream.destroy();
    for (const call of waiting) await witness.outcome('waiting', call);
    await witness.outcome('after', query('SELECT 1'));
  }),

  'how soon a caller hears': probe(async ({ witness, connection, query }) => {
    await query('SELECT 1');
    for (const call of [
      () => query('SELECT 1'),
      () => connection.promise().query('SELECT 1'),
      () => connection.promise().execute('SELECT 1'),
    ]) {
      const stop = witness.microtasksAfter('data');
      await call();
      stop('after the answer');
    }
  }),

  'many at once, in their order': probe(async ({ witness, query }) => {
    await Promise.all(
      Array.from({ length: 30 }, (_, index) => query(`SELECT ${index} AS n`).then(([{ n }]) => witness.note('n', n))),
    );
  }),
};

const exits = {
  'an error that nobody listens for': async ({ clients: [mysql], deadPort }) => {
    mysql.createConnection({ host, port: deadPort });
  },
  'a promise that nobody handles': async ({ clients: [, promises], port, user, database }) => {
    const connection = await promises.createConnection({ host, port, user, database });
    await connection.query('SELEC 1');
  },
};

/** What the packages are called. */
const names = ['mysql2', 'promises'];

module.exports = { names, probes, exits };
