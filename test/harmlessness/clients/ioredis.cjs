'use strict';
const { Redis } = require('ioredis');

module.exports = async () => {
  const port = Number(process.env.REDIS_PORT);
  const redis = new Redis({ port, host: '127.0.0.1' });
  await redis.ping();

  return {
    calls: [
      { name: 'a command', call: () => redis.set('harmless', '1') },
      { name: 'a reply that is an error', call: () => redis.lpush('harmless', '1') },
      { name: 'a pipeline', call: async () => String(await redis.pipeline().get('harmless').get('nothing').exec()) },
      { name: 'a transaction', call: async () => String(await redis.multi().get('harmless').exec()) },
      { name: 'a blocking command', call: () => redis.blpop('nothing', 0.01) },
      { name: 'an open circuit', call: () => redis.set('harmless', '1'), open: true },
    ],
    end: () => {
      redis.disconnect();
    },
  };
};
