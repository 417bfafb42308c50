'use strict';

const KEY = 'verdict';
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function waysOf(load) {
  const connect = ({ port }, options) => {
    const { default: Redis } = load();
    return new Redis({ host: '127.0.0.1', port, ...options }).on('error', () => {});
  };

  /** Commands whose answers do not come in time. */
  const outOfTime = (commandTimeout) => async (farEnd) => {
    const redis = connect(farEnd, { commandTimeout });
    // On a busy machine the connection alone may take as long.
    await new Promise((resolve) => redis.once('ready', resolve));
    await redis.get('warm');
    const made = [];
    for (let n = 0; n < 8; n++) {
      made.push(redis.get(KEY).then(() => 'an answer', String));
      await sleep(50);
    }
    const saw = await Promise.all(made);
    redis.disconnect();
    return { before: 1, calls: 8, saw };
  };

  /** Commands that wait for a connection that cannot be made: each attempt is a failure, and none of the commands is. */
  const noConnection = (options) => async (farEnd) => {
    const redis = connect(farEnd, { connectTimeout: 150, ...options });
    void redis.get(KEY).catch(() => {});
    await sleep(9_000);
    // What is asked of the breaker is asked before its client says that nobody waits any more.
    setTimeout(() => redis.disconnect(), 2_000);
    return { before: 0, calls: 8, atLeast: true, waiting: 1, saw: [] };
  };

  /** Commands that are given up with their connection. */
  const left = (command) => async (farEnd) => {
    const saw = await Promise.all(
      [1, 2, 3].map(async () => {
        const redis = connect(farEnd);
        await new Promise((resolve) => redis.once('ready', resolve));
        setTimeout(() => redis.disconnect(), 200);
        return command(redis).then(() => 'an answer', String);
      }),
    );
    return { before: 0, calls: 3, saw };
  };

  /** Commands one after the other. */
  const oneByOne = (calls, options) => async (farEnd) => {
    const redis = connect(farEnd, options);
    await redis.get('warm');
    const saw = [];
    for (let n = 0; n < calls; n++) saw.push(await redis.get(KEY).then(() => 'an answer', String));
    redis.disconnect();
    return { before: 1, calls, saw };
  };
  // Otherwise a command that loses each connection is sent again on the next one, without an end.
  const NO_RETRIES = { maxRetriesPerRequest: 0 };

  return {
    happenings: {
      silent: outOfTime(1_200),
      timeout: outOfTime(500),
      cancel: left((redis) => redis.get(KEY)),
      syn: noConnection({}),
      tls: noConnection({ tls: {} }),
      reset: oneByOne(12, NO_RETRIES),
      stale: oneByOne(1),
      cut: oneByOne(12, NO_RETRIES),
      poll: left((redis) => redis.blpop(KEY, 0)),
    },
  };
}

module.exports = {
  'ioredis 6': waysOf(() => require('ioredis')),
  'ioredis 5': waysOf(() => require('ioredis5')),
};
