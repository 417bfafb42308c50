// A cluster client of ioredis with its defaults.
'use strict';

const { Cluster } = require(process.env.OUTAGE_PACKAGE ?? 'ioredis');

const port = Number(process.env.OUTAGE_PORT);
const cluster = new Cluster([{ host: '127.0.0.1', port }]);
cluster.on('error', () => {});

exports.call = () => cluster.incr('calls');
exports.arrived = async () => Number(await cluster.get('calls'));
