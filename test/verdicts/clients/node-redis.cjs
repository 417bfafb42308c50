'use strict';

const { oneByOne, outcome, sleep } = require('../calls.cjs');

const KEY = 'verdict';

function waysOf(load) {
  const make = ({ port }, options) =>
    load()
      .createClient({ socket: { host: '127.0.0.1', port, ...options } })
      .on('error', () => {});

  /** Commands on connections of their own, whose answers do not come in time: the only limit there is on these is the socket's. */
  const outOfTime = (socketTimeout) => async (farEnd) => {
    const warm = await make(farEnd).connect();
    await warm.get('warm');
    warm.destroy();
    const made = [];
    for (let n = 0; n < 8; n++) {
      const client = await make(farEnd, { socketTimeout, reconnectStrategy: false }).connect();
      made.push(outcome(client.get(KEY)));
      await sleep(50);
    }
    return { before: 1, calls: 8, saw: await Promise.all(made) };
  };

  /** Commands that wait for a connection that cannot be made: each attempt is a failure, and none of the commands is. */
  const noConnection = (options) => async (farEnd) => {
    const client = make(farEnd, { connectTimeout: 150, reconnectStrategy: 500, ...options });
    void client.connect().catch(() => {});
    // Longer than it would by default.
    void client
      .withCommandOptions({ timeout: 60_000 })
      .get(KEY)
      .catch(() => {});
    await sleep(9_000);
    // What is asked of the breaker is asked before its client says that nobody waits any more.
    setTimeout(() => client.destroy(), 2_000);
    return { before: 0, calls: 8, atLeast: true, waiting: 1, saw: [] };
  };

  /** Commands that are given up with their connection. */
  const left = (command) => async (farEnd) => {
    const saw = await Promise.all(
      [1, 2, 3].map(async () => {
        const client = await make(farEnd).connect();
        setTimeout(() => client.destroy(), 200);
        return outcome(command(client));
      }),
    );
    return { before: 0, calls: 3, saw };
  };

  /** Commands one after the other. */
  const inTurn = (calls) => async (farEnd) => {
    const client = await make(farEnd, { reconnectStrategy: 1 }).connect();
    await client.get('warm');
    const saw = await oneByOne(calls, () => client.get(KEY));
    client.destroy();
    return { before: 1, calls, saw };
  };

  return {
    happenings: {
      silent: outOfTime(1_200),
      timeout: outOfTime(500),
      cancel: left((client) => client.get(KEY)),
      syn: noConnection({}),
      tls: noConnection({ tls: true, connectTimeout: 150 }),
      reset: inTurn(12),
      stale: inTurn(1),
      cut: inTurn(12),
      poll: left((client) => client.blPop(KEY, 0)),
    },
  };
}

module.exports = {
  'node-redis 6': waysOf(() => require('redis')),
  'node-redis 5': waysOf(() => require('redis5')),
};
