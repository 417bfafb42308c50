// A queue of Bull, with a processor beside it.
'use strict';

const Bull = require('bull');

const name = `jobs-${process.pid}`;
const queue = new Bull(name, { redis: { host: '127.0.0.1', port: Number(process.env.OUTAGE_PORT) } });
queue.on('error', () => {});
void queue.process(async () => {});

exports.start = () => queue.isReady();
exports.call = () => queue.add({});
exports.arrived = async () => Number(await queue.client.get(`bull:${name}:id`));
