import { expect } from 'chai';
import type { Redis } from 'ioredis';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { IoredisBreakerInstrumentation } from '../../instrumentations/ioredis/ioredis-instrumentation.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { CircuitOpenError } from '../../src/guard/guard.js';
import { TestGuard } from '../support/guarded.js';
import { Clients, heard, MAJORS, rejection } from '../support/ioredis.js';
import { RedisServer } from '../support/redis-server.js';
import { start } from '../support/servers.js';

const OPTIONS: BreakerOptions = {
  failureThreshold: 5,
  minimumCalls: 1_000_000,
  successThreshold: 2,
  openDuration: 100,
  openBackoff: 1,
  openJitter: 0,
};
const QUICK_RETRY = { retryStrategy: () => 10 };

for (const { major, name } of MAJORS) {
  describe(`ioredis ${major} and a server that fails`, () => {
    let server: RedisServer;
    let guard: TestGuard;
    let clients: Clients;
    let instrumentation: IoredisBreakerInstrumentation;

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
      instrumentation = new IoredisBreakerInstrumentation({}, guard);
      clients = new Clients(name);
    }

    const breaker = () => guard.breaker(server.target);

    /** Resolves when the circuit gets into that state. */
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

    async function ready(options: Parameters<Clients['redis']>[1] = {}): Promise<Redis> {
      const redis = clients.redis(server.port, { ...QUICK_RETRY, ...options });
      await redis.ping();
      return redis;
    }

    /** Calls until the circuit is closed again, as an application does. */
    async function callUntilClosed(redis: Redis): Promise<void> {
      while (breaker().state !== 'closed') await redis.ping().catch(ignore);
    }

    it('opens by answers that are not of Redis', async () => {
      let garbled = false;
      const between = await start(
        createServer((socket) => {
          const upstream = connect(server.port, server.host);
          socket.on('error', ignore).on('data', (request) => {
            if (garbled) socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
            else upstream.write(request);
          });
          upstream
            .on('error', ignore)
            .pipe(socket)
            .on('close', () => upstream.destroy());
        }),
        'redis',
      );
      const redis = clients.redis(between.port, { ...QUICK_RETRY, maxRetriesPerRequest: 0 });
      await redis.ping();
      garbled = true;
      while (guard.only.state === 'closed') await rejection(redis.get('key'));
      expect(guard.only.stats().calls.success).to.equal(1);
      clients.release();
      await between.stop();
    });

    it('opens by failing reconnections alone, and counts none of them as rejected', async () => {
      await ready();
      const opened = reached('open');
      await server.kill();
      await opened;
      const { success, failure, rejected, inFlight } = breaker().stats().calls;
      expect({ success, failure, rejected, inFlight }).to.deep.equal({
        success: 1,
        failure: 5,
        rejected: 0,
        inFlight: 0,
      });
    });

    it('says in the error of a rejected call why no connection could be made', async () => {
      guardWith({ ...OPTIONS, whenOpen: 'throw' });
      const redis = await ready();
      const opened = reached('open');
      await server.kill();
      await opened;
      const error = await rejection(redis.get('key'));
      expect(error).to.be.instanceOf(CircuitOpenError);
      expect((error.cause as Error).message).to.contain('ECONNREFUSED');
    });

    it('opens when nothing has ever listened there', async () => {
      await server.kill();
      const redis = clients.redis(server.port, { ...QUICK_RETRY, maxRetriesPerRequest: null });
      const pending = redis.get('key');
      await reached('open');
      await server.start();
      expect(await pending).to.equal(null);
      expect(breaker().state).to.equal('closed');
    });

    it('takes a failed attempt to connect for one failure, however many commands wait, which have no outcome yet', async () => {
      guardWith({ ...OPTIONS, failureThreshold: 1_000 });
      const redis = await ready({ maxRetriesPerRequest: null });
      server.pause();
      const waiting = [redis.get('a'), redis.pipeline().get('b').get('c').exec(), redis.get('d')] as const;
      const failed = heard(redis, 'reconnecting').then(() => heard(redis, 'close'));
      const killed = server.kill();
      await failed;
      expect(breaker().stats().calls).to.include({ success: 1, failure: 1, inFlight: 3 });
      await killed;
      await server.start();
      expect(await Promise.all(waiting)).to.deep.equal([
        null,
        [
          [null, null],
          [null, null],
        ],
        null,
      ]);
      expect(breaker().stats().calls).to.include({ success: 4, inFlight: 0 });
    });

    it('lets commands wait for as long as the client does, whatever the circuit says', async () => {
      const redis = await ready({ maxRetriesPerRequest: null });
      server.pause();
      const early = [redis.get('a'), redis.pipeline().get('b').exec(), redis.blpop('nothing', 0.05)];
      const opened = reached('open');
      await server.kill();
      await opened;
      const late = [redis.get('a'), redis.pipeline().get('b').exec(), redis.multi().get('c').exec()];
      await heard(redis, 'close');
      await server.start();
      const none = [[null, null]];
      expect(await Promise.all([...early, ...late])).to.deep.equal([null, none, null, null, none, none]);
      expect(breaker().state).to.equal('closed');
      expect(breaker().stats().calls).to.include({ success: 7, rejected: 0, inFlight: 0 });
    });

    it('rejects what waits and what comes, by the error of the client, once the client has given up', async () => {
      const redis = await ready({ maxRetriesPerRequest: 1 });
      const flushed = heard(redis, 'reconnecting').then(() => rejection(redis.get('first')));
      await server.kill();
      // Its own limit comes at its second attempt, ours at the fifth.
      expect(await flushed).to.have.property('name', 'MaxRetriesPerRequestError');
      expect(breaker().state).to.equal('closed');
      await reached('open');
      const before = breaker().stats().calls.rejected;
      const error = await rejection(redis.get('key'));
      expect(error.name).to.equal('MaxRetriesPerRequestError');
      expect(error.message).to.contain('which is 1');
      expect(error.cause).to.be.instanceOf(CircuitOpenError);
      expect(breaker().stats().calls.rejected).to.equal(before + 1);
      const results = await redis.pipeline().get('key').exec();
      expect(results![0]![0]!.cause).to.be.instanceOf(CircuitOpenError);

      // By promise: mocha's own listener emits the event once more.
      const unhandled = new Set<unknown>();
      const listen = (_reason: unknown, promise: unknown) => unhandled.add(promise);
      process.on('unhandledRejection', listen);
      const nobodys = redis.get('nobody listens');
      await rejection(redis.get('key'));
      await new Promise((resolve) => setImmediate(resolve));
      process.off('unhandledRejection', listen);
      expect(unhandled).to.not.include(nobodys);
      expect(breaker().state).to.equal('open');

      await server.start();
      await reached('closed');
      expect(await redis.get('key')).to.equal(null);
    });

    it('makes no probe of a command that would wait for a connection', async () => {
      guardWith({ ...OPTIONS, openDuration: 1 });
      const redis = clients.redis(server.port, { ...QUICK_RETRY, enableOfflineQueue: false });
      await heard(redis, 'ready');
      await redis.ping();
      const opened = reached('open');
      await server.kill();
      await opened;
      for (let call = 0; call < 5; call++) {
        expect(await rejection(redis.get('key'))).to.be.instanceOf(CircuitOpenError);
        expect(breaker().state).to.equal('open');
      }
      await server.start();
      await reached('closed');
      expect(await redis.get('key')).to.equal(null);
    });

    it('lets nobody wait in a queue once the circuit is open where a rule says so, save what belongs to the connection', async () => {
      guardWith({ ...OPTIONS, whenOpen: 'throw' });
      const redis = await ready({ maxRetriesPerRequest: null });
      server.pause();
      const waiting = [redis.get('a'), redis.pipeline().get('b').get('c').exec(), redis.blpop('d', 0)] as const;
      const own = redis.subscribe('news');
      const killed = server.kill();
      const [get, pipeline, blpop] = await Promise.all([rejection(waiting[0]), waiting[1], rejection(waiting[2])]);
      expect(breaker().state).to.equal('open');
      for (const error of [get, blpop, pipeline![0]![0], pipeline![1]![0]]) {
        expect(error).to.be.instanceOf(CircuitOpenError);
        expect((error!.cause as Error).message).to.contain('ECONNREFUSED');
      }
      await killed;
      await server.start();
      expect(await own).to.equal(1);
      expect(breaker().stats().calls).to.include({ success: 1, rejected: 3, inFlight: 0 });
    });

    it('lets them wait in mode observe', async () => {
      guardWith({ ...OPTIONS, mode: 'observe' });
      const redis = await ready({ maxRetriesPerRequest: null });
      const open = reached('open');
      await server.kill();
      const waiting = redis.get('key');
      await open;
      await server.start();
      expect(await waiting).to.equal(null);
    });

    it('does not take a short break of a connection for a failure', async () => {
      const redis = await ready();
      const answer = redis.blpop('nothing', 0.05);
      const again = heard(redis, 'ready');
      await server.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      await again;
      expect(await answer).to.equal(null);
      expect(breaker().stats().calls).to.include({ success: 2, failure: 0, inFlight: 0 });
    });

    it('counts no question of ioredis whether the server is ready, however late it asks', async () => {
      const redis = await ready();
      await new Promise((answered) => {
        (redis as unknown as { _readyCheck(callback: (error: unknown) => void): void })._readyCheck(answered);
      });
      expect(breaker().stats().calls).to.include({ success: 1, inFlight: 0 });
      await redis.info();
      expect(breaker().stats().calls).to.include({ success: 2, inFlight: 0 });
    });

    it('counts a command that runs out of retries, whose failed attempt has spoken already', async () => {
      guardWith({ ...OPTIONS, failureThreshold: 1_000 });
      const redis = await ready({ maxRetriesPerRequest: 1 });
      server.pause();
      const pending = rejection(redis.get('key'));
      const killed = server.kill();
      const error = await pending;
      expect(error.name).to.equal('MaxRetriesPerRequestError');
      expect(breaker().stats().calls).to.include({ failure: 2, inFlight: 0 });
      expect(breaker().stats().consecutiveFailures).to.equal(1);
      await killed;
    });

    it('counts commands that may not wait while the connection is down', async () => {
      guardWith({ ...OPTIONS, failureThreshold: 1_000 });
      const redis = clients.redis(server.port, { ...QUICK_RETRY, enableOfflineQueue: false });
      await heard(redis, 'ready');
      await redis.ping();
      const lost = heard(redis, 'reconnecting');
      await server.kill();
      await lost;
      const before = breaker().stats().calls.failure;
      expect((await rejection(redis.get('key'))).message).to.contain("isn't writeable");
      expect(breaker().stats().calls.failure).to.be.greaterThan(before);
    });

    it('closes by a connection that is made, long before the circuit is due, subscriptions included', async () => {
      guardWith({ ...OPTIONS, openDuration: '1m' });
      await ready();
      const subscriber = clients.redis(server.port, QUICK_RETRY);
      await subscriber.subscribe('news');
      const opened = reached('open');
      await server.kill();
      await opened;
      const resubscribed = heard(subscriber, 'ready');
      await server.start();
      await resubscribed;
      expect(breaker().state).to.equal('closed');
      const message = once(subscriber, 'message');
      // Published by hand, again and again: it is only known that the client is about to subscribe.
      let received = 0;
      while (received === 0) received = Number((await server.command('PUBLISH', 'news', 'hello')).slice(1));
      expect(await message).to.deep.equal(['news', 'hello']);
    });

    it('opens on a server that hangs, by the timeouts of its commands', async () => {
      const redis = await ready({ commandTimeout: 50 });
      server.pause();
      const errors = await Promise.all(Array.from({ length: 5 }, () => rejection(redis.get('key'))));
      expect(new Set(errors.map(({ message }) => message))).to.deep.equal(new Set(['Command timed out']));
      expect(breaker().state).to.equal('open');
      expect(await rejection(redis.get('key'))).to.be.instanceOf(CircuitOpenError);
      server.resume();
      await callUntilClosed(redis);
      expect(breaker().stats().calls.inFlight).to.equal(0);
    });

    it('opens on a server that accepts connections and never answers', async () => {
      await ready();
      server.pause();
      const other = clients.redis(server.port, { ...QUICK_RETRY, commandTimeout: 30, disconnectTimeout: 1 });
      const pending = other.get('key').catch(ignore);
      await reached('open');
      server.resume();
      await pending;
    });

    it('opens on a socket that has gone silent', async () => {
      const redis = await ready({ socketTimeout: 50, commandTimeout: 500 });
      server.pause();
      const answers = Promise.allSettled(Array.from({ length: 5 }, () => redis.get('key')));
      await reached('open');
      server.resume();
      await answers;
    });

    it('says nothing of the server when the password is wrong', async () => {
      await ready();
      await server.command('CONFIG', 'SET', 'requirepass', 'secret');
      const stranger = clients.redis(server.port, { ...QUICK_RETRY, password: 'wrong' });
      await heard(stranger, 'reconnecting');
      await heard(stranger, 'reconnecting');
      expect(breaker().stats().calls).to.include({ success: 1, failure: 0 });
    });

    it('ignores connections that the application itself gives up', async () => {
      await ready();
      await server.kill();
      const failures = breaker().stats().calls.failure;
      const lazy = clients.redis(server.port, { lazyConnect: true, retryStrategy: () => 60_000 });
      const pending = rejection(lazy.get('key'));
      lazy.disconnect();
      expect((await pending).message).to.equal('Connection is closed.');
      expect(breaker().stats().calls).to.include({ ignored: 1, inFlight: 0 });
      expect(failures).to.be.at.most(breaker().stats().calls.failure);
    });

    for (const [what, make] of [
      ['client', (port: number) => clients.redis(port, { retryStrategy: () => 60_000 })],
      ['cluster', (port: number) => clients.cluster([port], { clusterRetryStrategy: () => 60_000 })],
    ] as const) {
      it(`leaves nothing under way that waits in a ${what} which was disconnected as it waited to try again`, async () => {
        await server.stop();
        const redis = make(server.port);
        const reconnecting = heard(redis, 'reconnecting');
        void redis.get('a').catch(() => {});
        void redis
          .pipeline([
            ['get', 'a'],
            ['get', 'b'],
          ])
          .exec();
        await reconnecting;
        const { calls } = guard.only.stats();
        expect(calls.inFlight).to.be.above(0);
        redis.disconnect();
        expect(guard.only.stats().calls).to.deep.include({ ignored: calls.inFlight, inFlight: 0, oldestMs: null });
      });
    }

    it('rejects at once under 200 callers when the server is killed, and closes when it is back', async () => {
      guardWith({ ...OPTIONS, failureThreshold: 8, successThreshold: 3, whenOpen: 'throw' });
      const unhandled: unknown[] = [];
      const listen = (reason: unknown) => unhandled.push(reason);
      process.on('unhandledRejection', listen);
      const redis = await ready({ maxRetriesPerRequest: null });
      const outcomes = { answered: 1, rejected: 0, failed: 0 };
      const pending = new Set<Promise<void>>();
      let callers = 0;
      let stop = false;

      async function call(): Promise<void> {
        callers++;
        while (!stop) {
          const call = redis.incr('counter');
          const ended = call.then(ignore, ignore).finally(() => pending.delete(ended));
          pending.add(ended);
          try {
            await call;
            outcomes.answered++;
          } catch (error) {
            if (error instanceof CircuitOpenError) outcomes.rejected++;
            else outcomes.failed++;
            await new Promise((resolve) => setImmediate(resolve));
          }
        }
        callers--;
      }

      const all = Promise.all(Array.from({ length: 200 }, call));
      const opened = reached('open');
      await server.kill();
      await opened;
      // Whoever was waiting when the circuit opened is told, long before the server is back.
      await Promise.all(pending);
      expect(await rejection(redis.get('key'))).to.be.instanceOf(CircuitOpenError);
      outcomes.rejected++;
      await server.start();
      await reached('closed');
      stop = true;
      await all;
      process.off('unhandledRejection', listen);

      expect(callers).to.equal(0);
      expect(unhandled).to.deep.equal([]);
      expect(breaker().state).to.equal('closed');
      const { calls } = breaker().stats();
      expect(calls.inFlight).to.equal(0);
      expect(calls.success).to.be.at.most(outcomes.answered);
      // Those that waited when the circuit opened were let through before, and failed.
      expect(calls.rejected).to.be.within(1, outcomes.rejected);
      expect(calls.failure).to.be.at.least(outcomes.failed + outcomes.rejected - calls.rejected);
      expect(
        [redis as unknown as Queues].map(({ offlineQueue, commandQueue }) => offlineQueue.length + commandQueue.length),
      ).to.deep.equal([0]);
      expect(Number((await server.command('CLIENT', 'LIST', 'TYPE', 'normal')).match(/\bname=/g)?.length)).to.equal(2);
    });
  });
}

interface Queues {
  readonly offlineQueue: { readonly length: number };
  readonly commandQueue: { readonly length: number };
}

function ignore(): void {}
