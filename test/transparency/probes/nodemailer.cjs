// What applications do with `nodemailer` and SMTP.
'use strict';

const { syncBuiltinESMExports } = require('node:module');
const net = require('node:net');
const { Readable } = require('node:stream');
const tls = require('node:tls');
const { heard, nextTurn } = require('./witness.cjs');

const host = '127.0.0.1';

/** The sockets of a probe: transports do not tell when they have closed theirs. */
const sockets = [];
for (const module of [net, tls]) {
  const { connect } = module;
  module.connect = (...args) => {
    const socket = connect(...args);
    sockets.push(socket);
    return socket;
  };
}
syncBuiltinESMExports();

// What a message is sent through: it is full before the server wants it, or after. The bytes are looked at on the wire.
const unheard = /^(?:LastNewline|PassThrough|Encoder) /;

/** As a service that starts: of ES modules, nodemailer is met when the first transport is made, and that takes some promises. */
async function prepare({ clients: [nodemailer] }) {
  nodemailer.createTransport({ host });
  await new Promise((resolve) => setTimeout(resolve, 100));
}

async function tidy() {
  for (const socket of sockets.splice(0)) if (!socket.closed) await heard(socket, 'close');
  await nextTurn();
}

/** What would differ by itself is given. */
const STEADY = { messageId: '<message@example.com>', date: new Date(0) };
const MESSAGE = { from: 'us@example.com', to: 'you@example.com', subject: 'Hello', text: 'Hello', ...STEADY };

/** What became of a message, but for the times it took. */
const told = (info) =>
  info && {
    keys: Object.keys(info),
    ...Object.fromEntries(
      ['accepted', 'rejected', 'rejectedErrors', 'ehlo', 'messageSize', 'response', 'envelope', 'messageId'].map(
        (key) => [key, info[key]],
      ),
    ),
  };

const send = (witness, what, transport, message) =>
  witness.outcome(what, transport.sendMail({ ...MESSAGE, ...message }).then(told));

const probe =
  (use, options) =>
  async ({ witness, clients: [nodemailer, SMTPConnection], port, ...rest }) => {
    const transport = nodemailer.createTransport({ host, port, ignoreTLS: true, ...options });
    transport.on('error', (error) => witness.note('transport: error', error));
    transport.on('idle', () => witness.note('transport: idle'));
    try {
      await use({ witness, nodemailer, SMTPConnection, transport, port, ...rest });
    } finally {
      transport.close();
    }
  };

const POOL = { pool: true, maxConnections: 1 };

