// What applications do with `undici`, and with the `fetch` that is within Node.
'use strict';

const { channel } = require('node:diagnostics_channel');
const { once } = require('node:events');
const { PassThrough, Readable, Writable } = require('node:stream');
const { nextTurn } = require('./witness.cjs');

/** Closes a dispatcher once it was used. */
async function using(dispatcher, use, end = (used) => used.destroy()) {
  try {
    return await use(dispatcher);
  } finally {
    await end(dispatcher);
    await nextTurn();
  }
}

async function tell(witness, what, promise) {
  try {
    const { statusCode, headers, body, trailers, opaque } = await promise;
    witness.note(what, statusCode, headers, opaque, await body.text(), trailers);
  } catch (error) {
    witness.note(`${what} fails`, error);
  }
}

/** What a handler of each generation is told, and by what `this`. */
function handlers(witness, done) {
  const heard = (name, answer) =>
    function (...args) {
      witness.note(name, this === old || this === young, args.length, args[0]?.constructor?.name);
      witness.stack(name);
      if (/Complete|Error|End$/.test(name)) setImmediate(done);
      return answer;
    };
  const old = {
    onConnect: heard('onConnect'),
    onHeaders: heard('onHeaders', true),
    onData: heard('onData', true),
    onComplete: heard('onComplete'),
    onError: heard('onError'),
    onBodySent: heard('onBodySent'),
    onResponseStarted: heard('onResponseStarted'),
  };
  const young = {
    onRequestStart: heard('onRequestStart'),
    onResponseStart: heard('onResponseStart'),
    onResponseData: heard('onResponseData'),
    onResponseEnd: heard('onResponseEnd'),
    onResponseError: heard('onResponseError'),
  };
  return { old: Object.freeze(old), young: Object.freeze(young) };
}

/** Resolves once a handler has heard the end of its request, or the request was refused at once. */
const dispatched = (dispatcher, options, witness, generation, change = {}) =>
  new Promise((resolve) => {
    const handler = { ...handlers(witness, resolve)[generation], ...change };
    const accepted = witness.attempt('dispatch', () => dispatcher.dispatch(options, handler));
    if (accepted === undefined) resolve();
  });

const CHANNELS = [
  'request:create',
  'request:bodySent',
  'request:headers',
  'request:trailers',
  'request:error',
  'client:beforeConnect',
  'client:connected',
  'client:connectError',
  'client:sendHeaders',
];

/** An interceptor that only looks. */
const seeing = (witness, name) => (dispatch) => (options, handler) => {
  witness.note(name, Reflect.ownKeys(options).map(String), options.path);
  witness.stack(name);
  return dispatch(options, handler);
};

