'use strict';

const mysql = require('mysql2/promise');
const { oneByOne, outcome, sleep, staggered } = require('../calls.cjs');

const STATEMENT = "SELECT 'verdict'";
// As many failures as it takes to open, and more.
const CALLS = 10;
const MANY = 20;

/** A connection of its own, which is a call as well. */
async function connected(farEnd, options) {
  const connection = await mysql.createConnection({ ...farEnd.options, ...options });
  connection.on('error', () => {});
  return connection;
}

/** So many connections, made one after the other so that none is slow, and then a statement on each. */
async function onConnections(farEnd, calls, timeout, leave) {
  const connections = [];
  for (let n = 0; n < calls; n++) connections.push(await connected(farEnd));
  const saw = await staggered(calls, 50, async (n) => {
    leave?.(connections[n]);
    return connections[n].query({ sql: STATEMENT, timeout });
  });
  for (const connection of connections) connection.destroy();
  return { before: calls, calls, saw };
}

/** Connections that cannot be made; more than it takes, since some are excused where our own loop stands. */
async function noConnection(farEnd, options) {
  const saw = await staggered(MANY, 50, () => connected(farEnd, { connectTimeout: 1_200, ...options }));
  return { before: 0, cold: true, calls: MANY, saw };
}

/** A connection and a statement, one after the other. */
async function reconnecting(farEnd) {
  const saw = await oneByOne(CALLS, async () => (await connected(farEnd)).query(STATEMENT));
  return { before: CALLS, calls: CALLS, saw };
}

/** A statement that nobody waits for any longer gets no answer at all: mysql2 tells it nothing. */
async function left(farEnd) {
  const connection = await connected(farEnd);
  void connection.query(STATEMENT).catch(() => {});
  await sleep(200);
  connection.destroy();
  return { before: 1, calls: 1, saw: [] };
}

const onConnection = {
  happenings: {
    silent: (farEnd) => onConnections(farEnd, MANY, 1_200),
    timeout: (farEnd) => onConnections(farEnd, MANY, 500),
    cancel: left,
    syn: (farEnd) => noConnection(farEnd),
    tls: (farEnd) => noConnection(farEnd, { ssl: {} }),
    reset: reconnecting,
    cut: reconnecting,
  },
};

/** Statements of a pool, whose connections and statements are one call each. */
function withPool(options, use) {
  return async (farEnd) => {
    const pool = mysql.createPool({ ...farEnd.options, ...options });
    const seen = await use(pool);
    pool.end().catch(() => {});
    return seen;
  };
}

async function warm(pool, use) {
  await pool.query('SELECT 1');
  return { before: 1, ...(await use(pool)) };
}

const noPool = (options) =>
  withPool({ connectionLimit: MANY, connectTimeout: 1_200, ...options }, async (pool) => ({
    before: 0,
    cold: true,
    calls: MANY,
    saw: await staggered(MANY, 50, () => pool.query(STATEMENT)),
  }));

const silent = (timeout) =>
  withPool({ connectionLimit: MANY }, (pool) =>
    warm(pool, async () => ({
      calls: MANY,
      saw: await staggered(MANY, 50, () => pool.query({ sql: STATEMENT, timeout })),
    })),
  );

const statementsOneByOne = (calls) =>
  withPool({}, (pool) => warm(pool, async () => ({ calls, saw: await oneByOne(calls, () => pool.query(STATEMENT)) })));

/** The same on a connection of a pool. */
async function leave(pool) {
  const connection = await pool.getConnection();
  void connection.query(STATEMENT).catch(() => {});
  await sleep(200);
  connection.destroy();
  return { calls: 1, saw: [] };
}

const onPool = {
  happenings: {
    silent: silent(1_200),
    timeout: silent(500),
    cancel: withPool({}, (pool) => warm(pool, () => leave(pool))),
    syn: noPool(),
    tls: noPool({ ssl: {} }),
    reset: statementsOneByOne(CALLS),
    stale: statementsOneByOne(1),
    cut: statementsOneByOne(CALLS),
  },
};

module.exports = { mysql2: onConnection, 'mysql2, Pool': onPool };
