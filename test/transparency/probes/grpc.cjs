// What applications do with `@grpc/grpc-js`.
'use strict';

const { setTimeout: delay } = require('node:timers/promises');
const { heard, nextTurn } = require('./witness.cjs');
const makeEcho = require('../../fixtures/grpc/echo.cjs');

const host = '127.0.0.1';
const HOURS = 3_600_000;

const OPTIONS = { 'grpc.use_local_subchannel_pool': 1, 'grpc.enable_retries': 0 };

/** Closes a client once it was used. */
const probe =
  (use, options) =>
  async ({ witness, clients: [grpc], port, ...rest }) => {
    const echo = makeEcho(grpc);
    const client = echo.connect(`${host}:${port}`, { ...OPTIONS, ...options });
    try {
      await use({ witness, grpc, echo, client, port, ...rest });
    } finally {
      client.close();
      // The end of its connection takes its time, and nothing that keeps the process alive tells of it.
      await delay(100);
    }
  };

/** What a unary call tells its callback and its listeners. */
const unary = (witness, what, start) =>
  new Promise((resolve) => {
    const call = start((...args) => {
      witness.note(`${what} calls back`, args);
      witness.stack(what);
      setImmediate(resolve);
    });
    witness.look(`${what} returns`, call, 0);
  });

/** Everything that a stream emits, until its status. */
const streamed = async (witness, what, stream) => {
  for (const event of ['metadata', 'data', 'end', 'error', 'close']) {
    stream.on(event, (value) => {
      witness.note(`${what}: ${event}`, value);
      witness.stack(`${what}: ${event}`);
    });
  }
  witness.note(`${what}: status`, await heard(stream, 'status'));
  await nextTurn();
};