const probes = {
  request: async ({ witness, clients: [undici], origin }) =>
    using(new undici.Agent(), async (dispatcher) => {
      for (const path of ['/', '/cookies', '/trailers', '/pieces', '/large', '/status/204', '/status/503', '/hints'])
        await tell(witness, path, undici.request(origin + path, { dispatcher, opaque: 'mine' }));
      await tell(witness, 'HEAD', undici.request(origin, { dispatcher, method: 'HEAD' }));
      await tell(
        witness,
        'query',
        undici.request(new URL(origin), { dispatcher, query: { a: 1 }, headers: ['X-A', 'b'] }),
      );
    }),

  'bodies of requests': async ({ witness, clients: [undici], origin }) =>
    using(new undici.Agent(), async (dispatcher) => {
      async function* pieces() {
        yield 'a';
        yield 'b';
      }
      const form = new undici.FormData();
      form.append('field', 'value');
      const bodies = {
        text: 'text',
        bytes: Buffer.from('bytes'),
        stream: Readable.from(['a', 'b']),
        iterable: pieces(),
        form,
        blob: new Blob(['blob']),
        parameters: String(new URLSearchParams({ a: 'b' })),
      };
      for (const [what, body] of Object.entries(bodies)) {
        const { body: answer } = await undici.request(`${origin}/count`, { dispatcher, method: 'POST', body });
        witness.note(what, await answer.text());
      }
      async function* broken() {
        yield 'a';
        throw new Error('broken');
      }
      await tell(witness, 'broken', undici.request(`${origin}/count`, { dispatcher, method: 'POST', body: broken() }));
      const stream = new PassThrough();
      const request = undici.request(`${origin}/count`, { dispatcher, method: 'POST', body: stream });
      stream.write('a');
      setImmediate(() => stream.destroy(new Error('destroyed')));
      await tell(witness, 'destroyed', request);
      const wrong = { dispatcher, method: 'POST', body: 'abc', headers: { 'content-length': '2' } };
      await tell(witness, 'a wrong length', undici.request(origin, wrong));
    }),

  'stream and pipeline': async ({ witness, clients: [undici], origin }) =>
    using(new undici.Agent(), async (dispatcher) => {
      const chunks = [];
      const sink = () => new Writable({ write: (chunk, _, done) => done(null, chunks.push(String(chunk))) });
      const answer = await undici.stream(`${origin}/pieces`, { dispatcher, method: 'GET', opaque: 1 }, (given) => {
        witness.note('factory', given.statusCode, given.headers, given.opaque);
        witness.stack('factory');
        return sink();
      });
      witness.note('streamed', chunks.join(''), answer);
      await witness.outcome(
        'a factory that throws',
        undici.stream(origin, { dispatcher, method: 'GET' }, () => {
          throw new Error('no');
        }),
      );
      const duplex = undici.pipeline(`${origin}/echo`, { dispatcher, method: 'POST' }, ({ body }) => body);
      witness.note('piped', Buffer.concat(await duplex.end('through').toArray()));
      const cut = undici.pipeline(`${origin}/cut`, { dispatcher, method: 'GET' }, ({ body }) => body);
      await witness.outcome('cut', cut.end().toArray());
      witness.listeners('pipeline', duplex);
    }),

  'connect and upgrade': async ({ witness, clients: [undici], origin }) => {
    for (const way of ['connect', 'upgrade']) {
      await using(new undici.Client(origin), async (client) => {
        const { headers, socket, statusCode } = await client[way]({ path: '/', protocol: 'echo' });
        witness.note(way, statusCode, headers);
        witness.listeners('socket', socket);
        socket.end('hello');
        witness.note('socket says', Buffer.concat(await socket.toArray()));
      });
      await using(new undici.Client(origin), (client) =>
        witness.outcome(`${way} aborted`, client[way]({ path: '/', signal: AbortSignal.abort() })),
      );
    }
    await using(new undici.Client(origin), (client) =>
      tell(witness, 'by request', client.request({ path: '/', method: 'GET', upgrade: 'echo' })),
    );
  },

  'dispatch with handlers of both generations': async ({ witness, clients: [undici], origin, deadOrigin }) => {
    for (const generation of ['old', 'young']) {
      await using(new undici.Client(origin), async (client) => {
        await dispatched(client, { path: '/echo', method: 'POST', body: 'x' }, witness, generation);
        await dispatched(client, { path: '/cut', method: 'GET' }, witness, generation);
      });
      await using(new undici.Pool(deadOrigin), (pool) =>
        dispatched(pool, { path: '/', method: 'GET' }, witness, generation),
      );
    }
  },

  'handlers that fail': async ({ witness, clients: [undici], origin }) => {
    const fail = (name) => ({
      [name]: () => {
        throw new Error(`thrown in ${name}`);
      },
    });
    const options = { path: '/', method: 'GET' };
    for (const name of ['onConnect', 'onHeaders', 'onData', 'onComplete']) {
      await using(new undici.Client(origin), (client) => dispatched(client, options, witness, 'old', fail(name)));
    }
    for (const name of ['onRequestStart', 'onResponseStart', 'onResponseData', 'onResponseEnd']) {
      await using(new undici.Client(origin), (client) => dispatched(client, options, witness, 'young', fail(name)));
    }
  },

  'handlers that pause and abort': async ({ witness, clients: [undici], origin }) => {
    await using(new undici.Client(origin), async (client) => {
      let resume;
      await dispatched(client, { path: '/pieces', method: 'GET' }, witness, 'old', {
        onHeaders: (status, headers, given) => ((resume = given), true),
        onData: () => (setImmediate(resume), false),
      });
      await dispatched(client, { path: '/silence-after-headers', method: 'GET' }, witness, 'young', {
        onResponseStart: (controller) => controller.abort(new Error('enough')),
      });
      await dispatched(client, { path: '/', method: 'GET' }, witness, 'old', {
        onConnect: (abort) => abort(new Error('not even begun')),
      });
    });
  },

  'wrong arguments': async ({ witness, clients: [undici], origin }) =>
    using(new undici.Client(origin), async (client) => {
      for (const options of [
        {},
        { path: 1 },
        { path: '/', method: 'G T' },
        { path: '/', method: 'GET', headers: { 'a b': '1' } },
      ])
        await witness.outcome(JSON.stringify(options), client.request(options));
      for (const args of [[], [null], [{ path: '/', method: 'GET' }], [{ path: '/', method: 'GET' }, {}], [1, 2]])
        witness.attempt('dispatch', () => client.dispatch(...args));
      const half = { onConnect() {}, onError: (error) => witness.note('half a handler', error) };
      witness.attempt('half a handler', () => client.dispatch({ path: '/', method: 'GET' }, half));
      witness.attempt('no URL', () => undici.request('no URL'));
      client.request({ path: '/', method: 'GET' }, (error, data) => {
        witness.note('callback', error, data?.statusCode);
        data?.body.resume();
      });
      await once(client, 'drain').catch(() => {});
      await nextTurn();
    }),

  dispatchers: async ({ witness, clients: [undici], origin }) => {
    const make = {
      Client: () => new undici.Client(origin),
      Pool: () => new undici.Pool(origin, { connections: 2 }),
      BalancedPool: () => new undici.BalancedPool([origin]),
      Agent: () => new undici.Agent(),
      'Agent of one’s own making': () => new undici.Agent({ factory: (url, options) => new undici.Pool(url, options) }),
      RetryAgent: () => new undici.RetryAgent(new undici.Agent(), { maxRetries: 1, minTimeout: 1 }),
      EnvHttpProxyAgent: () => new undici.EnvHttpProxyAgent({ noProxy: '*' }),
    };
    for (const [name, factory] of Object.entries(make)) {
      await using(factory(), async (dispatcher) => {
        await tell(witness, name, dispatcher.request({ origin, path: '/', method: 'GET' }));
        witness.look(name, dispatcher, 1);
        witness.note('state', dispatcher.closed, dispatcher.destroyed, dispatcher.stats);
      });
    }
  },

  'a client in all its states': async ({ witness, clients: [undici], origin }) => {
    const client = new undici.Client(origin, { pipelining: 2 });
    const state = (what) => {
      const { pending, running, size, free, connected, busy } = client.stats ?? client;
      witness.note(what, pending, running, size, free, connected, busy);
    };
    state('fresh');
    const calls = ['/1', '/2', '/3'].map((path) => client.request({ path, method: 'GET' }));
    state('asked');
    for (const call of calls) await (await call).body.text();
    state('answered');
    witness.look('client', client, 2);
    const pending = client.request({ path: '/silence', method: 'GET' });
    await nextTurn();
    await client.destroy(new Error('over'));
    await tell(witness, 'destroyed', pending);
    await tell(witness, 'after', client.request({ path: '/', method: 'GET' }));
    const closing = new undici.Client(origin);
    const last = closing.request({ path: '/slow', method: 'GET' });
    const closed = closing.close();
    await tell(witness, 'while closing', closing.request({ path: '/', method: 'GET' }));
    await tell(witness, 'the last', last);
    await closed;
    client.close((error) => witness.note('closed twice', error));
    await nextTurn();
  },

  pipelining: async ({ witness, clients: [undici], origin }) =>
    using(new undici.Pool(origin, { connections: 1, pipelining: 4 }), (pool) =>
      Promise.all(
        Array.from({ length: 12 }, async (_, index) => {
          const { body } = await pool.request({ path: `/${index}`, method: 'GET' });
          await body.text();
          witness.note('done', index);
        }),
      ),
    ),

  'faults of the server': async ({ witness, clients: [undici], origin }) => {
    for (const path of ['/hang-up', '/half-headers', '/cut', '/reset', '/garbage', '/many-headers', '/two-lengths']) {
      await using(new undici.Agent(), (dispatcher) =>
        tell(witness, path, undici.request(origin + path, { dispatcher })),
      );
    }
  },

  'a refused connection': async ({ witness, clients: [undici], deadOrigin }) => {
    for (const make of [
      () => new undici.Agent(),
      () => new undici.Client(deadOrigin),
      () => new undici.BalancedPool(deadOrigin),
    ]) {
      await using(make(), async (dispatcher) => {
        await tell(witness, 'request', dispatcher.request({ origin: deadOrigin, path: '/', method: 'GET' }));
        await witness.outcome('fetch', undici.fetch(deadOrigin, { dispatcher }));
      });
    }
  },

  'a kept connection that the server closes': async ({ witness, clients: [undici], origin }) =>
    using(new undici.Client(origin), async (client) => {
      await tell(witness, 'first', client.request({ path: '/', method: 'GET' }));
      await tell(witness, 'second', client.request({ path: '/hang-up', method: 'GET' }));
      await tell(witness, 'third', client.request({ path: '/', method: 'GET' }));
    }),

  timeouts: async ({ witness, clients: [undici], origin }) => {
    await using(new undici.Agent({ headersTimeout: 30 }), (dispatcher) =>
      tell(witness, 'headers', undici.request(`${origin}/silence`, { dispatcher })),
    );
    await using(new undici.Agent({ bodyTimeout: 30 }), (dispatcher) =>
      tell(witness, 'body', undici.request(`${origin}/silence-after-headers`, { dispatcher })),
    );
    await using(new undici.Agent(), (dispatcher) =>
      tell(witness, 'signal', undici.request(`${origin}/silence`, { dispatcher, signal: AbortSignal.timeout(20) })),
    );
  },

  aborts: async ({ witness, clients: [undici], origin }) =>
    using(new undici.Agent(), async (dispatcher) => {
      await tell(witness, 'before', undici.request(origin, { dispatcher, signal: AbortSignal.abort() }));
      const controller = new AbortController();
      const waiting = undici.request(`${origin}/silence`, { dispatcher, signal: controller.signal });
      setTimeout(() => controller.abort(new Error('mine')), 20);
      await tell(witness, 'while waiting', waiting);
      const reading = new AbortController();
      const { body } = await undici.request(`${origin}/silence-after-headers`, { dispatcher, signal: reading.signal });
      reading.abort();
      await witness.outcome('while reading', body.text());
      const { body: left } = await undici.request(`${origin}/silence-after-headers`, { dispatcher });
      left.on('error', (error) => witness.note('error of the body', error)).destroy();
      await new Promise((resolve) => left.once('close', resolve));
      const { body: dumped } = await undici.request(`${origin}/pieces`, { dispatcher });
      witness.note('dumped', await dumped.dump(), dumped.bodyUsed, dumped.destroyed);
    }),

  interceptors: async ({ witness, clients: [undici], origin }) => {
    const { interceptors } = undici;
    const above = new undici.Agent().compose(seeing(witness, 'first'), seeing(witness, 'second'));
    await using(above, (dispatcher) => tell(witness, 'seen', undici.request(origin, { dispatcher })));
    const ways = {
      redirect: ['/status/302/echo', interceptors.redirect?.({ maxRedirections: 2 })],
      retry: ['/hang-up', interceptors.retry?.({ maxRetries: 2, minTimeout: 1 })],
      'retry of a status': ['/status/503', interceptors.retry?.({ maxRetries: 1, minTimeout: 1, retryAfter: false })],
      dump: ['/large', interceptors.dump?.({ maxSize: 1_000_000 })],
      'dump of too much': ['/large', interceptors.dump?.({ maxSize: 10 })],
      responseError: ['/status/500', interceptors.responseError?.()],
      decompress: ['/json', interceptors.decompress?.()],
      cache: ['/', interceptors.cache?.()],
    };
    for (const [name, [path, interceptor]] of Object.entries(ways)) {
      if (interceptor === undefined) continue;
      await using(new undici.Agent().compose(interceptor), (dispatcher) =>
        tell(witness, name, undici.request(origin + path, { dispatcher })),
      );
    }
  },

  'an interceptor between a pool and its clients': async ({ witness, clients: [undici], origin }) => {
    const factory = (url, options) => new undici.Client(url, options).compose(seeing(witness, 'between'));
    await using(new undici.Pool(origin, { factory }), (pool) =>
      tell(witness, 'seen', pool.request({ path: '/', method: 'GET' })),
    );
  },

  mocks: async ({ witness, clients: [undici], origin, deadOrigin }) => {
    const agent = new undici.MockAgent();
    const mocked = async (dispatcher) => {
      agent.disableNetConnect();
      const pool = agent.get(deadOrigin);
      pool.intercept({ path: '/a', method: 'GET' }).reply(200, { mocked: true }, { headers: { x: '1' } });
      pool.intercept({ path: '/b', method: 'POST', body: 'x' }).replyWithError(new Error('mocked'));
      pool.intercept({ path: '/c', method: 'GET' }).reply(201, 'late').delay(5).times(2);
      await tell(witness, 'a', undici.request(`${deadOrigin}/a`, { dispatcher }));
      await tell(witness, 'b', undici.request(`${deadOrigin}/b`, { dispatcher, method: 'POST', body: 'x' }));
      await tell(witness, 'c', undici.request(`${deadOrigin}/c`, { dispatcher }));
      witness.attempt('pending', () => agent.assertNoPendingInterceptors());
      await tell(witness, 'unmatched', undici.request(`${deadOrigin}/d`, { dispatcher }));
      agent.enableNetConnect();
      await tell(witness, 'through', undici.request(`${origin}/echo`, { dispatcher }));
    };
    await using(agent, mocked, () => agent.close());
  },

  'diagnostics channels': async ({ witness, clients: [undici], origin, deadOrigin }) => {
    const listeners = CHANNELS.map((name) => {
      const listener = (message) => {
        witness.note(name, Object.keys(message));
        witness.stack(name);
        const { request } = message;
        if (request)
          witness.note(
            'request',
            request.method,
            request.path,
            String(request.origin),
            request.completed,
            request.aborted,
            Object.keys(request),
          );
        if (name === 'request:create') request.addHeader('x-added', '1');
      };
      channel(`undici:${name}`).subscribe(listener);
      return () => channel(`undici:${name}`).unsubscribe(listener);
    });
    await using(new undici.Agent(), async (dispatcher) => {
      await tell(witness, 'echo', undici.request(`${origin}/echo`, { dispatcher, method: 'POST', body: 'x' }));
      await tell(witness, 'cut', undici.request(`${origin}/cut`, { dispatcher }));
      await tell(witness, 'dead', undici.request(deadOrigin, { dispatcher }));
      await witness.outcome(
        'fetch',
        undici.fetch(origin, { dispatcher }).then((answer) => answer.text()),
      );
    });
    for (const unsubscribe of listeners) unsubscribe();
  },

  'a plain proxy and a tunnel': async ({ witness, clients: [undici], origin }) => {
    for (const proxyTunnel of [true, false]) {
      await using(new undici.ProxyAgent({ uri: origin, proxyTunnel }), (dispatcher) =>
        // What is behind the tunnel echoes the request itself, which is no answer.
        tell(
          witness,
          `tunnel: ${proxyTunnel}`,
          undici.request('http://127.0.0.1:1/x', { dispatcher, headersTimeout: 100 }),
        ),
      );
    }
  },

  'how soon a caller hears': async ({ witness, clients: [undici], origin }) =>
    using(new undici.Client(origin), async (client) => {
      const stop = witness.microtasksAfter('connect');
      await (await client.request({ path: '/', method: 'GET' })).body.text();
      stop('after the connection');
      const heard = witness.microtasksAfter('end');
      await (await client.request({ path: '/', method: 'GET' })).body.text();
      heard('after the end');
    }),

  'WebSocket and EventSource': async ({ witness, clients: [undici], origin }) =>
    using(new undici.Agent(), async (dispatcher) => {
      if (undici.WebSocket) {
        const socket = new undici.WebSocket(origin.replace('http', 'ws'), { dispatcher });
        for (const event of ['open', 'message', 'error'])
          socket.addEventListener(event, ({ type, data }) => witness.note(type, data));
        const [{ code, wasClean }] = await once(socket, 'close');
        witness.note('closed', code, wasClean);
      }
      if (undici.EventSource) {
        const source = new undici.EventSource(`${origin}/events`, { dispatcher });
        source.addEventListener('message', ({ data, lastEventId }) => witness.note('message', data, lastEventId));
        await once(source, 'mine');
        source.close();
      }
    }),
};

