import { Queue, QueueEvents, Worker } from 'bullmq';
import { expect } from 'chai';
import { once } from 'node:events';
import { IoredisBreakerInstrumentation } from '../../instrumentations/ioredis/ioredis-instrumentation.js';
import { TestGuard } from '../support/guarded.js';
import { RedisServer } from '../support/redis-server.js';

describe('BullMQ over ioredis', () => {
  let server: RedisServer;
  let guard: TestGuard;
  let instrumentation: IoredisBreakerInstrumentation;
  let queue: Queue;
  let worker: Worker;
  let events: QueueEvents;

  beforeEach(async () => {
    // A queue is worth something to those who keep their data.
    server = await RedisServer.start({ appendonly: 'yes', appendfsync: 'always' });
    guard = new TestGuard({
      failureThreshold: 4,
      minimumCalls: 1_000_000,
      successThreshold: 2,
      openDuration: 100,
      openBackoff: 1,
      openJitter: 0,
    });
    instrumentation = new IoredisBreakerInstrumentation({}, guard);
    const connection = { host: server.host, port: server.port, retryStrategy: () => 20 };
    queue = new Queue('jobs', { connection });
    events = new QueueEvents('jobs', { connection });
    worker = new Worker<number, number>('jobs', async ({ data }) => data * 2, { connection, runRetryDelay: 20 });
    queue.on('error', ignore);
    worker.on('error', ignore);
    events.on('error', ignore);
    await Promise.all([queue.waitUntilReady(), worker.waitUntilReady(), events.waitUntilReady()]);
  });

  afterEach(async () => {
    await Promise.all([worker.close(true), events.close(), queue.close()]);
    instrumentation.disable();
    await server.remove();
  });

  const breaker = () => guard.breaker(server.target);

  it('works unchanged while the circuit is closed', async () => {
    const job = await queue.add('double', 21);
    expect(await job.waitUntilFinished(events)).to.equal(42);
    const later = await queue.add('double', 4, { delay: 30 });
    expect(await later.waitUntilFinished(events)).to.equal(8);
    expect(breaker().state).to.equal('closed');
    const { success, failure, rejected } = breaker().stats().calls;
    expect({ failure, rejected }).to.deep.equal({ failure: 0, rejected: 0 });
    expect(success).to.be.greaterThan(4);
  });

  it('works after the circuit has closed also with what was made while it was open', async () => {
    breaker().forceOpen();
    const connection = { host: server.host, port: server.port };
    const late = new Worker<number, number>('late', async ({ data }) => data * 2, { connection, runRetryDelay: 20 });
    late.on('error', ignore);
    const lateQueue = new Queue('late', { connection });
    lateQueue.on('error', ignore);
    try {
      await Promise.all([late.waitUntilReady(), lateQueue.waitUntilReady()]);
      breaker().reset();
      // Not by `once`, which an error ends that was on its way.
      const completed = new Promise((resolve) => late.on('completed', (_job, result) => resolve(result)));
      await lateQueue.add('double', 21);
      expect(await completed).to.equal(42);
    } finally {
      await Promise.all([late.close(true), lateQueue.close()]);
    }
  });

  it('recovers by itself after the server has returned', async () => {
    // Not by its events: until the worker knows, it would finish the job once more after the outage.
    const first = once(worker, 'completed');
    await queue.add('double', 1);
    await first;
    const opened = new Promise<void>((resolve) => {
      breaker().onTransition(({ to }) => to === 'open' && resolve());
    });
    await server.kill();
    await opened;
    expect(breaker().state).to.not.equal('closed');

    const closed = new Promise<void>((resolve) => {
      breaker().onTransition(({ to }) => to === 'closed' && resolve());
    });
    await server.start();
    // The worker alone, by what it does anyway, closes the circuit; nobody else makes a call.
    await closed;

    const completed = new Promise<number>((resolve) => {
      worker.once('completed', ({ returnvalue }) => resolve(returnvalue as number));
    });
    await queue.add('double', 5);
    expect(await completed).to.equal(10);
  });
});

function ignore(): void {}