const probes = {
  'unary calls': probe(async ({ witness, grpc, client }) => {
    await unary(witness, 'ok', (done) => client.ask('ok', done));
    const metadata = new grpc.Metadata();
    metadata.set('x-mine', 'a');
    await unary(witness, 'metadata', (done) => client.ask('ok', metadata, done));
    await unary(witness, 'options', (done) => client.ask('ok', { deadline: Date.now() + 100 * HOURS }, done));
    await unary(witness, 'both', (done) => client.ask('ok', metadata, { deadline: Infinity }, done));
  }),

  'every status': probe(async ({ witness, client }) => {
    for (let code = 1; code <= 17; code++) {
      await unary(witness, `code ${code}`, (done) => client.ask(`code ${code}`, done));
    }
  }),

  'streams of a server': probe(async ({ witness, client }) => {
    for (const request of ['ok', 'code 5', 'code 14', 'first, then code 13', 'first, then code 14']) {
      await streamed(witness, request, client.pull(request));
    }
  }),

  'streams of a client': probe(async ({ witness, client }) => {
    for (const parts of [['a', 'b', 'c'], [], ['code 14']]) {
      await unary(witness, `parts ${parts.length}`, (done) => {
        const call = client.push(done);
        for (const part of parts) witness.note('write', call.write(part));
        call.end();
        return call;
      });
    }
  }),

  'streams both ways': probe(async ({ witness, client }) => {
    for (const request of ['ok', 'code 14', 'first, then code 13']) {
      const call = client.chat();
      call.write(request);
      call.end();
      await streamed(witness, request, call);
    }
  }),

  'pauses and iteration': probe(async ({ witness, client }) => {
    for await (const part of client.pull('ok')) witness.note('part', part);
    const stream = client.pull('ok').pause();
    setTimeout(() => stream.resume(), 5);
    await streamed(witness, 'paused', stream);
    try {
      for await (const part of client.pull('first, then code 13')) witness.note('part', part);
    } catch (error) {
      witness.note('iteration', error);
    }
  }),

  'calls that are given up': probe(async ({ witness, client }) => {
    await unary(witness, 'warm', (done) => client.ask('ok', done));
    await unary(witness, 'at once', (done) => {
      // It is made nevertheless, and keeps its connection until it is answered.
      const call = client.ask('ok', done);
      call.cancel();
      call.cancel();
      return call;
    });
    const late = client.pull('endless');
    late.once('data', () => late.cancel());
    await streamed(witness, 'late', late);
    const chat = client.chat();
    setImmediate(() => chat.cancel());
    await streamed(witness, 'chat', chat);
  }),

  interceptors: probe(async ({ witness, grpc, client }) => {
    const seeing = (name) => (options, next) => {
      witness.note(`${name} makes`, Reflect.ownKeys(options).map(String), options.method_definition.path);
      witness.stack(name);
      const call = new grpc.InterceptingCall(next(options), {
        start(metadata, listener, go) {
          go(metadata, {
            onReceiveMetadata: (first, forward) => (witness.note(`${name} metadata`), forward(first)),
            onReceiveMessage: (message, forward) => (witness.note(`${name} message`, message), forward(message)),
            onReceiveStatus: (status, forward) => {
              witness.note(`${name} status`, status);
              witness.stack(`${name} status`);
              forward(status);
            },
          });
        },
        sendMessage: (message, go) => go(`${message}`),
        halfClose: (go) => setImmediate(go),
      });
      return call;
    };
    const late = (options, next) =>
      new grpc.InterceptingCall(next(options), {
        start: (metadata, listener, go) => setTimeout(() => go(metadata, listener), 5),
      });
    const interceptors = [seeing('outer'), seeing('inner')];
    await unary(witness, 'two', (done) => client.ask('ok', { interceptors }, done));
    await unary(witness, 'two, and an error', (done) => client.ask('code 14', { interceptors }, done));
    await unary(witness, 'late', (done) => client.ask('ok', { interceptors: [late] }, done));
    await streamed(witness, 'late stream', client.pull('ok', { interceptors: [late] }));
  }),

  'wrong arguments': probe(async ({ witness, grpc, client }) => {
    for (const args of [[], ['ok'], ['ok', {}], ['ok', null, () => {}], ['ok', {}, {}, () => {}]]) {
      witness.attempt('ask', () => client.ask(...args).on('error', () => {}));
    }
    await unary(witness, 'no text', (done) => client.ask({ no: 'text' }, done));
    witness.attempt('no target', () => new grpc.Client('', grpc.credentials.createInsecure()));
  }),

  'a client that is closed': probe(async ({ witness, client }) => {
    await unary(witness, 'open', (done) => client.ask('ok', done));
    client.close();
    witness.attempt('closed', () => client.ask('ok', () => {}));
    witness.attempt('closed stream', () => client.pull('ok'));
  }),

  'nobody there': async ({ witness, clients: [grpc], deadPort }) => {
    const client = makeEcho(grpc).connect(`${host}:${deadPort}`, OPTIONS);
    await unary(witness, 'first', (done) => client.ask('ok', done));
    await unary(witness, 'second', (done) => client.ask('ok', done));
    await streamed(witness, 'stream', client.pull('ok'));
    const metadata = new grpc.Metadata({ waitForReady: true });
    await unary(witness, 'waiting', (done) => {
      const call = client.ask('ok', metadata, done);
      setTimeout(() => call.cancel(), 20);
      return call;
    });
    client.close();
  },

  'a channel and its states': probe(async ({ witness, grpc, client, port }) => {
    const channel = client.getChannel();
    witness.note('target', channel.getTarget(), channel.getConnectivityState(false));
    await new Promise((resolve) => client.waitForReady(Date.now() + 100 * HOURS, resolve));
    witness.note('ready', channel.getConnectivityState(false));
    const call = channel.createCall('/echo.Echo/Ask', Infinity, null, null, null);
    witness.note('call', Reflect.ownKeys(call).map(String).sort());
    await new Promise((resolve) => {
      call.start(new grpc.Metadata(), {
        onReceiveMetadata: () => witness.note('metadata'),
        onReceiveMessage: (message) => witness.note('message', String(message)),
        onReceiveStatus: (status) => {
          witness.note('status', status);
          witness.stack('status');
          resolve();
        },
      });
      call.sendMessageWithContext({}, Buffer.from('ok'));
      call.startRead();
      call.halfClose();
    });
    const second = new client.constructor(`${host}:${port}`, grpc.credentials.createInsecure(), {
      channelOverride: channel,
    });
    await unary(witness, 'on the same channel', (done) => second.ask('ok', done));
  }),

  'many at once': probe(async ({ witness, echo, client }) => {
    await Promise.all(
      Array.from({ length: 20 }, (_, n) => echo.ask(client, `n${n}`).then((text) => witness.note('answer', text))),
    );
  }),

  'how soon a caller hears': probe(async ({ witness, echo, client }) => {
    await echo.ask(client);
    const stop = witness.microtasksAfter('trailers');
    await echo.ask(client);
    stop('after the trailers');
    witness.stack('after awaiting');
  }),

  'one call within the callback of another': probe(async ({ witness, client }) => {
    await new Promise((resolve) => {
      const next = (left) =>
        client.ask('ok', () => {
          if (left > 1) return next(left - 1);
          witness.stack('the last of 20');
          resolve();
        });
      next(20);
    });
  }),

  retries: probe(
    async ({ witness, client }) => {
      await unary(witness, 'tried again', (done) => client.ask('code 14', done));
    },
    {
      'grpc.enable_retries': 1,
      'grpc.service_config': JSON.stringify({
        methodConfig: [
          {
            name: [{}],
            retryPolicy: {
              maxAttempts: 3,
              initialBackoff: '0.01s',
              maxBackoff: '0.01s',
              backoffMultiplier: 1,
              retryableStatusCodes: ['UNAVAILABLE'],
            },
          },
        ],
      }),
    },
  ),
};

const exits = {
  'an error that nobody listens to': async ({ clients: [grpc], deadPort }) => {
    makeEcho(grpc).connect(`${host}:${deadPort}`, OPTIONS).pull('ok').resume();
  },
  'a callback that throws': async ({ clients: [grpc], port }) => {
    const client = makeEcho(grpc).connect(`${host}:${port}`, OPTIONS);
    client.ask('ok', () => {
      client.close();
      throw new Error('mine');
    });
  },
  'a client that is closed does not keep the process': async ({ clients: [grpc], port }) => {
    const echo = makeEcho(grpc);
    const client = echo.connect(`${host}:${port}`, OPTIONS);
    console.log(await echo.ask(client));
    client.close();
  },
};

/** What the package is called. */
const names = ['grpc'];

module.exports = { names, probes, exits };
