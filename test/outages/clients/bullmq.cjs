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
// Asked through the queue: after what still waits there.
exports.arrived = async () => {
  const counts = await queue.getJobCounts('completed', 'failed', 'wait', 'active');
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
};
