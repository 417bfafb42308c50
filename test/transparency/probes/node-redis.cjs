// What applications do with `redis`, which is node-redis.
'use strict';

const { heard, nextTurn } = require('./witness.cjs');

const host = '127.0.0.1';

/** Ends a client once it was used. */
async function using(witness, redis, use) {
  redis.on('error', (error) => witness.note('error event', error));
  await redis.connect();
  try {
    await use(redis);
  } finally {
    if (redis.isOpen) redis.destroy();
    await nextTurn();
    await nextTurn();
  }
}

const probe =
  (use, { socket, ...options } = {}) =>
  ({ witness, clients: [library], port, deadPort }) =>
    using(witness, library.createClient({ socket: { host, port, ...socket }, ...options }), (redis) =>
      use({ witness, redis, library, port, deadPort }),
    );

const probes = {
  commands: probe(async ({ witness, redis }) => {
    await witness.outcome('set', redis.set('key', 'value', { EX: 100 }));
    await witness.outcome('get', redis.get('key'));
    await witness.outcome('none', redis.get('none'));
    await witness.outcome('hset', redis.hSet('hash', { a: 1, b: 2 }));
    await witness.outcome('hgetall', redis.hGetAll('hash'));
    await witness.outcome('mget', redis.mGet(['key', 'none']));
    await witness.outcome('raw', redis.sendCommand(['GET', 'key']));
    await witness.outcome('incr', redis.incr('count'));
    await witness.outcome('del', redis.del(['key', 'hash', 'count']));
    await witness.outcome('ping', redis.ping('hello'));
    await witness.outcome('eval', redis.eval('return {1, KEYS[1], ARGV[1]}', { keys: ['k'], arguments: ['a'] }));
  }),

  errors: probe(async ({ witness, redis, library, port }) => {
    await redis.set('key', 'text');
    await witness.outcome('a wrong type', redis.lPush('key', 'x'));
    await witness.outcome('an unknown command', redis.sendCommand(['NOSUCH', 'a']));
    await witness.outcome('a wrong number', redis.sendCommand(['GET']));
    await witness.outcome('no script', redis.evalSha('f'.repeat(40)));
    await witness.outcome('a bad argument', redis.set('key', undefined));
    await witness.outcome('a bad raw argument', redis.sendCommand(['SET', 'key', 5]));
    witness.attempt('a bad option', () => library.createClient({ url: 'http://x', port }));
    await redis.del('key');
  }),

  pipelines: probe(async ({ witness, redis }) => {
    await witness.outcome('exec', redis.multi().set('a', '1').get('a').del('a').execAsPipeline());
    await witness.outcome('a failure in it', redis.multi().set('a', 'x').lPush('a', '1').get('a').execAsPipeline());
    await witness.outcome('an empty one', redis.multi().execAsPipeline());
    await redis.del('a');
  }),

  transactions: probe(async ({ witness, redis }) => {
    await witness.outcome('multi', redis.multi().set('a', '1').incr('a').exec());
    await witness.outcome('a failure in it', redis.multi().set('a', 'x').lPush('a', '1').exec());
    await witness.outcome('thrown away', redis.multi().set('a', '1').addCommand(['GET']).exec());
    await witness.outcome('watch', redis.watch('a'));
    witness.note('watching', redis.isWatching);
    await witness.outcome('watched', redis.multi().get('a').exec());
    await witness.outcome('watch again', redis.watch('a'));
    await witness.outcome('changed', redis.set('a', '2'));
    await witness.outcome('in vain', redis.multi().get('a').exec());
    await witness.outcome('step by step', redis.sendCommand(['MULTI']));
    await witness.outcome('queued', redis.sendCommand(['SET', 'a', '3']));
    await witness.outcome('exec', redis.sendCommand(['EXEC']));
    await redis.del('a');
  }),

  views: probe(async ({ witness, redis }) => {
    await witness.outcome('options', redis.withCommandOptions({ asap: true }).get('a'));
    await witness.outcome('a signal', redis.withAbortSignal(new AbortController().signal).get('a'));
    await witness.outcome('gone already', redis.withAbortSignal(AbortSignal.abort()).get('a'));
    const gone = new AbortController();
    const left = witness.outcome('gone at once', redis.withAbortSignal(gone.signal).get('a'));
    gone.abort();
    await left;
  }),

  'publish and subscribe': probe(async ({ witness, redis, library, port }) =>
    using(witness, library.createClient({ socket: { host, port } }), async (subscriber) => {
      let heardIt;
      const message = new Promise((resolve) => (heardIt = resolve));
      await witness.outcome(
        'subscribe',
        subscriber.subscribe('news', (...args) => {
          witness.note('message', args);
          witness.stack('message');
          heardIt();
        }),
      );
      await witness.outcome('publish', redis.publish('news', 'hello'));
      await message;
      await witness.outcome('unsubscribe', subscriber.unsubscribe('news'));
    }),
  ),

  scripts: probe(
    async ({ witness, redis }) => {
      await witness.outcome('script', redis.both('k', 'v'));
      await witness.outcome('script again', redis.both('k', 'w'));
      await witness.outcome('in a transaction', redis.multi().both('k', 'w').exec());
    },
    {
      scripts: {
        both: {
          SCRIPT: 'return {KEYS[1], ARGV[1]}',
          SHA1: '0ae0b9a9a2e1a7ea96bb7d1c28b2a8f9ecb9f1d7',
          NUMBER_OF_KEYS: 1,
          parseCommand(parser, key, value) {
            parser.pushKey(key);
            parser.push(value);
          },
          transformReply: (reply) => reply,
        },
      },
    },
  ),

  scans: probe(async ({ witness, redis }) => {
    await redis.mSet(['s1', '1', 's2', '2']);
    const found = [];
    for await (const keys of redis.scanIterator({ MATCH: 's*', COUNT: 100 })) found.push(...keys);
    witness.note('found', found.sort());
    await redis.del(['s1', 's2']);
  }),

  'blocking commands': probe(async ({ witness, redis, library, port }) =>
    using(witness, library.createClient({ socket: { host, port } }), async (waiting) => {
      const popped = waiting.brPop('list', 10);
      await nextTurn();
      await redis.lPush('list', 'x');
      await witness.outcome('brpop', popped);
      await witness.outcome('in vain', waiting.brPop('list', 0.02));
    }),
  ),

  pools: async ({ witness, clients: [library], port }) => {
    const pool = library.createClientPool({ socket: { host, port } }, { minimum: 1, maximum: 2 });
    pool.on('error', () => {});
    await pool.connect();
    const calls = ['a', 'b', 'c'].map((key) => pool.incr(key));
    for (const call of calls) await witness.outcome('incr', call);
    await witness.outcome('multi', pool.multi().del('a').del('b').del('c').exec());
    await witness.outcome(
      'execute',
      pool.execute((client) => client.get('a')),
    );
    await pool.close();
    await nextTurn();
  },

  'commands that wait for the connection': async ({ witness, clients: [library], port }) => {
    const redis = library.createClient({ socket: { host, port } });
    redis.on('error', () => {});
    await witness.outcome('too early', redis.get('a'));
    const connected = redis.connect();
    const calls = [redis.set('a', '1'), redis.get('a'), redis.multi().get('a').del('a').exec()];
    witness.note('ready', redis.isReady);
    for (const call of calls) await witness.outcome('call', call);
    await connected;
    await witness.outcome('close', redis.close());
    await witness.outcome('after', redis.get('a'));
    await nextTurn();
  },

  'no waiting': async ({ witness, clients: [library], port }) => {
    const redis = library.createClient({ socket: { host, port }, disableOfflineQueue: true });
    redis.on('error', () => {});
    const connected = redis.connect();
    await witness.outcome('too early', redis.get('a'));
    await connected;
    await witness.outcome('in time', redis.get('a'));
    redis.destroy();
    await nextTurn();
  },

  'a refused connection': async ({ witness, clients: [library], deadPort }) => {
    const redis = library.createClient({ socket: { host, port: deadPort, reconnectStrategy: false } });
    redis.on('error', (error) => witness.note('error event', error));
    await witness.outcome('connect', redis.connect());
    await witness.outcome('get', redis.get('a'));
  },

  'a lost connection': probe(
    async ({ witness, redis }) => {
      await redis.ping();
      const waiting = redis.brPop('nothing', 0);
      await nextTurn();
      const ready = heard(redis, 'ready');
      // By another, since this one waits.
      const other = redis.duplicate();
      other.on('error', () => {});
      await other.connect();
      const lost = witness.outcome('waiting', waiting);
      await other.sendCommand(['CLIENT', 'KILL', 'TYPE', 'normal']);
      await lost;
      await ready;
      await witness.outcome('after', redis.get('a'));
      other.destroy();
    },
    { socket: { reconnectStrategy: 5 } },
  ),

  'destroyed while commands wait': probe(async ({ witness, redis }) => {
    await redis.ping();
    const calls = [redis.brPop('nothing', 0), redis.get('a')];
    const ended = calls.map((call) => witness.outcome('call', call));
    redis.destroy();
    await Promise.all(ended);
  }),

  'how soon a caller hears': probe(async ({ witness, redis }) => {
    await redis.ping();
    for (const call of [
      () => redis.get('a'),
      () => redis.multi().get('a').execAsPipeline(),
      () => redis.multi().get('a').exec(),
    ]) {
      const stop = witness.microtasksAfter('data');
      await call();
      stop('after the answer');
    }
    witness.stack('after awaiting');
  }),

  'a promise looked at': probe(async ({ witness, redis }) => {
    const raw = redis.sendCommand(['GET', 'a']);
    witness.look('raw', raw, 1);
    await raw;
  }),

  'many at once, in their order': probe(async ({ witness, redis }) => {
    await Promise.all(
      Array.from({ length: 50 }, (_, index) => redis.echo(String(index)).then((echo) => witness.note('echo', echo))),
    );
  }),
};

const exits = {
  'a promise that nobody handles': async ({ clients: [library], port }) => {
    const redis = library.createClient({ socket: { host, port } });
    await redis.connect();
    await redis.set('text', 'a');
    redis.unref();
    void redis.sendCommand(['LPUSH', 'text', 'b']);
  },
  'an error that nobody listens for': async ({ clients: [library], deadPort }) => {
    const redis = library.createClient({ socket: { host, port: deadPort } });
    await redis.connect();
  },
};

/** What the packages are called. */
const names = ['redis'];

module.exports = { names, probes, exits };
