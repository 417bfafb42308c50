// ioredis with its defaults.
'use strict';

const { Redis } = require(process.env.OUTAGE_PACKAGE ?? 'ioredis');

const redis = new Redis(Number(process.env.OUTAGE_PORT), '127.0.0.1');
redis.on('error', () => {});

const KEY = `calls:${process.pid}`;

exports.call = () => redis.incr(KEY);
exports.arrived = async () => Number(await redis.get(KEY));
