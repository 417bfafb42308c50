// node-redis with its defaults.
'use strict';

const { createClient } = require(process.env.OUTAGE_PACKAGE ?? 'redis');

const redis = createClient({ socket: { port: Number(process.env.OUTAGE_PORT), host: '127.0.0.1' } });
redis.on('error', () => {});

exports.start = () => redis.connect();
exports.call = () => redis.incr('calls');
exports.arrived = async () => Number(await redis.get('calls'));
