// A cluster client of node-redis with its defaults.
'use strict';

const { createCluster } = require(process.env.OUTAGE_PACKAGE ?? 'redis');

const cluster = createCluster({
  rootNodes: [{ socket: { port: Number(process.env.OUTAGE_PORT), host: '127.0.0.1' } }],
});
cluster.on('error', () => {});

exports.start = () => cluster.connect();
exports.call = () => cluster.incr('calls');
exports.arrived = async () => Number(await cluster.get('calls'));
