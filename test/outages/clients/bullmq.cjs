// A queue of BullMQ, with a worker beside it.
'use strict';

const { Queue, Worker } = require('bullmq');

const name = `jobs-${process.pid}`;
const connection = { host: '127.0.0.1', port: Number(process.env.OUTAGE_PORT) };
const queue = new Queue(name, { connection });
const worker = new Worker(name, async () => {}, { connection });
for (const emitter of [queue, worker]) emitter.on('error', () => {});

exports.start = () => worker.waitUntilReady();
exports.call = () => queue.add('job', {});
// Through the connection of the queue: after what waits there.
exports.arrived = async () => Number(await (await queue.client).get(`bull:${name}:id`));
