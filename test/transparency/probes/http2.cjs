// What applications do with `node:http2` as a client.
'use strict';

const { nextTurn } = require('./witness.cjs');

/** Closes a session once it was used. */
const probe =
  (use, options) =>
  async ({ witness, clients: [http2], origin, ...rest }) => {
    const session = http2.connect(origin, options);
    session.on('error', (error) => witness.note('session: error', error));
    try {
      await use({ witness, http2, session, origin, ...rest });
    } finally {
      const closed = new Promise((resolve) => (session.destroyed ? resolve() : session.once('close', resolve)));
      session.destroy();
      await closed;
      await nextTurn();
    }
  };

/** Everything that a stream tells, until it is closed. */
const streamed = (witness, what, stream) =>
  new Promise((resolve) => {
    for (const event of ['response', 'data', 'end', 'error', 'aborted', 'trailers', 'timeout']) {
      stream.on(event, (...args) => {
        witness.note(`${what}: ${event}`, ...args);
        witness.stack(`${what}: ${event}`);
      });
    }
    stream.on('close', () => {
      witness.note(`${what}: close`, stream.rstCode, stream.aborted, stream.destroyed);
      setImmediate(resolve);
    });
  });

const probes = {
  requests: probe(async ({ witness, session }) => {
    for (const path of ['/', '/status/404', '/status/503', '/status/204']) {
      const stream = session.request({ ':path': path, 'x-mine': 'a' });
      witness.look(path, stream, 0);
      await streamed(witness, path, stream);
    }
    await streamed(witness, 'HEAD', session.request({ ':method': 'HEAD' }));
    await streamed(witness, 'nothing said', session.request());
    witness.listeners('session', session);
    witness.note('session', Reflect.ownKeys(session).map(String));
  }),

  bodies: probe(async ({ witness, session }) => {
    const stream = session.request({ ':method': 'POST', ':path': '/' });
    witness.note('write', stream.write('a'), stream.write('b'));
    stream.end('c');
    await streamed(witness, 'body', stream);
    const none = session.request({ ':method': 'POST', ':path': '/' }, { endStream: true });
    await streamed(witness, 'no body', none);
  }),

  'trailers and pushed answers': probe(async ({ witness, session }) => {
    await streamed(witness, 'trailers', session.request({ ':path': '/trailers' }));
    const stream = session.request({ ':path': '/echo', ':method': 'POST' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '1' }));
    stream.end('mine');
    await streamed(witness, 'own trailers', stream);
    const pushed = new Promise((resolve) => {
      session.on('stream', (other, headers) => {
        witness.note('pushed', headers[':path']);
        void streamed(witness, 'pushed', other).then(resolve);
      });
    });
    await Promise.all([streamed(witness, 'asked', session.request({ ':path': '/pushes' })), pushed]);
  }),

  'the life of a session': probe(async ({ witness, session }) => {
    await streamed(witness, 'first', session.request({ ':path': '/' }));
    await new Promise((resolve) => {
      session.ping(Buffer.from('12345678'), (error, _, payload) => {
        witness.note('ping', error, String(payload));
        resolve();
      });
    });
    await new Promise((resolve) => {
      session.settings({ enablePush: false }, (error, settings) => {
        witness.note('settings', error, settings.enablePush);
        resolve();
      });
    });
    witness.note('state', session.encrypted, session.alpnProtocol, session.closed, session.connecting, session.type);
    session.goaway(0);
    session.ref();
    const over = new Promise((resolve) => session.once('close', resolve));
    await streamed(witness, 'last', session.request({ ':path': '/last' }));
    await over;
    witness.note('over', session.closed, session.destroyed);
  }),

  'ways to read': probe(async ({ witness, session }) => {
    for await (const chunk of session.request({ ':path': '/' }).setEncoding('utf8')) witness.note('chunk', chunk);
    const paused = session.request({ ':path': '/' }).pause();
    setTimeout(() => paused.resume(), 5);
    await streamed(witness, 'paused', paused);
  }),

  'callers that leave': probe(async ({ witness, http2, session }) => {
    const ways = {
      close: (stream) => stream.close(http2.constants.NGHTTP2_CANCEL, () => witness.note('closed')),
      destroy: (stream) => stream.destroy(),
      error: (stream) => stream.destroy(new Error('mine')),
    };
    for (const [way, leave] of Object.entries(ways)) {
      const silent = session.request({ ':path': '/silence' });
      setTimeout(leave, 10, silent);
      await streamed(witness, `${way} in silence`, silent);
      // Not by time: a part of an answer comes when it comes.
      const half = session.request({ ':path': '/half' });
      half.once('data', () => setImmediate(leave, half));
      await streamed(witness, `${way} half-way`, half);
    }
    const abort = new AbortController();
    const aborted = session.request({ ':path': '/silence' }, { signal: abort.signal });
    setTimeout(() => abort.abort(), 10);
    await streamed(witness, 'signal', aborted);
    await streamed(witness, 'aborted before', session.request({ ':path': '/' }, { signal: AbortSignal.abort() }));
    const late = session.request({ ':path': '/silence' });
    late.setTimeout(10, () => late.close());
    await streamed(witness, 'timeout', late);
  }),

  'a server that hangs up': async ({ witness, clients: [http2], origin }) => {
    for (const path of ['/gone', '/half']) {
      const session = http2.connect(origin);
      session.on('error', (error) => witness.note('session: error', error));
      const others = path === '/gone' ? [] : [session.request({ ':path': path })];
      const ends = others.map((stream) => streamed(witness, 'other', stream));
      if (others.length > 0) await new Promise((resolve) => others[0].once('data', resolve));
      const closed = new Promise((resolve) => session.once('close', resolve));
      await Promise.all([streamed(witness, path, session.request({ ':path': '/gone' })), ...ends, closed]);
    }
  },

  'nobody there': async ({ witness, clients: [http2], deadOrigin }) => {
    const session = http2.connect(deadOrigin);
    session.on('error', (error) => witness.note('session: error', error));
    const closed = new Promise((resolve) => session.once('close', resolve));
    await Promise.all([
      streamed(witness, 'first', session.request({ ':path': '/' })),
      streamed(witness, 'second', session.request({ ':path': '/' })),
      closed,
    ]);
  },

  'wrong arguments': probe(async ({ witness, http2, session }) => {
    for (const args of [[5], [{ ':path': 5 }], [{ connection: 'close' }], [{}, 5], [{ ':status': 1 }]]) {
      const made = witness.attempt('request', () => session.request(...args));
      if (made !== undefined) await streamed(witness, 'made', made);
    }
    for (const args of [['nonsense'], ['ftp://127.0.0.1']]) {
      witness.attempt('connect', () => http2.connect(...args));
    }
  }),

  'a session that is closed': probe(async ({ witness, session }) => {
    await streamed(witness, 'open', session.request({ ':path': '/' }));
    // Later Nodes give a stream that fails, where earlier ones throw.
    const listen = (made) => made?.on('error', (error) => witness.note('error', error));
    session.close();
    listen(witness.attempt('closed', () => session.request({ ':path': '/' })));
    session.destroy();
    listen(witness.attempt('destroyed', () => session.request({ ':path': '/' })));
    await nextTurn();
  }),

  'requests before the connection': async ({ witness, clients: [http2], origin }) => {
    const session = http2.connect(origin, () => witness.note('connected'));
    const streams = ['/', '/status/404'].map((path) => streamed(witness, path, session.request({ ':path': path })));
    await Promise.all(streams);
    const closed = new Promise((resolve) => session.once('close', resolve));
    session.close();
    await closed;
  },

  'many at once': probe(async ({ witness, session }) => {
    await streamed(witness, 'first', session.request({ ':path': '/' }));
    await Promise.all(
      Array.from({ length: 20 }, (_, n) => {
        const stream = session.request({ ':path': `/${n}` }).resume();
        return new Promise((resolve) => stream.once('close', resolve)).then(() => witness.note('answer', n));
      }),
    );
  }),

  'how soon a caller hears': probe(async ({ witness, session }) => {
    await streamed(witness, 'first', session.request({ ':path': '/' }));
    const stop = witness.microtasksAfter('response');
    const stream = session.request({ ':path': '/' }).resume();
    await new Promise((resolve) => stream.once('end', resolve));
    stop('after the answer');
    witness.stack('after awaiting');
    await new Promise((resolve) => stream.once('close', resolve));
  }),

  'one request within the end of another': probe(async ({ witness, session }) => {
    await new Promise((resolve) => {
      const next = (left) =>
        session
          .request({ ':path': '/' })
          .resume()
          .once('end', () => {
            if (left > 1) return next(left - 1);
            witness.stack('the last of 10');
            setTimeout(resolve, 5);
          });
      next(10);
    });
  }),
};

const exits = {
  'an error that nobody listens to': async ({ clients: [http2], deadOrigin }) => {
    http2.connect(deadOrigin).request({ ':path': '/' });
  },
  'a session that is closed does not keep the process': async ({ clients: [http2], origin }) => {
    const session = http2.connect(origin);
    const stream = session.request({ ':path': '/' }).resume();
    stream.once('close', () => session.close());
    stream.once('response', ({ ':status': status }) => console.log(status));
  },
};

/** What the module is called. */
const names = ['http2'];

module.exports = { names, probes, exits };
