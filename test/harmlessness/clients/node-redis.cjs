'use strict';
const { createClient } = require('redis');

module.exports = async () => {
  const redis = createClient({ socket: { port: Number(process.env.REDIS_PORT), host: '127.0.0.1' } });
  redis.on('error', () => {});
  await redis.connect();
  await redis.ping();

  /** Two commands of a client that has lost its connection: each waits until the client gives up on it. */
  async function unconnected() {
    const socket = { port: Number(process.env.DEAD_PORT), host: '127.0.0.1', reconnectStrategy: () => 5 };
    const lost = createClient({ socket, commandOptions: { timeout: 10 } });
    lost.on('error', () => {});
    void lost.connect().catch(() => {});
    // By class: where its circuit is open, a command gets the same error with another cause.
    const name = (error) => error.constructor.name;
    const first = await lost.get('harmless').catch(name);
    const second = await lost.get('harmless').catch(name);
    lost.destroy();
    return `${first}, ${second}`;
  }

  return {
    calls: [
      { name: 'a command', call: () => redis.set('harmless', '1') },
      { name: 'a reply that is an error', call: () => redis.lPush('harmless', '1') },
      { name: 'a pipeline', call: async () => String(await redis.multi().get('harmless').get('no').execAsPipeline()) },
      { name: 'a transaction', call: async () => String(await redis.multi().get('harmless').exec()) },
      { name: 'a blocking command', call: () => redis.blPop('nothing', 0.01) },
      { name: 'a command that is given up', call: () => redis.withAbortSignal(AbortSignal.abort()).get('harmless') },
      { name: 'no connection', call: unconnected },
      { name: 'no connection and an open circuit', call: unconnected, open: true },
      { name: 'an open circuit', call: () => redis.set('harmless', '1'), open: true },
    ],
    end: () => {
      redis.destroy();
    },
  };
};
