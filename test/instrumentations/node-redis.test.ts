import { expect } from 'chai';
import { NodeRedisBreakerInstrumentation } from '../../instrumentations/node-redis/node-redis-instrumentation.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { CircuitOpenError } from '../../src/guard/guard.js';
import { counts, TestGuard } from '../support/guarded.js';
import { rejection } from '../support/ioredis.js';
import { Clients, MAJORS, type Client } from '../support/node-redis.js';
import { RedisCluster, RedisServer } from '../support/redis-server.js';

const OPTIONS: BreakerOptions = {
  failureThreshold: 5,
  minimumCalls: 1_000_000,
  successThreshold: 1,
  openDuration: 60_000,
  initialOpenDuration: 60_000,
  openJitter: 0,
};

const turned = () => new Promise((resolve) => setImmediate(resolve));

for (const { major, name } of MAJORS) {
  describe(`node-redis ${major}`, () => {
    let server: RedisServer;
    let guard: TestGuard;
    let clients: Clients;
    let instrumentation: NodeRedisBreakerInstrumentation;

    before(async () => {
      server = await RedisServer.start();
    });
    after(() => server.remove());

    beforeEach(() => guardWith(OPTIONS));
    afterEach(async () => {
      clients.release();
      instrumentation.disable();
      await server.command('FLUSHALL');
    });

    function guardWith(options: BreakerOptions): void {
      instrumentation?.disable();
      guard = new TestGuard(options);
      instrumentation = new NodeRedisBreakerInstrumentation({}, guard);
      clients = new Clients(name);
    }

    const breaker = () => guard.breaker(server.target);
    const client = (): Promise<Client> => clients.connected(server.port);

    /** How many commands the server has executed, so that it can be told that nothing went onto the wire. */
    async function commandsOf(command: string): Promise<number> {
      const stats = await server.command('INFO', 'commandstats');
      return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
    }

    it('counts a command once, however it is sent', async () => {
      const redis = await client();
      await redis.set('a', '1');
      await redis.sendCommand(['GET', 'a']);
      await redis.multi().get('a').incr('a').exec();
      await redis.multi().get('a').incr('a').execAsPipeline();
      for await (const keys of redis.scanIterator()) expect(keys).to.deep.equal(['a']);
      const pool = clients.track(redis.createPool());
      await pool.connect();
      await pool.get('a');
      expect(breaker().stats().calls).to.deep.equal(counts({ success: 6 }));
      expect(guard.breakers.listNames()).to.deep.equal([server.target]);
    });

    it('takes an error reply for an answer, unless Redis says that it cannot work', async () => {
      const redis = await client();
      await redis.set('text', 'a');
      expect((await rejection(redis.lPush('text', 'b'))).message).to.contain('WRONGTYPE');
      expect((await rejection(redis.multi().lPush('text', 'b').execAsPipeline())).message).to.contain('WRONGTYPE');
      expect(breaker().stats().calls).to.deep.equal(counts({ success: 3 }));
      const busy = "return redis.error_reply('LOADING Redis is loading the dataset in memory')";
      await rejection(redis.eval(busy));
      await rejection(redis.eval("return redis.error_reply('READONLY You cannot')"));
      expect(breaker().stats().calls).to.deep.equal(counts({ success: 3, failure: 1, ignored: 1 }));
    });

    it('opens by its failures, and then sends nothing', async () => {
      const redis = await client();
      const busy = "return redis.error_reply('LOADING Redis is loading the dataset in memory')";
      for (let i = 0; i < 5; i++) await rejection(redis.eval(busy));
      expect(breaker().state).to.equal('open');
      const gets = await commandsOf('get');
      for (const call of [
        () => redis.get('a'),
        () => redis.sendCommand(['GET', 'a']),
        () => redis.multi().get('a').exec(),
        () => redis.multi().get('a').execAsPipeline(),
        () => redis.withCommandOptions({ timeout: 10 }).get('a'),
      ]) {
        expect(await rejection(call())).to.be.instanceOf(CircuitOpenError);
      }
      expect(await commandsOf('get')).to.equal(gets);
      expect(breaker().stats().calls).to.deep.equal(counts({ failure: 5, rejected: 5 }));
    });

    it('rejects after the event loop has turned', async () => {
      const redis = await client();
      await redis.ping();
      breaker().forceOpen();
      const order: string[] = [];
      const rejected = rejection(redis.get('a')).then(() => order.push('rejected'));
      await new Promise<void>((resolve) => process.nextTick(resolve));
      order.push('tick');
      await rejected;
      expect(order).to.deep.equal(['tick', 'rejected']);
    });

    it('lets what belongs to the connection pass while the circuit is open', async () => {
      const redis = await client();
      await redis.ping();
      breaker().forceOpen();
      await redis.select(1);
      await redis.unwatch();
      const messages: string[] = [];
      const subscriber = await client();
      await subscriber.subscribe('news', (message) => messages.push(message));
      await subscriber.unsubscribe('news');
      await redis.close();
      expect(breaker().stats().calls).to.deep.equal(counts({ success: 1 }));
    });

    it('answers what the server is while the circuit is open, and counts it', async () => {
      const redis = await client();
      await redis.ping();
      breaker().forceOpen();
      expect(await redis.info()).to.include('redis_version');
      expect(breaker().stats().calls).to.deep.equal(counts({ success: 2 }));
    });

    it('rejects nothing between WATCH and the end of its transaction', async () => {
      const redis = await client();
      await redis.ping();
      await redis.watch('a');
      breaker().forceOpen();
      await redis.get('a');
      await redis.multi().set('a', '1').exec();
      expect(await rejection(redis.get('a'))).to.be.instanceOf(CircuitOpenError);
    });

    it('rejects nothing inside a MULTI that the application sends itself, and all of one that is rejected', async () => {
      const redis = await client();
      await redis.sendCommand(['MULTI']);
      breaker().forceOpen();
      expect(await redis.sendCommand(['SET', 'a', '1'])).to.equal('QUEUED');
      expect(await redis.sendCommand(['EXEC'])).to.deep.equal(['OK']);

      const refused = [redis.sendCommand(['MULTI']), redis.sendCommand(['SET', 'a', '2'])];
      breaker().reset();
      refused.push(redis.sendCommand(['SET', 'a', '3']));
      for (const promise of refused) expect(await rejection(promise)).to.be.instanceOf(CircuitOpenError);
      expect(await redis.get('a')).to.equal('1');
    });

    it('takes a blocking command for no probe, and asks by itself where a service has no others', async () => {
      guardWith({ ...OPTIONS, initialOpenDuration: 1, openDuration: 1, openBackoff: 1 });
      const redis = await client();
      const busy = "return redis.error_reply('LOADING Redis is loading the dataset in memory')";
      for (let i = 0; i < 5; i++) await rejection(redis.eval(busy));
      while (breaker().state !== 'closed') await redis.blPop('nothing', 0.01).catch(() => undefined);
      // Our own last question may still be on its way.
      while (breaker().stats().calls.inFlight > 0) await turned();
    });

    it('ends the call of a command that its caller gives up, or that the client refuses', async () => {
      const redis = await client();
      await redis.ping();
      await rejection(redis.withAbortSignal(AbortSignal.abort()).get('a'));
      const gone = new AbortController();
      const given = redis.withAbortSignal(gone.signal).get('a');
      gone.abort();
      await rejection(given);
      redis.destroy();
      await rejection(redis.get('a'));
      await turned();
      expect(breaker().stats().calls).to.deep.equal(counts({ success: 1, ignored: 2 }));
    });

    it('leaves an unhandled rejection unhandled', async () => {
      const redis = await client();
      await redis.set('text', 'a');
      const unhandled: Error[] = [];
      const listeners = process.listeners('unhandledRejection');
      process.removeAllListeners('unhandledRejection');
      process.on('unhandledRejection', (error: Error) => unhandled.push(error));
      void redis.lPush('text', 'b');
      void redis.sendCommand(['LPUSH', 'text', 'b']);
      await redis.ping();
      await turned();
      process.removeAllListeners('unhandledRejection');
      for (const listener of listeners) process.on('unhandledRejection', listener);
      expect(unhandled.map(({ message }) => message.split(' ')[0])).to.deep.equal(['WRONGTYPE', 'WRONGTYPE']);
    });

    it('leaves the client as it was', async () => {
      const prototype = Object.getPrototypeOf(
        Object.getPrototypeOf(Object.getPrototypeOf(await client())) as object,
      ) as Record<string, { name: string; length: number }>;
      const patched = prototype.sendCommand!;
      expect([patched.name, patched.length]).to.deep.equal(['sendCommand', 2]);
      instrumentation.disable();
      expect(prototype.sendCommand).to.not.equal(patched);
      expect(Object.hasOwn(prototype, 'emit')).to.equal(false);
      const redis = await clients.connected(server.port);
      await redis.ping();
      expect(guard.calls(server.target).success).to.equal(0);
    });

    it('is not hurt by a fault of ours', async () => {
      const redis = await client();
      Object.assign(guard, {
        enter() {
          throw new Error('a fault of ours');
        },
      });
      expect(await redis.set('a', '1')).to.equal('OK');
    });

    it('guards by the host and port of a URL, and a unix socket by its path', async () => {
      const redis = clients.track(clients.redis.createClient({ url: `redis://LOCALHOST:${server.port}/0` }));
      redis.on('error', () => {});
      await redis.connect();
      await redis.ping();
      expect(guard.breakers.listNames()).to.deep.equal([`redis://localhost:${server.port}`]);
    });
  });

  describe(`node-redis ${major} and a server that goes away`, () => {
    let server: RedisServer;
    let guard: TestGuard;
    let clients: Clients;
    let instrumentation: NodeRedisBreakerInstrumentation;

    beforeEach(async () => {
      server = await RedisServer.start();
      guardWith(OPTIONS);
    });
    afterEach(async () => {
      clients.release();
      instrumentation.disable();
      await server.remove();
    });

    function guardWith(options: BreakerOptions): void {
      instrumentation?.disable();
      guard = new TestGuard(options);
      instrumentation = new NodeRedisBreakerInstrumentation({}, guard);
      clients = new Clients(name);
    }

    const breaker = () => guard.breaker(server.target);

    async function reached(state: 'open' | 'closed'): Promise<void> {
      if (breaker().state === state) return;
      await new Promise<void>((resolve) => {
        const end = breaker().onTransition(({ to }) => {
          if (to !== state) return;
          end();
          resolve();
        });
      });
    }

    it('opens by failing reconnections alone, and closes once there is a connection', async () => {
      const redis = await clients.connected(server.port);
      await redis.ping();
      const opened = reached('open');
      await server.kill();
      await opened;
      expect(breaker().stats().calls).to.deep.equal(counts({ success: 1, failure: 5 }));
      await server.start();
      await reached('closed');
      expect(await redis.get('a')).to.equal(null);
    });

    it('takes the loss of a connection under many commands for one event', async () => {
      const redis = await clients.connected(server.port, { socket: { reconnectStrategy: 60_000 } });
      await redis.ping();
      server.pause();
      const lost = Array.from({ length: 20 }, (_, key) => rejection(redis.get(String(key))));
      await turned();
      await turned();
      await server.kill();
      await Promise.all(lost);
      expect(breaker().state).to.equal('closed');
      expect(breaker().stats().calls.inFlight).to.equal(0);
    });

    it('lets commands wait for as long as the client does, whatever the circuit says', async () => {
      const redis = await clients.connected(server.port);
      await redis.ping();
      const opened = reached('open');
      // Or the first command would be sent over a connection that is gone.
      const lost = new Promise((resolve) => redis.once('reconnecting', resolve));
      await Promise.all([lost, server.kill()]);
      const early = redis.get('a');
      await opened;
      const late = [redis.get('a'), redis.multi().get('a').execAsPipeline(), redis.multi().get('a').exec()] as const;
      await server.start();
      expect(await Promise.all([early, ...late])).to.deep.equal([null, null, [null], [null]]);
      expect(breaker().state).to.equal('closed');
      expect(breaker().stats().calls).to.deep.equal(counts({ success: 5, failure: 5 }));
    });

    it('rejects what waits and what comes by the error of the client, once that has given up on one as patient', async () => {
      const redis = await clients.connected(server.port);
      await redis.ping();
      const opened = reached('open');
      await server.kill();
      await opened;
      // A shorter patience is no word on those that have more.
      const [short, long] = [20, 60_000].map((timeout) => redis.withCommandOptions({ timeout }));
      const waiting = long!.get('a').then(
        () => 'answered',
        () => 'rejected',
      );
      expect((await rejection(short!.get('a'))).cause).to.equal(undefined);
      const error = await rejection(short!.get('a'));
      expect(error.constructor.name).to.equal('TimeoutError');
      expect(error.cause).to.be.instanceOf(CircuitOpenError);
      await server.start();
      expect(await waiting).to.equal('answered');
      await reached('closed');
      expect(await short!.get('a')).to.equal(null);
      expect(breaker().stats().calls).to.include({ rejected: 1, inFlight: 0 });
    });

    it('rejects from the opening on where a rule says so', async () => {
      guardWith({ ...OPTIONS, whenOpen: 'throw' });
      const redis = await clients.connected(server.port);
      await redis.ping();
      const opened = reached('open');
      const lost = new Promise((resolve) => redis.once('reconnecting', resolve));
      // Gone, and not yet by so many attempts to connect again that the circuit is open.
      await Promise.all([lost, server.kill()]);
      const waiting = [redis.get('a'), redis.multi().get('a').exec(), redis.get('a')].map(rejection);
      // What always passes stays where it is, between what is taken out of the queue.
      const passing = redis.sendCommand(['UNWATCH']);
      waiting.push(rejection(redis.get('a')));
      await opened;
      expect(await rejection(redis.get('a'))).to.be.instanceOf(CircuitOpenError);
      expect(await rejection(redis.multi().get('a').exec())).to.be.instanceOf(CircuitOpenError);
      for (const error of await Promise.all(waiting)) expect(error).to.be.instanceOf(CircuitOpenError);
      expect(breaker().stats().calls).to.include({ rejected: 6, inFlight: 0 });
      await server.start();
      expect(await passing).to.equal('OK');
      await reached('closed');
      expect(await redis.get('a')).to.equal(null);
      expect(breaker().stats().calls.inFlight).to.equal(0);
    });

    it('takes a command without a connection and without a queue for a failure', async () => {
      const redis = await clients.connected(server.port, {
        disableOfflineQueue: true,
        socket: { reconnectStrategy: 60_000 },
      });
      await redis.ping();
      const lost = new Promise((resolve) => redis.once('error', resolve));
      await server.kill();
      await lost;
      for (let i = 0; i < 5; i++) await rejection(redis.get('a'));
      expect(await rejection(redis.get('a'))).to.be.instanceOf(CircuitOpenError);
    });
  });

  describe(`node-redis ${major} and a cluster`, () => {
    let cluster: RedisCluster;
    let guard: TestGuard;
    let instrumentation: NodeRedisBreakerInstrumentation;

    before(async () => {
      cluster = await RedisCluster.start();
    });
    after(() => cluster.remove());

    beforeEach(() => {
      guard = new TestGuard(OPTIONS);
      instrumentation = new NodeRedisBreakerInstrumentation({ enabled: false }, guard);
    });
    afterEach(() => instrumentation.disable());

    async function connected() {
      const { redis } = new Clients(name);
      const rootNodes = cluster.startupNodes.map((socket) => ({ socket }));
      const client = redis.createCluster({ rootNodes });
      client.on('error', () => {});
      await client.connect();
      return client;
    }

    it('is one target, with one breaker, whichever node answers', async () => {
      instrumentation.enable();
      const client = await connected();
      for (const key of ['a', 'b', 'c', 'd', 'e']) await client.set(key, '1');
      await client.multi().get('a').exec();
      expect(guard.breakers.listNames()).to.deep.equal([cluster.target]);
      expect(guard.only.stats().calls).to.deep.equal(counts({ success: 6 }));
      guard.only.forceOpen();
      expect(await rejection(client.get('a'))).to.be.instanceOf(CircuitOpenError);
      await client.close();
    });

    it('is one also where it was there before us', async () => {
      const client = await connected();
      instrumentation.enable();
      for (const key of ['a', 'b', 'c', 'd', 'e']) await client.get(key);
      expect(guard.breakers.listNames()).to.deep.equal([cluster.target]);
      await client.close();
    });
  });
}
