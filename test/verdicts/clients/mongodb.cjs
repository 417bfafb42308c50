'use strict';

const { oneByOne, outcome, sleep } = require('../calls.cjs');
const { MongoClient } = require('mongodb');

// What is asked of this database meets with what happens.
const MARK = 'verdict';
// As many failures as it takes to open, and more.
const CALLS = 12;
const MANY = 20;

const make = ({ port }, options) =>
  new MongoClient(`mongodb://127.0.0.1:${port}/?directConnection=true`, { minHeartbeatFrequencyMS: 50, ...options });
const ask = (client, options) => client.db(MARK).collection('orders').findOne({}, options);
const warm = (client) => client.db('shop').collection('orders').findOne();

/** Operations whose answers do not come in time. */
const outOfTime = (options) => async (farEnd) => {
  const client = make(farEnd, { retryReads: false, maxPoolSize: 2 * MANY, ...options });
  await warm(client);
  const made = [];
  for (let n = 0; n < MANY; n++) {
    made.push(outcome(ask(client)));
    await sleep(50);
  }
  return { before: 1, calls: MANY, saw: await Promise.all(made) };
};

/** Operations that look for a server that cannot be asked: each question is a failure, and none of the operations is. */
const noServer = (options) => async (farEnd) => {
  const client = make(farEnd, { connectTimeoutMS: 150, ...options });
  void warm(client).catch(() => {});
  await sleep(9_000);
  // What is asked of the breaker is asked before its client says that nobody waits any more.
  setTimeout(() => void client.close(), 2_000);
  return { before: 0, calls: CALLS, atLeast: true, waiting: 1, saw: [] };
};

/** Operations that their callers leave. */
async function left(farEnd) {
  const client = make(farEnd, {});
  await warm(client);
  const saw = await Promise.all(
    [1, 2, 3].map(() => {
      const gone = new AbortController();
      setTimeout(() => gone.abort(), 200);
      return outcome(ask(client, { signal: gone.signal }));
    }),
  );
  return { before: 1, calls: 3, saw };
}

/** Operations one after the other. */
const inTurn = (calls, options) => async (farEnd) => {
  const client = make(farEnd, options);
  await warm(client);
  return { before: 1, calls, saw: await oneByOne(calls, () => ask(client)) };
};

module.exports = {
  mongodb: {
    happenings: {
      silent: outOfTime({ socketTimeoutMS: 1_200 }),
      timeout: outOfTime({ socketTimeoutMS: 500 }),
      cancel: left,
      syn: noServer({}),
      tls: noServer({ tls: true }),
      reset: inTurn(CALLS, { retryReads: false }),
      // It sends the operation again.
      stale: inTurn(1),
      cut: inTurn(CALLS, { retryReads: false }),
    },
  },
};
