import { expect } from 'chai';
import type { Cluster } from 'ioredis';
import { IoredisBreakerInstrumentation } from '../../instrumentations/ioredis/ioredis-instrumentation.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { CircuitOpenError } from '../../src/guard/guard.js';
import { TestGuard } from '../support/guarded.js';
import { Clients, heard, MAJORS, rejection } from '../support/ioredis.js';
import { RedisCluster, RedisServer } from '../support/redis-server.js';

const OPTIONS: BreakerOptions = {
  failureThreshold: 3,
  minimumCalls: 1_000_000,
  successThreshold: 2,
  openDuration: 100,
  openBackoff: 1,
  openJitter: 0,
};

for (const { major, name } of MAJORS) {
  describe(`ioredis ${major} and a cluster`, () => {
    let servers: RedisCluster;
    let guard: TestGuard;
    let clients: Clients;
    let instrumentation: IoredisBreakerInstrumentation;
    let cluster: Cluster;

    before(async () => {
      servers = await RedisCluster.start();
    });

    after(() => servers.remove());

    beforeEach(async () => {
      guard = new TestGuard(OPTIONS);
      instrumentation = new IoredisBreakerInstrumentation({}, guard);
      clients = new Clients(name);
      cluster = clients.cluster(servers.startupNodes, { clusterRetryStrategy: () => 20, slotsRefreshTimeout: 1000 });
      await heard(cluster, 'ready');
    });

    afterEach(() => {
      clients.release();
      instrumentation.disable();
    });

    const breaker = () => guard.breaker(servers.target);
    const calls = () => breaker().stats().calls;

    it('has one breaker, and counts each command once, whichever node answers', async () => {
      expect(guard.breakers.size).to.equal(0);
      for (const key of ['a', 'b', 'c', 'd', 'e']) await cluster.set(key, key);
      expect(await cluster.get('c')).to.equal('c');
      expect(guard.breakers.listNames()).to.deep.equal([servers.target]);
      expect(calls()).to.deep.equal({ success: 6, failure: 0, ignored: 0, rejected: 0, inFlight: 0, oldestMs: null });
    });

    it('has the same breaker for calls through a node that the cluster hands out', async () => {
      await Promise.all(cluster.nodes('master').map((node) => node.dbsize()));
      expect(guard.breakers.listNames()).to.deep.equal([servers.target]);
      expect(calls().success).to.equal(3);
    });

    it('counts a redirected command once', async () => {
      const key = await withMovedSlot();
      expect(await cluster.get(key)).to.equal(null);
      expect(calls()).to.deep.equal({ success: 1, failure: 0, ignored: 0, rejected: 0, inFlight: 0, oldestMs: null });
    });

    it('counts a redirected pipeline once', async () => {
      const key = await withMovedSlot();
      expect(await cluster.pipeline().get(key).strlen(key).exec()).to.deep.equal([
        [null, null],
        [null, 0],
      ]);
      expect(calls()).to.deep.equal({ success: 1, failure: 0, ignored: 0, rejected: 0, inFlight: 0, oldestMs: null });
    });

    /** Has the client look for a key at a node that does not have it. */
    async function withMovedSlot(): Promise<string> {
      const key = 'moved';
      const slot = Number((await servers.nodes[0]!.command('CLUSTER', 'KEYSLOT', key)).slice(1));
      const { slots } = cluster as unknown as { slots: string[][] };
      const right = slots[slot]![0]!;
      const wrong = slots.map((nodes) => nodes[0]!).find((node) => node !== right)!;
      slots[slot] = [wrong];
      const { _groupsBySlot, _groupsIds } = cluster as unknown as {
        _groupsBySlot: number[];
        _groupsIds: Record<string, number>;
      };
      _groupsBySlot[slot] = _groupsIds[wrong]!;
      return key;
    }

    it('counts a MULTI and what is pipelined automatically as one call each', async () => {
      expect(await cluster.multi().set('{tag}a', 1).incr('{tag}a').exec()).to.deep.equal([
        [null, 'OK'],
        [null, 2],
      ]);
      expect(calls().success).to.equal(1);
      const automatic = clients.cluster(servers.startupNodes, { enableAutoPipelining: true });
      await heard(automatic, 'ready');
      expect(await Promise.all([automatic.get('{tag}a'), automatic.get('{tag}b')])).to.deep.equal(['2', null]);
      expect(calls().success).to.equal(2);
    });

    it('refuses commands, pipelines and calls through nodes while the circuit is open', async () => {
      await cluster.get('key');
      breaker().forceOpen();
      expect(await rejection(cluster.get('key'))).to.be.instanceOf(CircuitOpenError);
      const results = await cluster.pipeline().get('{t}a').get('{t}b').exec();
      expect(results!.map(([error]) => error)).to.satisfy((errors: unknown[]) =>
        errors.every((error) => error instanceof CircuitOpenError),
      );
      expect(results).to.have.length(2);
      expect(await rejection(cluster.multi().get('key').exec())).to.be.instanceOf(CircuitOpenError);
      // A node that was not needed so far has no connection yet, and would wait for one.
      const node = cluster.nodes().find(({ status }) => status === 'ready')!;
      expect(await rejection(node.dbsize())).to.be.instanceOf(CircuitOpenError);
      expect(calls().rejected).to.equal(4);
    });

    it('rejects nothing between a WATCH and its transaction, or the loss of a connection', async () => {
      await cluster.watch('{w}watched');
      breaker().forceOpen();
      await cluster.get('{w}watched');
      expect(await cluster.multi().incr('{w}watched').exec()).to.have.length(1);
      expect(await rejection(cluster.get('{w}watched'))).to.be.instanceOf(CircuitOpenError);
      breaker().reset();
      // Were it still watched, this transaction would fail.
      const other = clients.cluster(servers.startupNodes);
      await other.incr('{w}watched');
      expect(await cluster.multi().set('{w}another', 1).exec()).to.deep.equal([[null, 'OK']]);

      await cluster.watch('{w}watched');
      const lost = Promise.race(cluster.nodes('master').map((node) => heard(node, 'close')));
      for (const node of servers.nodes) await node.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      await lost;
      breaker().forceOpen();
      expect(await rejection(cluster.get('{w}watched'))).to.be.instanceOf(CircuitOpenError);
    });

    it('delivers messages', async () => {
      await cluster.subscribe('news');
      const received = new Promise((resolve) => {
        cluster.once('message', (...message: string[]) => resolve(message));
      });
      await cluster.publish('news', 'hello');
      expect(await received).to.deep.equal(['news', 'hello']);
      expect(calls().success).to.equal(1);
    });

    it('opens when all nodes are gone, and closes when they are back', async () => {
      await cluster.set('key', 'value');
      const opened = new Promise<void>((resolve) => {
        breaker().onTransition(({ to }) => to === 'open' && resolve());
      });
      await servers.kill();
      // A cluster connects to a node when it has a command for it; these will wait until one of all nodes answers.
      const waiting = Promise.allSettled(['a', 'b', 'c', 'd', 'e'].map((key) => cluster.get(key)));
      await opened;
      const late = cluster.get('key');
      await servers.restart();
      // A cluster of ioredis waits for as long as it takes.
      expect((await waiting).map(({ status }) => status)).to.deep.equal(Array(5).fill('fulfilled'));
      await late;
      expect(breaker().state).to.equal('closed');
      expect(calls().rejected).to.equal(0);
      expect(guard.breakers.listNames()).to.deep.equal([servers.target]);
      expect(calls().inFlight).to.equal(0);
    });

    it('leaves the client as it was, and finds the nodes of clusters that were there before', async () => {
      instrumentation.disable();
      const early = clients.cluster(servers.startupNodes);
      await heard(early, 'ready');
      instrumentation.enable();
      await early.get('key');
      await early.nodes()[0]!.dbsize();
      expect(guard.breakers.listNames()).to.deep.equal([servers.target]);
      expect(calls().success).to.equal(2);
    });
  });

  describe(`ioredis ${major} and sentinels`, () => {
    let master: RedisServer;
    let replica: RedisServer;
    let sentinel: RedisServer;
    let clients: Clients;
    let guard: TestGuard;
    let instrumentation: IoredisBreakerInstrumentation;

    beforeEach(async () => {
      master = await RedisServer.start();
      replica = await RedisServer.startReplica(master);
      sentinel = await RedisServer.startSentinel(master);
      guard = new TestGuard(OPTIONS);
      instrumentation = new IoredisBreakerInstrumentation({}, guard);
      clients = new Clients(name);
    });

    afterEach(async () => {
      clients.release();
      instrumentation.disable();
      await Promise.all([sentinel, replica, master].map((server) => server.remove()));
    });

    const breaker = () => guard.breaker(`redis+sentinel://127.0.0.1:${sentinel.port}/mymaster`);
    const opened = () =>
      new Promise<void>((resolve) => {
        breaker().onTransition(({ to }) => to === 'open' && resolve());
      });

    function connect(options: object = {}) {
      return clients.sentinel({
        sentinels: [{ host: '127.0.0.1', port: sentinel.port }],
        name: 'mymaster',
        retryStrategy: () => 20,
        sentinelRetryStrategy: () => 20,
        ...options,
      });
    }

    it('has one breaker for a group, through a failover', async () => {
      // Not with its `failoverDetector`: where that acts while the client connects, the client ends for good.
      const redis = connect({ maxRetriesPerRequest: null });
      await redis.set('key', 'value');
      expect(guard.breakers.listNames()).to.deep.equal([breaker().name]);
      const broke = opened();
      await master.kill();
      await broke;
      // The sentinel makes a master of the replica by itself, the client finds it by itself, and who waits is answered.
      expect(await redis.ping()).to.equal('PONG');
      expect(breaker().state).to.equal('closed');
      expect(await redis.set('key', 'elsewhere')).to.equal('OK');
      expect(guard.breakers.listNames()).to.deep.equal([breaker().name]);
      expect(breaker().stats().calls.inFlight).to.equal(0);
    });

    it('takes it for failures that no sentinel answers', async () => {
      instrumentation.disable();
      guard = new TestGuard({ ...OPTIONS, whenOpen: 'throw' });
      instrumentation = new IoredisBreakerInstrumentation({}, guard);
      const redis = connect();
      await redis.ping();
      const broke = opened();
      await sentinel.kill();
      await master.kill();
      await broke;
      expect(guard.breakers.listNames()).to.deep.equal([breaker().name]);
      const error = await rejection(redis.ping());
      expect((error.cause as Error).message).to.contain('All sentinels are unreachable');
    });

    it('has a breaker of its own for the replicas of a group', async () => {
      // Its sentinel may find the replica fit for use a little later.
      instrumentation.disable();
      guard = new TestGuard({ ...OPTIONS, failureThreshold: 1_000 });
      instrumentation = new IoredisBreakerInstrumentation({}, guard);
      const redis = connect({ role: 'slave' });
      await redis.get('key');
      expect(guard.breakers.listNames()).to.deep.equal([`redis+sentinel://127.0.0.1:${sentinel.port}/mymaster/slave`]);
    });
  });
}
