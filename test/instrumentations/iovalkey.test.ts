import { expect } from 'chai';
import { IoredisBreakerInstrumentation } from '../../instrumentations/ioredis/ioredis-instrumentation.js';
import { CircuitOpenError } from '../../src/guard/guard.js';
import { counts, TestGuard } from '../support/guarded.js';
import { Clients, rejection } from '../support/ioredis.js';
import { RedisServer } from '../support/redis-server.js';

// A fork of ioredis 5, built of the same files with the same classes: what guards the one guards the other.
describe('iovalkey', () => {
  let server: RedisServer;
  let guard: TestGuard;
  let clients: Clients;
  let instrumentation: IoredisBreakerInstrumentation;

  before(async () => {
    server = await RedisServer.start();
    guard = new TestGuard({ failureThreshold: 2, minimumCalls: 1_000_000 });
    instrumentation = new IoredisBreakerInstrumentation({}, guard);
    clients = new Clients('iovalkey');
  });
  after(async () => {
    clients.release();
    instrumentation.disable();
    await server.remove();
  });

  it('is guarded as ioredis is: commands, pipelines and transactions, failures and rejections', async () => {
    const redis = clients.redis(server.port);
    await redis.set('a', '1');
    await redis.pipeline().get('a').incr('a').exec();
    await redis.multi().get('a').exec();
    expect(guard.only.name).to.equal(server.target);
    expect(guard.only.stats().calls).to.deep.equal(counts({ success: 3 }));
    for (let call = 0; call < 2; call++) await rejection(redis.eval("return redis.error_reply('LOADING data')", 0));
    expect(await rejection(redis.get('a'))).to.be.instanceOf(CircuitOpenError);
    expect(guard.only.stats().calls).to.deep.equal(counts({ success: 3, failure: 2, rejected: 1 }));
  });
});
