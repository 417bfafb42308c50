// What applications do with `http` and `https`.
'use strict';

const { once } = require('node:events');
const { connect } = require('node:net');
const { PassThrough, Readable, pipeline } = require('node:stream');
const { nextTurn } = require('./witness.cjs');

const host = '127.0.0.1';

/** Runs a request to its close. What happens on the way is heard by the witness; only errors need somebody to take them. */
async function closed(req) {
  req.on('error', () => {});
  if (!req.closed) await new Promise((resolve) => req.once('close', resolve));
}

/** The same, with the answer read. */
async function read(req, witness) {
  req.on('response', (res) => {
    witness?.note('answer', res.statusCode, res.statusMessage, res.httpVersion, res.rawHeaders);
    res.on('error', () => {});
    res.resume();
    res.on('end', () => witness?.note('complete', res.complete, res.rawTrailers));
  });
  await closed(req);
}

const text = async (readable) => Buffer.concat(await readable.toArray()).toString();

async function withAgent(agent, use) {
  try {
    await use(agent);
  } finally {
    agent.destroy();
    await nextTurn();
  }
}

const probes = {
  'a GET': ({ witness, clients: [http], port }) => read(http.get({ host, port }), witness),

  'every form of arguments': async ({ witness, clients: [http], port }) => {
    const url = `http://${host}:${port}/form?a=1`;
    const forms = [[url], [new URL(url)], [url, { method: 'GET' }], [{ host, port, path: '/form?a=1' }]];
    for (const form of forms) {
      await read(http.request(...form).end(), witness);
      const req = http.get(...form, (res) => res.resume());
      witness.note('a callback is a listener', req.listeners('response').length);
      await closed(req);
    }
  },

  'wrong arguments': async ({ witness, clients: [http], port }) => {
    for (const options of [
      { path: '/a b' },
      { method: 'G T' },
      { protocol: 'ftp:' },
      { headers: { 'x y': '1' } },
      { headers: { x: 'a\nb' } },
      { agent: 'agent' },
      { agent: {} },
      { insecureHTTPParser: 1 },
      { setHost: 1 },
      { timeout: 'long' },
      { signal: 'stop' },
    ]) {
      const req = witness.attempt(JSON.stringify(options), () => http.request({ host, port, ...options }));
      if (req !== undefined) await closed(req.destroy());
    }
    witness.attempt('no URL', () => http.get('no URL'));
    witness.attempt('nothing', () => http.request(undefined, 3));
  },

  'a HEAD': ({ witness, clients: [http], port }) => read(http.request({ host, port, method: 'HEAD' }).end(), witness),

  'answers without a body and with failures': async ({ witness, clients: [http], port }) => {
    for (const status of [204, 304, 301, 404, 429, 500, 503])
      await read(http.get({ host, port, path: `/status/${status}` }), witness);
  },

  'headers as they are set': async ({ witness, clients: [http], port }) => {
    const req = http.request({
      host,
      port,
      path: '/echo',
      method: 'POST',
      headers: { 'X-One': '1', accept: ['a', 'b'] },
    });
    req.setHeader('X-Two', ['2', 'II']);
    req.setHeader('x-gone', 'x');
    req.removeHeader('X-Gone');
    witness.note('headers', req.getHeaders(), req.getHeaderNames(), req.getRawHeaderNames(), req.hasHeader('x-two'));
    req.setNoDelay(true);
    req.setSocketKeepAlive(true, 1_000);
    req.flushHeaders();
    witness.attempt('a header too late', () => req.setHeader('x-late', '1'));
    req.end('body');
    await read(req, witness);
  },

  'raw headers as an array, no default ones': ({ witness, clients: [http], port }) =>
    read(
      http.get({ host, port, setHost: false, setDefaultHeaders: false, headers: ['Host', 'a', 'X', '1', 'X', '2'] }),
      witness,
    ),

  'credentials and a default port': async ({ clients: [http], port }) => {
    await read(http.get({ host, port, auth: 'me:secret', path: '/echo' }));
    await read(http.get({ host, defaultPort: port, family: 4, path: '/echo' }));
  },

  'a POST in pieces, corked and with trailers': async ({ witness, clients: [http], port }) => {
    const req = http.request({ host, port, path: '/echo', method: 'POST', headers: { trailer: 'x-sum' } });
    req.cork();
    witness.note(
      'write',
      req.write('one'),
      req.write(Buffer.from('two'), () => witness.note('written')),
    );
    req.uncork();
    req.addTrailers({ 'x-sum': '6' });
    req.end('three', () => witness.note('ended', req.writableFinished));
    await read(req, witness);
    witness.attempt('a write after the end', () => req.write('late'));
    req.end();
  },

  'a POST larger than buffers': async ({ witness, clients: [http], port }) => {
    const req = http.request({ host, port, path: '/count', method: 'POST' });
    const chunk = Buffer.alloc(64 * 1024, 'x');
    let left = 30;
    const more = () => {
      while (left-- > 0) if (!req.write(chunk)) return;
      req.removeListener('drain', more);
      req.end();
    };
    req.on('drain', more);
    req.on('response', async (res) => witness.note('counted', await text(res)));
    more();
    await closed(req);
  },

  'a stream piped into a request': async ({ witness, clients: [http], port }) => {
    const req = http.request({ host, port, path: '/echo', method: 'POST' });
    pipeline(Readable.from(['a', 'b', 'c']), req, (error) => witness.note('piped', error));
    await read(req, witness);
  },

  'a stream that breaks while it is piped': async ({ witness, clients: [http], port }) => {
    const req = http.request({ host, port, path: '/echo', method: 'POST' });
    async function* broken() {
      yield 'a';
      await nextTurn();
      throw new Error('broken');
    }
    pipeline(Readable.from(broken()), req, (error) => witness.note('piped', error));
    await closed(req);
  },

  'Expect: 100-continue': async ({ witness, clients: [http], port }) => {
    const headers = { expect: '100-continue' };
    const req = http.request({ host, port, path: '/echo', method: 'POST', headers });
    req.on('continue', () => req.end('now'));
    await read(req, witness);
    const refused = http.request({ host, port, path: '/refuses', method: 'POST', headers });
    refused.flushHeaders();
    refused.on('response', () => refused.end());
    await read(refused, witness);
  },

  'early hints': ({ witness, clients: [http], port }) => read(http.get({ host, port, path: '/hints' }), witness),

  'trailers in an answer': ({ witness, clients: [http], port }) =>
    read(http.get({ host, port, path: '/trailers' }), witness),

  'an upgrade': async ({ witness, clients: [http], port }) => {
    const req = http.get({ host, port, headers: { connection: 'upgrade', upgrade: 'echo' } });
    const [res, socket, head] = await once(req, 'upgrade');
    witness.note('upgraded', res.statusCode, head);
    witness.listeners('socket', socket);
    socket.end('hello');
    witness.note('socket says', await text(socket));
  },

  'an upgrade that nobody listens for': ({ clients: [http], port }) =>
    closed(http.get({ host, port, headers: { connection: 'upgrade', upgrade: 'echo' } })),

  'a CONNECT': async ({ witness, clients: [http], port }) => {
    const req = http.request({ host, port, method: 'CONNECT', path: 'example.org:443' }).end();
    const [res, socket] = await once(req, 'connect');
    witness.note('connected', res.statusCode);
    socket.end('hello');
    witness.note('socket says', await text(socket));
  },

  'an answer that nobody listens for': ({ clients: [http], port }) => closed(http.get({ host, port })),

  'an answer read as an iterable, paused and piped': async ({ witness, clients: [http], port }) => {
    const [iterated] = await once(http.get({ host, port, path: '/pieces' }), 'response');
    for await (const piece of iterated) witness.note('piece', String(piece).length > 0);
    const [paused] = await once(http.get({ host, port, path: '/pieces' }), 'response');
    paused.pause();
    await nextTurn();
    witness.note('read', await text(paused));
    const [piped] = await once(http.get({ host, port, path: '/pieces' }), 'response');
    await once(pipeline(piped, new PassThrough(), () => {}).resume(), 'end');
    witness.listeners('answer', piped);
  },

  'a refused connection': async ({ witness, clients: [http], deadPort }) => {
    const req = http.get({ host, port: deadPort });
    req.on('error', (error) => witness.note('error', error));
    await closed(req);
    witness.note('state', req.destroyed, req.aborted, req.socket?.destroyed, req.writableEnded);
  },

  'a name that does not resolve': ({ clients: [http] }) => {
    const lookup = (name, options, done) =>
      process.nextTick(
        done,
        Object.assign(new Error(`no ${name}`), { code: 'ENOTFOUND', options: Object.keys(options) }),
      );
    return closed(http.get({ host: 'nowhere.invalid', lookup }));
  },

  'a lookup of one’s own': ({ witness, clients: [http], port }) => {
    const lookup = (name, options, done) => {
      witness.note('asked for', name, options);
      done(null, options.all ? [{ address: host, family: 4 }] : host, 4);
    };
    return read(http.get({ host: 'somewhere.invalid', port, lookup, autoSelectFamily: false }), witness);
  },

  'a hang-up before, within and after headers': async ({ witness, clients: [http], port }) => {
    for (const path of ['/hang-up', '/half-headers', '/cut', '/reset'])
      await read(http.get({ host, port, path }), witness);
  },

  'garbage and too many headers': async ({ witness, clients: [http], port }) => {
    for (const path of ['/garbage', '/many-headers', '/two-lengths'])
      await read(http.get({ host, port, path }), witness);
    await read(http.get({ host, port, path: '/many-headers', maxHeaderSize: 100_000 }), witness);
    await read(http.get({ host, port, path: '/two-lengths', insecureHTTPParser: true }), witness);
  },

  'a destroy at once, before, within and after the answer': async ({ witness, clients: [http], port }) => {
    const why = new Error('no');
    await closed(http.get({ host, port }).destroy());
    await closed(http.get({ host, port }).destroy(why));
    const silent = http.get({ host, port, path: '/silence' });
    silent.on('socket', (socket) => socket.on('connect', () => silent.destroy(why)));
    await closed(silent);
    const answered = http.get({ host, port, path: '/silence-after-headers' });
    answered.on('response', () => answered.destroy(why));
    await closed(answered);
    const done = http.get({ host, port });
    await read(done);
    done.destroy(why);
    witness.note('state', done.destroyed, done.aborted);
  },

  'an answer destroyed': async ({ witness, clients: [http], port }) => {
    for (const why of [undefined, new Error('enough')]) {
      const req = http.get({ host, port, path: '/silence-after-headers' });
      req.on('response', (res) => {
        res.on('error', (error) => witness.note('error of the answer', error));
        res.destroy(why);
      });
      await closed(req);
    }
  },

  'an abort of the old kind': async ({ clients: [http], port }) => {
    const before = http.get({ host, port });
    before.abort();
    await closed(before);
    const within = http.get({ host, port, path: '/silence-after-headers' });
    within.on('response', (res) => {
      res.on('error', () => {});
      within.abort();
    });
    await closed(within);
  },

  signals: async ({ witness, clients: [http], port }) => {
    await closed(http.get({ host, port, signal: AbortSignal.abort() }));
    await closed(http.get({ host, port, signal: AbortSignal.abort(new Error('mine')) }));
    const controller = new AbortController();
    const req = http.get({ host, port, path: '/silence', signal: controller.signal });
    req.on('error', (error) => witness.note('error', error));
    req.on('socket', (socket) => socket.on('connect', () => controller.abort()));
    await closed(req);
    await closed(http.get({ host, port, path: '/silence', signal: AbortSignal.timeout(20) }));
  },

  timeouts: async ({ witness, clients: [http], port }) => {
    const byOption = http.get({ host, port, path: '/silence', timeout: 20 });
    byOption.on('timeout', () => byOption.destroy(new Error('too long')));
    await closed(byOption);
    const byMethod = http.get({ host, port, path: '/silence' });
    byMethod.setTimeout(20, () => byMethod.destroy());
    await closed(byMethod);
    const patient = http.get({ host, port, path: '/slow', timeout: 20 });
    patient.once('timeout', () => witness.note('waits on'));
    await read(patient);
    const ofAnswer = http.get({ host, port, path: '/silence-after-headers' });
    ofAnswer.on('response', (res) => {
      res.on('error', () => {});
      res.setTimeout(20, () => res.destroy());
    });
    await closed(ofAnswer);
  },

  'keep-alive': async ({ witness, clients: [http], port }) => {
    await withAgent(new http.Agent({ keepAlive: true }), async (agent) => {
      for (let call = 0; call < 3; call++) {
        const req = http.get({ host, port, agent });
        await read(req);
        witness.note('reused', req.reusedSocket);
      }
      const [sockets] = Object.values(agent.freeSockets);
      witness.note('free', Object.keys(agent.freeSockets).length, sockets.length);
      witness.listeners('a free socket', sockets[0]);
      witness.listeners('agent', agent);
      witness.look('agent', agent, 1);
      witness.note('name', agent.getName({ host, port: 1 }));
    });
  },

  'a kept connection that the server closes': async ({ witness, clients: [http], port }) => {
    await withAgent(new http.Agent({ keepAlive: true }), async (agent) => {
      await read(http.get({ host, port, agent }));
      const req = http.get({ host, port, agent, path: '/hang-up' });
      await closed(req);
      witness.note('reused', req.reusedSocket);
    });
  },

  'requests that wait for a socket': async ({ witness, clients: [http], port }) => {
    await withAgent(new http.Agent({ keepAlive: true, maxSockets: 1 }), async (agent) => {
      const requests = ['/1', '/2', '/3', '/4'].map((path) => http.get({ host, port, path, agent }));
      witness.note('waiting', Object.values(agent.requests)[0].length, agent.totalSocketCount);
      requests[2].destroy();
      await Promise.all(requests.map((req) => read(req)));
      witness.note('left', Object.keys(agent.requests), Object.keys(agent.sockets));
    });
  },

  'an agent destroyed while requests wait': async ({ clients: [http], port }) => {
    const agent = new http.Agent({ maxSockets: 1 });
    const requests = ['/silence', '/2'].map((path) => http.get({ host, port, path, agent }));
    await once(requests[0], 'socket');
    const first = closed(requests[0]);
    agent.destroy();
    await first;
    await read(requests[1]);
  },

  'no agent': ({ witness, clients: [http], port }) => read(http.get({ host, port, agent: false }), witness),

  'a connection of one’s own': async ({ witness, clients: [http], port }) => {
    await read(http.get({ host, createConnection: () => connect(port, host) }), witness);
    await read(
      http.get({ host, port, agent: false, createConnection: (options, done) => void done(null, connect(port, host)) }),
    );
    const fails = (_, done) => void done(new Error('no connection'));
    const throws = () => {
      throw new Error('none');
    };
    for (const createConnection of [fails, throws]) {
      const [error] = await once(http.get({ host, port, createConnection }), 'error');
      witness.note('error', error);
    }
  },

  'agents of one’s own': async ({ witness, clients: [http], port }) => {
    class Asked extends http.Agent {
      addRequest(req, options, ...more) {
        witness.note('addRequest', Object.keys(options), more);
        witness.stack('addRequest');
        return super.addRequest(req, options, ...more);
      }
      createConnection(options, done) {
        witness.note('createConnection', Object.keys(options));
        return super.createConnection(options, done);
      }
      reuseSocket(socket, req) {
        witness.note('reuseSocket');
        super.reuseSocket(socket, req);
      }
      keepSocketAlive(socket) {
        witness.note('keepSocketAlive');
        return super.keepSocketAlive(socket);
      }
    }
    await withAgent(new Asked({ keepAlive: true }), async (agent) => {
      await read(http.get({ host, port, agent }));
      await read(http.get({ host, port, agent }));
    });
    const minimal = { addRequest: (req) => req.onSocket(connect(port, host)), defaultPort: 80, protocol: 'http:' };
    await read(http.get({ host, port, agent: minimal }));
    await read(http.get({ host, port, agent: minimal }));
    const late = { addRequest: (req) => setImmediate(() => req.onSocket(null, new Error('no socket'))) };
    await read(http.get({ host, port, agent: late }));
  },

  'a unix socket': ({ witness, clients: [http], socketPath }) => read(http.get({ socketPath, path: '/u' }), witness),

  https: async ({ witness, clients: [, https], tlsPort, ca }) => {
    await withAgent(new https.Agent({ keepAlive: true, ca }), async (agent) => {
      for (let call = 0; call < 2; call++) {
        const req = https.get({ host, servername: 'localhost', port: tlsPort, agent });
        await read(req, witness);
        witness.note('reused', req.reusedSocket);
      }
    });
    const unknown = https.get({ host, port: tlsPort, agent: false });
    unknown.on('error', (error) => witness.note('error', error));
    await closed(unknown);
    witness.attempt('http by https', () => https.get('http://localhost'));
  },

  'no TLS where it is expected': ({ witness, clients: [, https], port }) =>
    read(https.get({ host, port, agent: false }), witness),

  'ten at once, in their order': async ({ witness, clients: [http], port }) => {
    const paths = Array.from({ length: 10 }, (_, index) => `/${index}`);
    await withAgent(new http.Agent({ maxSockets: 2 }), (agent) =>
      Promise.all(
        paths.map(async (path) => {
          const req = http.get({ host, port, path, agent });
          await read(req);
          witness.note('done', path);
        }),
      ),
    );
  },

  'one call within the callback of another': async ({ witness, clients: [http], port }) => {
    await withAgent(
      new http.Agent({ keepAlive: true }),
      (agent) =>
        new Promise((resolve) => {
          const next = (left) =>
            http.get({ host, port, agent }, (res) => {
              res.resume().on('end', () => {
                if (left > 1) return next(left - 1);
                witness.stack('the last of 30');
                resolve();
              });
            });
          next(30);
        }),
    );
  },

  'the stack below listeners': async ({ witness, clients: [http], port }) => {
    const req = http.get({ host, port });
    for (const event of ['socket', 'finish', 'response', 'close']) req.once(event, () => witness.stack(event));
    req.once('response', (res) =>
      res.once('data', () => witness.stack('data')).once('end', () => witness.stack('end')),
    );
    await closed(req);
  },

  'a request looked at': async ({ witness, clients: [http], port }) => {
    const req = http.get({ host, port, headers: { a: '1' } });
    witness.look('at its start', req, 1);
    const [res] = await once(req, 'response');
    witness.look('with its answer', req, 1);
    witness.look('its answer', res, 1);
    res.resume();
    await closed(req);
    witness.look('when it is closed', req, 1);
    witness.note('copied', Reflect.ownKeys({ ...req }).map(String), res.headers);
  },

  'listeners that take errors as promises': async ({ witness, clients: [http], port }) => {
    const req = http.request({ host, port, captureRejections: true });
    req.on('response', async (res) => {
      res.resume();
      await Promise.reject(new Error('in a listener'));
    });
    req.end();
    await closed(req);
    witness.note('destroyed', req.destroyed);
  },

  'events sent to a request by others': async ({ witness, clients: [http], port }) => {
    const req = http.get({ host, port });
    req.on('mine', (...args) => witness.note('mine', args));
    witness.note('emit', req.emit('mine', 1, 2, 3), req.emit('nobodys'));
    await read(req);
  },
};

/** Programs of which only the end is looked at: what they print, and how they exit. */
const exits = {
  'an error that nobody listens for': ({ clients: [http], deadPort }) => void http.get({ host, port: deadPort }),
  'a listener that throws': ({ clients: [http], port }) =>
    void http.get({ host, port }, () => {
      throw new Error('in a listener');
    }),
  'a promise that nobody handles': async ({ clients: [http], deadPort }) => {
    await once(http.get({ host, port: deadPort }), 'response');
  },
  'a kept connection does not keep the process': ({ clients: [http], port }) => {
    const agent = new http.Agent({ keepAlive: true });
    http.get({ host, port, agent }, (res) => res.resume().on('end', () => console.log('read')));
    process.on('exit', (code) => console.log('exit', code));
  },
};

/** Lets go of connections that agents of Node's own keep. */
function tidy({ clients }) {
  for (const { globalAgent } of clients) globalAgent.destroy();
}

/** What the packages are called. */
const names = ['http', 'https'];

module.exports = { names, probes, exits, tidy };
