// What applications do with `ioredis`.
'use strict';

const { heard, nextTurn } = require('./witness.cjs');

const host = '127.0.0.1';

/** Ends a client once it was used. */
async function using(witness, redis, use) {
  redis.on('error', (error) => witness.note('error event', error));
  try {
    await use(redis);
  } finally {
    const { stream } = redis;
    redis.disconnect();
    if (stream && !stream.closed) await heard(stream, 'close');
    await nextTurn();
  }
}

const probe =
  (use, options) =>
  ({ witness, clients: [{ Redis, Command }], port }) =>
    using(witness, new Redis({ host, port, ...options }), (redis) => use({ witness, redis, Redis, Command, port }));

const probes = {
  commands: probe(async ({ witness, redis, Command }) => {
    await witness.outcome('set', redis.set('key', 'value', 'EX', 100));
    await witness.outcome('get', redis.get('key'));
    await witness.outcome('none', redis.get('none'));
    await witness.outcome('bytes', redis.getBuffer('key'));
    await witness.outcome('hset', redis.hset('hash', { a: 1, b: 2 }));
    await witness.outcome('hgetall', redis.hgetall('hash'));
    await witness.outcome('mget', redis.mget(['key', 'hash2', 'none']));
    await witness.outcome('call', redis.call('GET', 'key'));
    await witness.outcome('incr', redis.incr('count'));
    await witness.outcome('del', redis.del('key', 'hash', 'count'));
    await witness.outcome('info', redis.info('cluster'));
    await witness.outcome('ping', redis.ping('hello'));
    await witness.outcome('eval', redis.eval('return {1, KEYS[1], ARGV[1]}', 1, 'k', 'a'));
    await witness.outcome('object', redis.sendCommand(new Command('echo', ['x'], { replyEncoding: 'utf8' })));
  }),

  callbacks: probe(async ({ witness, redis }) => {
    await new Promise((resolve) => {
      redis.set('key', '1', (...args) => {
        witness.note('set', args);
        witness.stack('callback');
      });
      redis.lpush('key', 'x', (...args) => witness.note('lpush', args));
      redis.del('key', (...args) => {
        witness.note('del', args);
        resolve();
      });
    });
  }),

  errors: probe(async ({ witness, redis }) => {
    await redis.set('key', 'text');
    await witness.outcome('a wrong type', redis.lpush('key', 'x'));
    await witness.outcome('an unknown command', redis.call('NOSUCH', 'a'));
    await witness.outcome('a wrong number', redis.call('GET'));
    await witness.outcome('no script', redis.evalsha('f'.repeat(40), 0));
    await witness.outcome('a script that fails', redis.eval('return redis.error_reply("MINE is mine")', 0));
    await witness.outcome('a bad argument', redis.set('key', undefined));
    witness.attempt('a bad option', () => new redis.constructor(1, host, { keyPrefix: 1, lazyConnect: true }).status);
    await redis.del('key');
  }),

  'friendly stacks': probe(
    async ({ witness, redis }) => {
      await redis.set('key', 'text');
      await witness.outcome('a wrong type', redis.lpush('key', 'x'));
    },
    { showFriendlyErrorStack: true },
  ),

  pipelines: probe(async ({ witness, redis }) => {
    const pipeline = redis.pipeline();
    pipeline.set('a', 1).get('a').lpush('a', 1).getBuffer('a');
    pipeline.del('a', (...args) => witness.note('callback', args));
    witness.note('length', pipeline.length);
    const running = pipeline.exec((...args) => {
      witness.note('exec callback', args);
      witness.stack('exec callback');
    });
    witness.look('running', pipeline, 0);
    await witness.outcome('exec', running);
    await witness.outcome(
      'an array',
      redis
        .pipeline([
          ['set', 'b', '1'],
          ['get', 'b'],
          ['del', 'b'],
        ])
        .exec(),
    );
    await witness.outcome('an empty one', redis.pipeline().exec());
    await witness.outcome('a wrong one', (async () => redis.pipeline().set('x', Symbol('no')).exec())());
  }),

  transactions: probe(async ({ witness, redis }) => {
    await witness.outcome('multi', redis.multi().set('a', 1).incr('a').exec());
    await witness.outcome('a failure in it', redis.multi().set('a', 'x').lpush('a', 1).exec());
    await witness.outcome('thrown away', redis.multi().set('a', 1).call('GET').exec());
    await witness.outcome('step by step', redis.multi({ pipeline: false }));
    await witness.outcome('queued', redis.set('a', 2));
    await witness.outcome('exec', redis.exec());
    await witness.outcome('multi', redis.multi({ pipeline: false }));
    await witness.outcome('discard', redis.discard());
    await witness.outcome('watch', redis.watch('a'));
    await witness.outcome('unwatch', redis.unwatch());
    await witness.outcome('exec without multi', redis.exec());
    await redis.del('a');
  }),

  'automatic pipelines': probe(
    async ({ witness, redis }) => {
      const calls = [redis.set('a', 1), redis.get('a'), redis.lpush('a', 1), redis.del('a')];
      witness.note('queued', redis.autoPipelineQueueSize);
      for (const call of calls) await witness.outcome('call', call);
    },
    { enableAutoPipelining: true },
  ),

  'publish and subscribe': probe(async ({ witness, redis, Redis, port }) =>
    using(witness, new Redis({ host, port }), async (subscriber) => {
      await witness.outcome('subscribe', subscriber.subscribe('news', 'more'));
      await witness.outcome('psubscribe', subscriber.psubscribe('n*'));
      await witness.outcome('an ordinary command', subscriber.get('a'));
      const message = heard(subscriber, 'pmessage');
      subscriber.on('message', () => witness.stack('message'));
      await witness.outcome('publish', redis.publish('news', 'hello'));
      await message;
      await witness.outcome('unsubscribe', subscriber.unsubscribe('news', 'more'));
      await witness.outcome('punsubscribe', subscriber.punsubscribe('n*'));
    }),
  ),

  'scripts, prefixes and transformers': probe(
    async ({ witness, redis, Command }) => {
      redis.defineCommand('both', { numberOfKeys: 1, lua: 'return {KEYS[1], ARGV[1]}' });
      await witness.outcome('script', redis.both('k', 'v'));
      await witness.outcome('script again', redis.bothBuffer('k', 'v'));
      await witness.outcome('in a pipeline', redis.pipeline().both('k', 'w').set('a', '1').exec());
      Command.setArgumentTransformer('set', (args) => args.map(String));
      await witness.outcome('transformed', redis.set('a', 5));
      await witness.outcome('prefixed', redis.keys('*'));
      await redis.del('a');
    },
    { keyPrefix: 'mine:', stringNumbers: true },
  ),

  scans: probe(async ({ witness, redis }) => {
    await redis.mset('s1', 1, 's2', 2);
    const found = [];
    for await (const keys of redis.scanStream({ match: 's*', count: 100 })) found.push(...keys);
    witness.note('found', found.sort());
    await redis.del('s1', 's2');
  }),

  'blocking commands': probe(async ({ witness, redis, Redis, port }) =>
    using(witness, new Redis({ host, port }), async (waiting) => {
      await waiting.ping();
      const popped = waiting.brpop('list', 10);
      await nextTurn();
      await redis.lpush('list', 'x');
      await witness.outcome('brpop', popped);
      await witness.outcome('in vain', waiting.brpop('list', 0.02));
    }),
  ),

  'a monitor': probe(async ({ witness, redis }) => {
    await redis.ping();
    const monitor = await redis.monitor();
    monitor.once('monitor', (_time, args) => witness.note('monitored', args));
    const message = heard(monitor, 'monitor');
    await redis.get('watched');
    await message;
    const ended = heard(monitor, 'end');
    monitor.disconnect();
    await ended;
  }),

  'timeouts of commands': probe(
    async ({ witness, redis, Redis, port }) =>
      using(witness, new Redis({ host, port }), async (other) => {
        await heard(redis, 'ready');
        await other.ping();
        const sleeping = other.call('DEBUG', 'SLEEP', '0.3');
        await witness.outcome('late', redis.get('a'));
        await witness.outcome('sleeping', sleeping);
      }),
    { commandTimeout: 60, enableReadyCheck: false },
  ),

  'a connection of its own time': probe(
    async ({ witness, redis }) => {
      witness.note('status', redis.status);
      await witness.outcome('connect', redis.connect());
      await witness.outcome('connect again', redis.connect());
      await witness.outcome('select', redis.select(1));
      await witness.outcome('set', redis.set('in', 'one'));
      await witness.outcome('flush', redis.flushdb());
      await witness.outcome('quit', redis.quit());
      await witness.outcome('after', redis.get('a'));
      witness.note('status', redis.status);
    },
    { lazyConnect: true },
  ),

  'commands that wait for the connection': probe(async ({ witness, redis }) => {
    const calls = [redis.set('a', 1), redis.get('a'), redis.pipeline().get('a').del('a').exec()];
    witness.look('waiting', redis, 1);
    for (const call of calls) await witness.outcome('call', call);
    witness.look('ready', redis, 1);
  }),

  'no waiting': probe(
    async ({ witness, redis }) => {
      await witness.outcome('too early', redis.get('a'));
      await heard(redis, 'ready');
      await witness.outcome('in time', redis.get('a'));
    },
    { enableOfflineQueue: false },
  ),

  'a refused connection': async ({ witness, clients: [{ Redis }], deadPort }) => {
    await using(
      witness,
      new Redis({ host, port: deadPort, maxRetriesPerRequest: 1, retryStrategy: () => 5 }),
      (redis) => witness.outcome('get', redis.get('a')),
    );
    const onlyOnce = { host, port: deadPort, lazyConnect: true, retryStrategy: null };
    await using(witness, new Redis(onlyOnce), async (redis) => {
      await witness.outcome('connect', redis.connect());
      witness.note('status', redis.status);
    });
    await using(witness, new Redis(onlyOnce), (redis) => witness.outcome('get', redis.get('a')));
  },

  'a lost connection': probe(
    async ({ witness, redis }) => {
      await redis.ping();
      const waiting = redis.brpop('nothing', 0);
      await nextTurn();
      redis.stream.destroy();
      await heard(redis, 'ready');
      const lost = witness.outcome('waiting', waiting);
      redis.disconnect();
      await lost;
    },
    { retryStrategy: () => 5 },
  ),

  'disconnect and quit while commands wait': probe(async ({ witness, redis }) => {
    await redis.ping();
    const calls = [redis.brpop('nothing', 0), redis.get('a')];
    redis.disconnect();
    for (const call of calls) await witness.outcome('call', call);
    await witness.outcome('after', redis.get('a'));
  }),

  copies: probe(async ({ witness, redis }) =>
    using(witness, redis.duplicate({ keyPrefix: 'x:' }), (copy) => witness.outcome('ping', copy.ping())),
  ),

  'how soon a caller hears': probe(async ({ witness, redis }) => {
    await redis.ping();
    for (const call of [
      () => redis.get('a'),
      () => redis.pipeline().get('a').exec(),
      () => redis.multi().get('a').exec(),
    ]) {
      const stop = witness.microtasksAfter('data');
      await call();
      stop('after the answer');
    }
    witness.stack('after awaiting');
  }),

  'a command looked at': probe(async ({ witness, redis, Command }) => {
    await redis.ping();
    const command = new Command('get', ['a'], {});
    const answer = redis.sendCommand(command);
    witness.look('sent', command, 1);
    await answer;
    witness.look('answered', command, 1);
  }),

  'many at once, in their order': probe(async ({ witness, redis }) => {
    await Promise.all(
      Array.from({ length: 50 }, (_, index) => redis.echo(String(index)).then((echo) => witness.note('echo', echo))),
    );
  }),

  'one call within the callback of another': probe(async ({ witness, redis }) => {
    await redis.ping();
    await new Promise((resolve) => {
      const next = (left) =>
        redis.get('a', () => {
          if (left > 1) return next(left - 1);
          witness.stack('the last of 30');
          resolve();
        });
      next(30);
    });
  }),
};

const exits = {
  'a promise that nobody handles': async ({ clients: [{ Redis }], deadPort }) => {
    const redis = new Redis({ host, port: deadPort, maxRetriesPerRequest: 0, retryStrategy: () => 5 });
    redis.on('error', () => {});
    await redis.get('a');
  },
  'an error that nobody listens for': async ({ clients: [{ Redis }], deadPort }) => {
    const redis = new Redis({ host, port: deadPort, retryStrategy: () => null });
    redis.once('end', () => console.log('end'));
  },
};

/** What the packages are called. */
const names = ['ioredis'];

module.exports = { names, probes, exits };