const probes = {
  messages: probe(async ({ witness, transport }) => {
    await send(witness, 'text', transport, {});
    await send(witness, 'html', transport, { html: '<b>Hello</b>', baseBoundary: 'boundary' });
    const attachments = [{ filename: 'a.txt', content: 'attached' }];
    await send(witness, 'attachment', transport, { attachments, baseBoundary: 'boundary' });
    await send(witness, 'two', transport, { to: ['you@example.com', 'them@example.com'], cc: 'all@example.com' });
    await send(witness, 'envelope', transport, { envelope: { from: 'bounce@example.com', to: ['me@example.com'] } });
    await send(witness, 'stream', transport, { text: Readable.from(['Hel', 'lo']) });
    await send(witness, 'raw', transport, {
      raw: 'Subject: Hello\r\n\r\nHello',
      envelope: { from: 'a@b.c', to: 'd@e.f' },
    });
  }),

  callbacks: probe(async ({ witness, transport }) => {
    for (const to of ['you@example.com', 'refused@example.com']) {
      await new Promise((resolve) => {
        const returned = transport.sendMail({ ...MESSAGE, to }, (error, info) => {
          witness.note('called', error, told(info));
          witness.stack('called');
          resolve();
        });
        witness.note('returned', returned);
      });
    }
  }),

  'what a server refuses': probe(async ({ witness, transport }) => {
    await send(witness, 'a recipient', transport, { to: 'refused@example.com' });
    await send(witness, 'one of two', transport, { to: ['you@example.com', 'refused@example.com'] });
    await send(witness, 'a sender', transport, { from: 'code-550@example.com' });
    await send(witness, 'for now', transport, { from: 'code-451@example.com' });
    await send(witness, 'all', transport, { from: 'code-421@example.com' });
    await send(witness, 'and then', transport, {});
  }),

  'logging in': async ({ witness, clients: [nodemailer], port }) => {
    for (const auth of [{ user: 'me', pass: 'right' }, { user: 'me', pass: 'wrong' }, { user: 'me' }]) {
      const transport = nodemailer.createTransport({ host, port, ignoreTLS: true, auth });
      await send(witness, 'login', transport, {});
    }
    const transport = nodemailer.createTransport({ host, port, ignoreTLS: true, authMethod: 'PLAIN' });
    await send(witness, 'for one message', transport, { auth: { user: 'you', pass: 'right' } });
  },

  TLS: async ({ witness, clients: [nodemailer], port, tlsPort, ca }) => {
    await send(witness, 'STARTTLS', nodemailer.createTransport({ host, port, tls: { ca } }), {});
    await send(witness, 'required', nodemailer.createTransport({ host, port, requireTLS: true, tls: { ca } }), {});
    await send(witness, 'a stranger', nodemailer.createTransport({ host, port }), {});
    const secure = { host, port: tlsPort, secure: true, ignoreTLS: true };
    await send(witness, 'from the start', nodemailer.createTransport({ ...secure, tls: { ca } }), {});
    await send(witness, 'a stranger from the start', nodemailer.createTransport(secure), {});
  },

  verify: probe(async ({ witness, nodemailer, transport, port, deadPort }) => {
    await witness.outcome('verify', transport.verify());
    await new Promise((resolve) => {
      transport.verify((...args) => {
        witness.note('verified', args);
        resolve();
      });
    });
    const wrong = { host, port, ignoreTLS: true, auth: { user: 'me', pass: 'wrong' } };
    await witness.outcome('a wrong password', nodemailer.createTransport(wrong).verify());
    await witness.outcome('nobody there', nodemailer.createTransport({ host, port: deadPort }).verify());
  }),

  'a pool': probe(async ({ witness, transport }) => {
    witness.note('idle', transport.isIdle());
    await Promise.all([1, 2, 3].map((n) => send(witness, `message ${n}`, transport, {})));
    await send(witness, 'refused', transport, { to: 'refused@example.com' });
    await send(witness, 'after that', transport, {});
    await witness.outcome('verify', transport.verify());
    const waiting = [1, 2].map((n) => send(witness, `closed ${n}`, transport, {}));
    transport.close();
    await Promise.all(waiting);
    await send(witness, 'closed', transport, {});
  }, POOL),

  'a pool whose server hangs up': probe(async ({ witness, transport }) => {
    await send(witness, 'before', transport, {});
    await send(witness, 'all', transport, { from: 'code-421@example.com' });
    await send(witness, 'after', transport, {});
  }, POOL),

  'a pool with a rate': probe(
    ({ witness, transport }) => Promise.all([1, 2, 3].map((n) => send(witness, `message ${n}`, transport, {}))),
    { ...POOL, rateLimit: 2, rateDelta: 50 },
  ),

  'many at once': probe(async ({ witness, transport }) => {
    const sent = Array.from({ length: 4 }, () => transport.sendMail(MESSAGE));
    witness.note('answers', (await Promise.all(sent)).length);
  }, POOL),

  'nobody there': async ({ witness, clients: [nodemailer], deadPort }) => {
    await send(witness, 'transport', nodemailer.createTransport({ host, port: deadPort }), {});
    const pool = nodemailer.createTransport({ host, port: deadPort, pool: true });
    await send(witness, 'pool', pool, {});
    pool.close();
  },

  'a server that never answers': probe(
    async ({ witness, transport }) => {
      await send(witness, 'silence', transport, { from: 'silent@example.com' });
    },
    { socketTimeout: 40 },
  ),

  'callers that leave': probe(async ({ witness, transport }) => {
    await send(witness, 'before', transport, { signal: AbortSignal.abort() });
    const gone = new AbortController();
    setTimeout(() => gone.abort(new Error('mine')), 40);
    await send(witness, 'meanwhile', transport, { from: 'silent@example.com', signal: gone.signal });
    await send(witness, 'too late', transport, { from: 'silent@example.com', signal: AbortSignal.timeout(40) });
  }),

  'wrong arguments': probe(async ({ witness, nodemailer, transport }) => {
    await witness.outcome('nothing', transport.sendMail(STEADY));
    await send(witness, 'nobody', transport, { to: '' });
    await send(witness, 'no text', transport, { text: { path: '/nowhere/at/all' } });
    witness.attempt('no message', () => transport.sendMail(null, () => {}));
    witness.attempt('no options', () => nodemailer.createTransport(null));
  }),

  'a connection of one’s own': async ({ witness, clients: [, SMTPConnection], port, deadPort }) => {
    const connection = new SMTPConnection({ host, port, ignoreTLS: true });
    for (const event of ['connect', 'error', 'end']) {
      connection.on(event, (...args) => {
        witness.note(`connection: ${event}`, ...args);
        witness.stack(`connection: ${event}`);
      });
    }
    const ended = heard(connection, 'end');
    await new Promise((resolve) => connection.connect(resolve));
    await new Promise((resolve) => connection.login({ user: 'me', pass: 'right' }, resolve));
    for (const to of ['you@example.com', 'refused@example.com']) {
      await new Promise((resolve) => {
        connection.send({ from: 'us@example.com', to: [to] }, 'Subject: Hello\r\n\r\nHello', (error, info) => {
          witness.note('sent', error, told(info));
          resolve();
        });
      });
    }
    connection.quit();
    await ended;
    const lost = new SMTPConnection({ host, port: deadPort });
    lost.connect(() => witness.note('never'));
    witness.note('lost', await new Promise((resolve) => lost.once('error', resolve)));
  },

  'how soon a caller hears': probe(async ({ witness, transport }) => {
    await transport.sendMail(MESSAGE);
    const stop = witness.microtasksAfter('data');
    await transport.sendMail(MESSAGE);
    stop('after the answer');
    witness.stack('after awaiting');
  }, POOL),

  'other transports': async ({ witness, clients: [nodemailer] }) => {
    await send(witness, 'json', nodemailer.createTransport({ jsonTransport: true }), {});
    const stream = nodemailer.createTransport({ streamTransport: true, buffer: true });
    await send(witness, 'stream', stream, {});
  },
};

const exits = {
  'a promise that nobody handles': async ({ clients: [nodemailer], deadPort }) => {
    void nodemailer.createTransport({ host, port: deadPort }).sendMail(MESSAGE);
  },
  'a callback that throws': async ({ clients: [nodemailer], deadPort }) => {
    nodemailer.createTransport({ host, port: deadPort }).sendMail(MESSAGE, () => {
      throw new Error('mine');
    });
  },
  'a message sent does not keep the process': async ({ clients: [nodemailer], port }) => {
    const { response } = await nodemailer.createTransport({ host, port, ignoreTLS: true }).sendMail(MESSAGE);
    console.log(response);
  },
};

/** What the packages are called. */
const names = ['nodemailer', 'SMTPConnection'];

module.exports = { names, probes, exits, prepare, tidy, unheard };
