'use strict';

const { Client, Pool } = require('pg');
const { oneByOne, outcome, staggered } = require('../calls.cjs');

const STATEMENT = "SELECT 'verdict'";
// As many failures as it takes to open, and more.
const CALLS = 10;
const MANY = 20;

/** A connection of its own, which is a call as well. */
async function connected(farEnd, options) {
  const client = new Client({ ...farEnd.options, ...options });
  client.on('error', () => {});
  await client.connect();
  return client;
}

/** So many connections, made one after the other so that none is slow, and then a statement on each. */
async function onConnections(farEnd, calls, options, leave) {
  const clients = [];
  for (let n = 0; n < calls; n++) clients.push(await connected(farEnd, options));
  const saw = await staggered(calls, 50, async (n) => {
    leave?.(clients[n]);
    return clients[n].query(STATEMENT);
  });
  for (const client of clients) client.end().catch(() => {});
  return { before: calls, calls, saw };
}

/** Connections that cannot be made; more than it takes, since some are excused where our own loop stands. */
async function noConnection(farEnd, options) {
  const saw = await staggered(MANY, 50, () => connected(farEnd, { connectionTimeoutMillis: 1_200, ...options }));
  return { before: 0, cold: true, calls: MANY, saw };
}

/** A connection and a statement, one after the other. */
async function reconnecting(farEnd) {
  const saw = await oneByOne(CALLS, async () => (await connected(farEnd)).query(STATEMENT));
  return { before: CALLS, calls: CALLS, saw };
}

const onClient = {
  happenings: {
    silent: (farEnd) => onConnections(farEnd, MANY, { query_timeout: 1_200 }),
    timeout: (farEnd) => onConnections(farEnd, MANY, { query_timeout: 500 }),
    cancel: (farEnd) => onConnections(farEnd, 3, {}, (client) => setTimeout(() => void client.end(), 200)),
    syn: (farEnd) => noConnection(farEnd),
    tls: (farEnd) => noConnection(farEnd, { ssl: true }),
    reset: reconnecting,
    cut: reconnecting,
  },
};

/** Statements of a pool, whose connections and statements are one call each. */
function withPool(options, use) {
  return async (farEnd) => {
    const pool = new Pool({ ...farEnd.options, ...options });
    pool.on('error', () => {});
    const seen = await use(pool);
    pool.end().catch(() => {});
    return seen;
  };
}

const query = (pool) => pool.query(STATEMENT);

async function warm(pool, use) {
  await pool.query('SELECT 1');
  return { before: 1, ...(await use(pool)) };
}

const noPool = (options) =>
  withPool({ max: MANY, connectionTimeoutMillis: 1_200, ...options }, async (pool) => ({
    before: 0,
    cold: true,
    calls: MANY,
    saw: await staggered(MANY, 50, () => query(pool)),
  }));

const statementsOneByOne = (calls) =>
  withPool({}, (pool) => warm(pool, async () => ({ calls, saw: await oneByOne(calls, () => query(pool)) })));

const timedOut = (query_timeout) =>
  withPool({ max: MANY, query_timeout }, (pool) =>
    warm(pool, async () => ({ calls: MANY, saw: await staggered(MANY, 50, () => query(pool)) })),
  );

/** A statement whose caller throws its connection away. */
async function leave(pool) {
  const client = await pool.connect();
  client.on('error', () => {});
  setTimeout(() => client.release(true), 200);
  return client.query(STATEMENT);
}

const onPool = {
  happenings: {
    silent: timedOut(1_200),
    timeout: timedOut(500),
    cancel: withPool({}, (pool) => warm(pool, async () => ({ calls: 1, saw: [await outcome(leave(pool))] }))),
    syn: noPool(),
    tls: noPool({ ssl: true }),
    reset: statementsOneByOne(CALLS),
    stale: statementsOneByOne(1),
    cut: statementsOneByOne(CALLS),
  },
};

module.exports = { pg: onClient, 'pg-pool': onPool };