/** For every `fetch`: that of a package, and the one within Node. */
function fetchProbes(fetchOf) {
  const get = (context, path, options) => fetchOf(context).fetch(context.origin + path, { ...options });
  return {
    'the first of a process': async (context) => void (await (await get(context, '/')).text()),

    answers: async (context) => {
      const { witness } = context;
      for (const path of [
        '/',
        '/cookies',
        '/status/204',
        '/status/404',
        '/status/503',
        '/pieces',
        '/hints',
        '/status/302/echo',
      ]) {
        const answer = await get(context, path);
        const { status, statusText, ok, type, redirected, url, bodyUsed } = answer;
        witness.note(path, status, statusText, ok, type, redirected, url, bodyUsed, [...answer.headers]);
        witness.note('text', await answer.text(), answer.bodyUsed);
      }
    },

    'bodies of answers': async (context) => {
      const { witness } = context;
      witness.note('json', await (await get(context, '/json')).json());
      await witness.outcome('bad json', (await get(context, '/bad-json')).json());
      witness.note('form', [...(await (await get(context, '/form')).formData())]);
      witness.note('bytes', new Uint8Array(await (await get(context, '/')).arrayBuffer()));
      witness.note('blob', (await (await get(context, '/large')).blob()).size);
      const answer = await get(context, '/pieces');
      const copy = answer.clone();
      witness.note('both', await answer.text(), await copy.text());
      await witness.outcome('twice', answer.text());
      for await (const piece of (await get(context, '/')).body) witness.note('piece', piece);
      const reader = (await get(context, '/silence-after-headers')).body.getReader();
      await reader.cancel(new Error('enough'));
      witness.note('cancelled', await reader.read());
    },

    requests: async (context) => {
      const { witness, origin } = context;
      const { fetch, Request, Headers } = fetchOf(context);
      const headers = new Headers({ 'x-a': '1', Accept: 'x' });
      const request = new Request(`${origin}/echo`, { method: 'POST', body: 'asked', headers });
      const answer = await fetch(request);
      witness.note('request', await answer.text(), request.bodyUsed, answer.headers.get('x-method'));
      const stream = new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode('streamed'));
          controller.close();
        },
      });
      witness.note(
        'stream',
        await (await get(context, '/echo', { method: 'POST', body: stream, duplex: 'half' })).text(),
      );
      witness.note(
        'form',
        await (await get(context, '/count', { method: 'POST', body: new URLSearchParams({ a: 'b' }) })).text(),
      );
      await witness.outcome('a body for GET', fetch(origin, { body: 'x' }));
      await witness.outcome('no URL', fetch('no URL'));
      await witness.outcome('a protocol of its own', fetch('ftp://127.0.0.1'));
      witness.note('data', await (await fetch('data:text/plain,hello')).text());
      witness.note('manual', (await get(context, '/status/302/echo', { redirect: 'manual' })).status);
      await witness.outcome('no redirect', get(context, '/status/302/echo', { redirect: 'error' }));
    },

    'faults of the server': async (context) => {
      const { witness, deadOrigin } = context;
      const { fetch } = fetchOf(context);
      for (const path of ['/hang-up', '/half-headers', '/garbage', '/many-headers', '/two-lengths'])
        await witness.outcome(
          path,
          get(context, path).then((answer) => answer.text()),
        );
      for (const path of ['/cut', '/reset']) {
        const answer = await witness.outcome(path, get(context, path));
        if (answer) await witness.outcome('its text', answer.text());
      }
      await witness.outcome('a refused connection', fetch(deadOrigin));
    },

    aborts: async (context) => {
      const { witness } = context;
      await witness.outcome('before', get(context, '/', { signal: AbortSignal.abort() }));
      await witness.outcome('with a reason', get(context, '/', { signal: AbortSignal.abort(new Error('mine')) }));
      await witness.outcome('a timeout', get(context, '/silence', { signal: AbortSignal.timeout(20) }));
      const controller = new AbortController();
      const answer = await get(context, '/silence-after-headers', { signal: controller.signal });
      const text = answer.text();
      controller.abort();
      await witness.outcome('while reading', text);
    },

    'how soon a caller hears': async (context) => {
      const { witness } = context;
      await (await get(context, '/')).text();
      const heard = witness.microtasksAfter('data');
      await get(context, '/').then((answer) => {
        heard('after the answer');
        return answer.text();
      });
      witness.stack('after awaiting');
    },

    'an answer looked at': async (context) => {
      const { witness } = context;
      const answer = await get(context, '/');
      witness.look('answer', answer, 2);
      witness.look('headers', answer.headers, 2);
      await answer.text();
    },
  };
}

const prefixed = (prefix, some) =>
  Object.fromEntries(Object.entries(some).map(([name, probe]) => [`${prefix}: ${name}`, probe]));

Object.assign(
  probes,
  prefixed(
    'fetch',
    fetchProbes(({ clients: [undici] }) => undici),
  ),
);

const exits = {
  'a promise that nobody handles': async ({ clients: [undici], deadOrigin }) => {
    await undici.request(deadOrigin);
  },
  'an answer that nobody reads': async ({ clients: [undici], origin }) => {
    await undici.request(origin);
    console.log('answered');
  },
};

/** Lets go of connections that the agent for everybody keeps, and of timers that are kept for later. */
async function tidy({ clients: [undici] }) {
  if (undici.getGlobalDispatcher === undefined) return;
  await undici.getGlobalDispatcher().destroy();
  undici.setGlobalDispatcher(new undici.Agent());
}

/** What the packages are called. */
const names = ['undici'];

module.exports = { names, probes, exits, tidy, fetchProbes };
