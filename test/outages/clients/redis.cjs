// ioredis with its defaults.
'use strict';

const { Redis } = require(process.env.OUTAGE_PACKAGE ?? 'ioredis');

const redis = new Redis(Number(process.env.OUTAGE_PORT), '127.0.0.1');
redis.on('error', () => {});

exports.call = () => redis.incr('calls');
exports.arrived = async () => Number(await redis.get('calls'));
