// A client of ioredis that asks a sentinel for its master, with its defaults.
'use strict';

const { Redis } = require(process.env.OUTAGE_PACKAGE ?? 'ioredis');

const redis = new Redis({
  sentinels: [{ host: '127.0.0.1', port: Number(process.env.OUTAGE_PORT) }],
  name: 'mymaster',
});
redis.on('error', () => {});

const KEY = `calls:${process.pid}`;

exports.call = () => redis.incr(KEY);
exports.arrived = async () => Number(await redis.get(KEY));
