import { expect } from 'chai';
import type { Redis } from 'ioredis';
import { once } from 'node:events';
import { inspect } from 'node:util';
import { IoredisBreakerInstrumentation } from '../../instrumentations/ioredis/ioredis-instrumentation.js';
import type { CircuitBreaker } from '../../src/breaker/circuit-breaker.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { CircuitOpenError } from '../../src/guard/guard.js';
import { TestGuard } from '../support/guarded.js';
import { Clients, heard, MAJORS, rejection } from '../support/ioredis.js';
import { RedisServer } from '../support/redis-server.js';

const TRIPS_AT_ONCE: BreakerOptions = { failureThreshold: 1, successThreshold: 2, openDuration: 1, openJitter: 0 };

for (const { major, name } of MAJORS) {
  describe(`ioredis ${major}`, () => {
    let server: RedisServer;
    let guard: TestGuard;
    let clients: Clients;
    let instrumentation: IoredisBreakerInstrumentation;
    let redis: Redis;

    before(async () => {
      server = await RedisServer.start();
    });

    after(() => server.remove());

    beforeEach(() => guardWith({}));

    afterEach(() => {
      clients.release();
      instrumentation.disable();
    });

    function guardWith(options: BreakerOptions): void {
      instrumentation?.disable();
      clients?.release();
      guard = new TestGuard(options);
      instrumentation = new IoredisBreakerInstrumentation({}, guard);
      clients = new Clients(name);
      redis = clients.redis(server.port);
    }

    const breaker = (): CircuitBreaker => guard.breaker(server.target);

    async function openByHand(): Promise<void> {
      await redis.ping();
      breaker().forceOpen();
    }

    describe('while the circuit is closed', () => {
      it('counts each command once, by promise and by callback', async () => {
        expect(await redis.set('key', 'value')).to.equal('OK');
        const result = await new Promise((resolve, reject) => {
          void redis.get('key', (error, value) => (error ? reject(error) : resolve(value)));
        });
        expect(result).to.equal('value');
        expect(breaker().stats().calls).to.deep.equal({
          success: 2,
          failure: 0,
          ignored: 0,
          rejected: 0,
          inFlight: 0,
          oldestMs: null,
        });
      });

      it('counts a command in flight until it is answered', async () => {
        await redis.ping();
        const answer = redis.get('key');
        expect(breaker().stats().calls.inFlight).to.equal(1);
        await answer;
        expect(breaker().stats().calls.inFlight).to.equal(0);
      });

      it("counts none of the client's own commands", async () => {
        const own = clients.redis(server.port, { db: 1, connectionName: 'mine', readOnly: true });
        await heard(own, 'ready');
        await own.select(0);
        await own.client('GETNAME');
        await own.quit();
        expect(guard.breakers.size).to.equal(0);
      });

      it('counts a command that waits in the offline queue once', async () => {
        const lazy = clients.redis(server.port, { lazyConnect: true });
        await Promise.all([lazy.ping(), lazy.ping()]);
        expect(breaker().stats().calls.success).to.equal(2);
      });

      it('leaves key prefix, transformers and buffers as they are', async () => {
        const prefixed = clients.redis(server.port, { keyPrefix: 'p:' });
        await prefixed.hset('hash', { a: 1, b: 2 });
        expect(await redis.hgetall('p:hash')).to.deep.equal({ a: '1', b: '2' });
        expect(await prefixed.hgetBuffer('hash', 'a')).to.deep.equal(Buffer.from('1'));
        expect(await redis.call('HGET', 'p:hash', 'b')).to.equal('2');
      });

      it('has one breaker for duplicates and all other clients of a server', async () => {
        await Promise.all([redis.ping(), clients.track(redis.duplicate()).ping(), clients.redis(server.port).ping()]);
        expect(guard.breakers.listNames()).to.deep.equal([server.target]);
        expect(breaker().stats().calls.success).to.equal(3);
      });

      it('has the ends of a command look as ever, and gives them back once it is settled', async () => {
        const command = new clients.Redis.Command('ping', [], {});
        const ends = () => Object.entries(command).filter(([key]) => key === 'resolve' || key === 'reject');
        const before = ends();
        const printed = inspect(command, { showHidden: true });
        const answer = redis.sendCommand(command);
        expect(ends()).not.to.deep.equal(before);
        expect(inspect(command, { showHidden: true })).to.contain(
          printed.slice(printed.indexOf('resolve:'), printed.indexOf('promise:')),
        );
        await answer;
        expect(before).to.have.length(2);
        expect(ends()).to.deep.equal(before);
      });

      it('counts a pipeline as one call', async () => {
        const results = await redis.pipeline().set('a', 1).get('a').exec();
        expect(results).to.deep.equal([
          [null, 'OK'],
          [null, '1'],
        ]);
        expect(breaker().stats().calls.success).to.equal(1);
      });

      it('counts a MULTI that is sent as a pipeline as one call', async () => {
        expect(await redis.multi().set('a', 1).incr('a').exec()).to.deep.equal([
          [null, 'OK'],
          [null, 2],
        ]);
        expect(breaker().stats().calls.success).to.equal(1);
      });

      it('counts what one tick pipelines automatically as one call', async () => {
        const automatic = clients.redis(server.port, { enableAutoPipelining: true });
        await heard(automatic, 'ready');
        expect(await Promise.all([automatic.set('a', 1), automatic.get('a')])).to.deep.equal(['OK', '1']);
        expect(breaker().stats().calls.success).to.equal(1);
      });

      it('falls back from EVALSHA to EVAL when the server has forgotten the script', async () => {
        redis.defineCommand('echoKey', { numberOfKeys: 1, lua: 'return KEYS[1]' });
        const scripted = redis as Redis & { echoKey(key: string): Promise<string> };
        expect(await scripted.echoKey('one')).to.equal('one');
        await redis.script('FLUSH');
        expect(await scripted.echoKey('two')).to.equal('two');
        expect(await redis.pipeline([['echoKey', 'three']]).exec()).to.deep.equal([[null, 'three']]);
        expect(breaker().stats().calls).to.include({ failure: 0, ignored: 0, inFlight: 0 });
      });

      it('delivers messages, and counts the publisher only', async () => {
        const subscriber = clients.redis(server.port, { protocol: 2 });
        await subscriber.subscribe('news');
        const message = once(subscriber, 'message');
        await redis.publish('news', 'hello');
        expect(await message).to.deep.equal(['news', 'hello']);
        expect((await rejection(subscriber.get('key'))).message).to.contain('subscriber mode');
        await subscriber.unsubscribe('news');
        expect(breaker().stats().calls).to.deep.equal({
          success: 1,
          failure: 0,
          ignored: 0,
          rejected: 0,
          inFlight: 0,
          oldestMs: null,
        });
      });

      it('leaves a monitor alone', async () => {
        const monitor = clients.track(await redis.monitor());
        const seen = once(monitor, 'monitor') as Promise<[string, string[]]>;
        await redis.get('watched');
        expect((await seen)[1]).to.deep.equal(['get', 'watched']);
        expect(breaker().stats().calls.success).to.equal(1);
      });
    });

    describe('judges replies', () => {
      const calls = () => breaker().stats().calls;

      it('takes an error reply for an answer', async () => {
        await redis.set('text', 'x');
        expect((await rejection(redis.lpush('text', 'y'))).message).to.contain('WRONGTYPE');
        expect((await rejection(redis.evalsha('0'.repeat(40), 0))).message).to.contain('NOSCRIPT');
        expect(calls()).to.include({ success: 3, failure: 0 });
      });

      it('takes a full memory for neither success nor failure', async () => {
        await redis.config('SET', 'maxmemory', '1');
        try {
          expect((await rejection(redis.set('big', 'x'))).message).to.contain('OOM');
          expect(calls()).to.include({ ignored: 1, failure: 0 });
        } finally {
          await redis.config('SET', 'maxmemory', '0');
        }
      });

      it('takes a busy script for a failure', async () => {
        await redis.config('SET', 'busy-reply-threshold', '1');
        const other = clients.redis(server.port);
        await heard(other, 'ready');
        const endless = redis.eval('while true do end', 0).catch((error: Error) => error);
        try {
          expect((await rejection(other.get('key'))).message).to.match(/^BUSY/);
          expect(calls().failure).to.equal(1);
        } finally {
          // Whatever was found, the tests to come need the server.
          await server.command('SCRIPT', 'KILL');
        }
        expect(((await endless) as Error).message).to.contain('killed');
      });

      it('takes one failed command of a pipeline for a failed call', async () => {
        const impatient = clients.redis(server.port, { commandTimeout: 200 });
        await heard(impatient, 'ready');
        const results = await impatient.pipeline().get('key').call('DEBUG', 'SLEEP', '0.6').exec();
        expect(results!.at(-1)![0]!.message).to.equal('Command timed out');
        expect(calls()).to.include({ success: 0, failure: 1 });
        await redis.ping();
      });

      it('takes a command timeout for a failure', async () => {
        const impatient = clients.redis(server.port, { commandTimeout: 200 });
        await heard(impatient, 'ready');
        expect((await rejection(impatient.call('DEBUG', 'SLEEP', '0.6'))).message).to.equal('Command timed out');
        expect(calls()).to.include({ failure: 1, inFlight: 0 });
        await redis.ping();
      });

      it('ignores timeouts where they do not count', async () => {
        guardWith({ countTimeouts: false });
        const impatient = clients.redis(server.port, { commandTimeout: 200 });
        await heard(impatient, 'ready');
        await rejection(impatient.call('DEBUG', 'SLEEP', '0.6'));
        expect(calls()).to.include({ failure: 0, ignored: 1 });
        await redis.ping();
      });

      it("ignores what the client's own disconnect leaves unanswered", async () => {
        await redis.ping();
        const hasty = clients.redis(server.port, { disconnectTimeout: 1 });
        await heard(hasty, 'ready');
        const answer = rejection(hasty.call('DEBUG', 'SLEEP', '0.1'));
        hasty.disconnect();
        expect((await answer).message).to.equal('Connection is closed.');
        expect(calls()).to.include({ failure: 0, ignored: 1 });
        await redis.ping();
      });

      it('ignores a command that came before the first connection, where none may wait', async () => {
        const eager = clients.redis(server.port, { enableOfflineQueue: false });
        expect((await rejection(eager.get('key'))).message).to.contain("isn't writeable");
        expect(calls()).to.include({ failure: 0, ignored: 1 });
      });
    });

    describe('blocking commands', () => {
      it('are never slow', async () => {
        guardWith({ slowCallDuration: 1, minimumCalls: 1, slowCallRateThreshold: 0.5 });
        expect(await redis.blpop('nothing', 0.05)).to.equal(null);
        expect(await redis.xread('BLOCK', 50, 'STREAMS', 'stream', '$')).to.equal(null);
        expect(breaker().state).to.equal('closed');
        expect(breaker().stats()).to.include({ slowCallRate: 0 });
      });

      it('are ignored when a timeout of the client cuts them short', async () => {
        const impatient = clients.redis(server.port, { commandTimeout: 200 });
        await heard(impatient, 'ready');
        expect((await rejection(impatient.blpop('nothing', 0.6))).message).to.equal('Command timed out');
        expect(breaker().stats().calls).to.include({ failure: 0, ignored: 1 });
      });

      it('are ignored when the safety net of the client answers for the server', async () => {
        const netted = clients.redis(server.port, { blockingTimeout: 30, blockingTimeoutGrace: 1 });
        await heard(netted, 'ready');
        expect(await netted.blpop('nothing', 0)).to.equal(null);
        expect(breaker().stats().calls).to.include({ success: 0, ignored: 1 });
      });

      it('close the circuit of a service that has no other commands', async () => {
        guardWith(TRIPS_AT_ONCE);
        await redis.ping();
        const closed = new Promise<void>((resolve) => {
          breaker().onTransition(({ to }) => to === 'closed' && resolve());
        });
        breaker().acquire().failure(new Error('down'));
        // A consumer's loop: it takes its errors and goes on.
        let stop = false;
        void closed.then(() => (stop = true));
        let refused = 0;
        while (!stop) {
          try {
            await redis.blpop('nothing', 0.01);
          } catch (error) {
            expect(error).to.be.instanceOf(CircuitOpenError);
            refused++;
            await new Promise((resolve) => setImmediate(resolve));
          }
        }
        expect(breaker().state).to.equal('closed');
        expect(breaker().stats().calls.rejected).to.equal(refused);
      });
    });

    describe('while the circuit is open', () => {
      it('rejects on a later tick, naming the command, as a promise and to a callback', async () => {
        await openByHand();
        let settled = false;
        const promise = redis.get('key');
        promise.catch(() => (settled = true));
        await Promise.resolve();
        expect(settled).to.equal(false);

        const error = await rejection(promise);
        expect(error).to.be.instanceOf(CircuitOpenError);
        expect(error.command).to.deep.equal({ name: 'get', args: ['key'] });
        const byCallback = await new Promise((resolve) => {
          void redis.get('key', (error) => resolve(error));
        });
        expect(byCallback).to.be.instanceOf(CircuitOpenError);
        expect(breaker().stats().calls).to.include({ success: 1, failure: 0, ignored: 0, rejected: 2 });
      });

      it('lets a command wait for a connection as its client would', async () => {
        await openByHand();
        const lazy = clients.redis(server.port, { lazyConnect: true });
        expect(await lazy.get('nothing')).to.equal(null);
        expect(breaker().state).to.equal('open');
        expect(breaker().stats().calls).to.include({ success: 2, rejected: 0 });
      });

      it('rejects instead of queueing where a rule says so', async () => {
        guardWith({ whenOpen: 'throw' });
        await openByHand();
        const lazy = clients.redis(server.port, { lazyConnect: true });
        expect(await rejection(lazy.get('key'))).to.be.instanceOf(CircuitOpenError);
        expect(lazy.status).to.equal('wait');
      });

      it('refuses a pipeline as one, with an error for each command', async () => {
        await openByHand();
        const results = await redis.pipeline().set('refused', 1).get('refused').exec();
        expect(results).to.have.length(2);
        for (const [error, value] of results!) {
          expect(error).to.be.instanceOf(CircuitOpenError);
          expect(value).to.equal(undefined);
        }
        const named = results!.map(([error]) => (error as unknown as { command: { name: string } }).command.name);
        expect(named).to.deep.equal(['set', 'get']);
        expect(results![1]![0]).to.have.property('message', results![0]![0]!.message);
        expect(breaker().stats().calls.rejected).to.equal(1);
        breaker().reset();
        expect(await redis.get('refused')).to.equal(null);
      });

      it('refuses a MULTI that is sent as a pipeline', async () => {
        await openByHand();
        expect(await rejection(redis.multi().set('refused', 1).exec())).to.be.instanceOf(CircuitOpenError);
        expect(breaker().stats().calls.rejected).to.equal(1);
      });

      it('refuses what is pipelined automatically', async () => {
        await openByHand();
        const automatic = clients.redis(server.port, { enableAutoPipelining: true });
        await heard(automatic, 'ready');
        const errors = await Promise.all([rejection(automatic.get('a')), rejection(automatic.get('b'))]);
        for (const error of errors) expect(error).to.be.instanceOf(CircuitOpenError);
        expect(breaker().stats().calls.rejected).to.equal(1);
      });

      it('answers what the server is, and counts it', async () => {
        await openByHand();
        expect(await redis.info()).to.include('redis_version');
        expect(breaker().stats().calls).to.include({ success: 2, rejected: 0, inFlight: 0 });
      });

      it('lets a MULTI that has begun come to its end', async () => {
        await redis.del('begun');
        await redis.multi({ pipeline: false });
        breaker().forceOpen();
        expect(await redis.set('begun', 1)).to.equal('QUEUED');
        expect(await redis.exec()).to.deep.equal([[null, 'OK']]);
        expect(await rejection(redis.get('begun'))).to.be.instanceOf(CircuitOpenError);

        breaker().reset();
        await redis.multi({ pipeline: false });
        breaker().forceOpen();
        expect(await redis.set('begun', 2)).to.equal('QUEUED');
        expect(await redis.discard()).to.equal('OK');
        breaker().reset();
        expect(await redis.get('begun')).to.equal('1');
      });

      for (const [how, endsWatching] of [
        ['a transaction', () => redis.multi().incr('watched').exec()],
        [
          'a transaction of single commands',
          async () => {
            await redis.multi({ pipeline: false });
            await redis.incr('watched');
            await redis.exec();
          },
        ],
        ['UNWATCH', () => redis.unwatch()],
        ['UNWATCH in a pipeline', () => redis.pipeline().get('watched').unwatch().exec()],
      ] as const) {
        it(`lets all that follows a WATCH come to its end by ${how}`, async () => {
          await redis.watch('watched');
          await openByHand();
          await redis.get('watched');
          await endsWatching();
          expect(await rejection(redis.get('watched'))).to.be.instanceOf(CircuitOpenError);
          // Were it still watched, this transaction would fail.
          breaker().reset();
          const other = redis.duplicate();
          await other.incr('watched');
          other.disconnect();
          expect(await redis.multi().set('another', 1).exec()).to.deep.equal([[null, 'OK']]);
        });
      }

      it('rejects again after a WATCH that was rejected, refused by the server, or lost with its connection', async () => {
        await openByHand();
        expect(await rejection(redis.watch('watched'))).to.be.instanceOf(CircuitOpenError);
        expect(await rejection(redis.get('watched'))).to.be.instanceOf(CircuitOpenError);
        breaker().reset();
        expect(await rejection(redis.watch())).to.have.property('name', 'ReplyError');
        breaker().forceOpen();
        expect(await rejection(redis.get('watched'))).to.be.instanceOf(CircuitOpenError);
        breaker().reset();
        expect(await redis.pipeline().watch('watched').exec()).to.deep.equal([[null, 'OK']]);
        breaker().forceOpen();
        await redis.get('watched');
        const ready = once(redis, 'ready');
        redis.disconnect(true);
        await ready;
        expect(await rejection(redis.get('watched'))).to.be.instanceOf(CircuitOpenError);
      });

      it('refuses with a MULTI what was sent in its wake', async () => {
        guardWith({ ...TRIPS_AT_ONCE, openDuration: 60_000 });
        await redis.del('wake');
        breaker().acquire().failure(new Error('down'));
        const multi = rejection(redis.multi({ pipeline: false }));
        // Were the circuit to close just now, this would be executed outside any transaction.
        breaker().reset();
        const set = rejection(redis.set('wake', 1));
        const exec = rejection(redis.exec());
        for (const error of await Promise.all([multi, set, exec])) expect(error).to.be.instanceOf(CircuitOpenError);
        expect(await redis.get('wake')).to.equal(null);
        expect(breaker().stats().calls).to.include({ rejected: 1, ignored: 1, inFlight: 0 });
      });

      it("lets the client's own commands, subscriptions and QUIT through", async () => {
        await openByHand();
        const other = clients.redis(server.port, { db: 2, connectionName: 'other' });
        await heard(other, 'ready');
        expect(await other.select(1)).to.equal('OK');
        expect(await other.subscribe('news')).to.equal(1);
        expect(await redis.quit()).to.equal('OK');
        expect(breaker().stats().calls.rejected).to.equal(0);
      });

      it('leaves it to the client to refuse what its connection cannot do', async () => {
        await openByHand();
        await redis.quit();
        await heard(redis, 'end');
        expect((await rejection(redis.get('key'))).message).to.equal('Connection is closed.');
        expect(breaker().stats().calls.rejected).to.equal(0);
      });

      it('makes no rejection unhandled that a dead connection would not', async () => {
        await openByHand();
        // By promise: mocha's own listener emits the event once more.
        const unhandled = new Set<unknown>();
        const listen = (_reason: unknown, promise: unknown) => unhandled.add(promise);
        process.on('unhandledRejection', listen);
        try {
          await new Promise((resolve) => {
            void redis.get('key', resolve);
          });
          await redis.pipeline().get('a').get('b').exec();
          await rejection(redis.multi().get('a').exec());
          await new Promise((resolve) => setImmediate(resolve));
          expect(unhandled.size).to.equal(0);

          const seen = once(process, 'unhandledRejection');
          void redis.get('nobody listens');
          await seen;
          expect(unhandled.size).to.equal(1);
        } finally {
          process.off('unhandledRejection', listen);
        }
      });

      it('probes with ordinary commands and closes', async () => {
        guardWith(TRIPS_AT_ONCE);
        await redis.ping();
        breaker().acquire().failure(new Error('down'));
        expect(breaker().state).to.equal('open');
        while (breaker().state !== 'closed') {
          await redis.ping().catch((error: unknown) => expect(error).to.be.instanceOf(CircuitOpenError));
        }
        expect(breaker().stats().calls).to.include({ success: 3, inFlight: 0 });
      });
    });

    it('rejects nothing in mode observe', async () => {
      guardWith({ mode: 'observe' });
      await openByHand();
      expect(await redis.ping()).to.equal('PONG');
      expect(breaker().stats().calls.rejected).to.equal(0);
    });

    it('hears of the ends of commands that are under way when it is disabled, and of all when it is enabled again', async () => {
      const { prototype } = clients.Redis.Command as unknown as { prototype: { transformReply: unknown } };
      instrumentation.disable();
      const { transformReply } = prototype;
      instrumentation.enable();
      await redis.set('key', 'value');
      const ends = Promise.allSettled([redis.get('key'), redis.lpush('key', '1'), redis.pipeline().get('key').exec()]);
      instrumentation.disable();
      expect(prototype.transformReply).to.not.equal(transformReply);
      await ends;
      while (prototype.transformReply !== transformReply) await new Promise((resolve) => setTimeout(resolve, 5));
      await redis.get('key');
      expect(breaker().stats().calls).to.include({ success: 4, inFlight: 0 });
      instrumentation.enable();
      await redis.get('key');
      expect(breaker().stats().calls).to.include({ success: 5, inFlight: 0 });
    });

    it('leaves the client as it was when it is disabled', async () => {
      instrumentation.disable();
      const { Redis } = clients;
      const { prototype: pipeline } = redis.pipeline().constructor as { prototype: object };
      const owners = [Redis.prototype, Redis.Cluster.prototype, Redis.Command.prototype, pipeline];
      const before = owners.map((owner) => Object.getOwnPropertyDescriptors(owner));
      instrumentation.enable();
      const during = Object.getOwnPropertyDescriptors(Redis.prototype).sendCommand;
      expect(during).to.not.deep.equal(before[0]!.sendCommand);
      expect(during.value).to.have.length(2);
      instrumentation.disable();
      expect(owners.map((owner) => Object.getOwnPropertyDescriptors(owner))).to.deep.equal(before);
      expect(owners.map((owner) => Reflect.ownKeys(owner))).to.deep.equal(before.map((own) => Reflect.ownKeys(own)));
      expect(await redis.ping()).to.equal('PONG');
      expect(guard.breakers.size).to.equal(0);
    });
  });
}
