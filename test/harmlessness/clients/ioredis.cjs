'use strict';
const { Redis } = require('ioredis');

module.exports = async () => {
  const port = Number(process.env.REDIS_PORT);
  const redis = new Redis({ port, host: '127.0.0.1' });
  await redis.ping();

  /** Two commands of a client that cannot connect: one waits until the client gives up, one comes after that. */
  async function unconnected() {
    const lost = new Redis({
      port: Number(process.env.DEAD_PORT),
      host: '127.0.0.1',
      maxRetriesPerRequest: 0,
      retryStrategy: () => 20,
    });
    lost.on('error', () => {});
    // By name: where its circuit is open, a command gets the same error with another cause.
    const first = await lost.get('harmless').catch(({ name }) => name);
    const second = await lost.get('harmless').catch(({ name }) => name);
    lost.disconnect();
    return `${first}, ${second}`;
  }

  return {
    calls: [
      { name: 'a command', call: () => redis.set('harmless', '1') },
      { name: 'a reply that is an error', call: () => redis.lpush('harmless', '1') },
      { name: 'a pipeline', call: async () => String(await redis.pipeline().get('harmless').get('nothing').exec()) },
      { name: 'a transaction', call: async () => String(await redis.multi().get('harmless').exec()) },
      { name: 'a blocking command', call: () => redis.blpop('nothing', 0.01) },
      { name: 'no connection', call: unconnected },
      { name: 'no connection and an open circuit', call: unconnected, open: true },
      { name: 'an open circuit', call: () => redis.set('harmless', '1'), open: true },
    ],
    end: () => {
      redis.disconnect();
    },
  };
};
