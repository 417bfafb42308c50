// A cluster client of ioredis with its defaults.
'use strict';

const { Cluster } = require(process.env.OUTAGE_PACKAGE ?? 'ioredis');

const port = Number(process.env.OUTAGE_PORT);
const cluster = new Cluster([{ host: '127.0.0.1', port }]);
cluster.on('error', () => {});

const KEY = `calls:${process.pid}`;

exports.call = () => cluster.incr(KEY);
exports.arrived = async () => Number(await cluster.get(KEY));
