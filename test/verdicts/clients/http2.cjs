'use strict';

const http2 = require('node:http2');
const { timer, untilDone } = require('../caller.cjs');

/** By origin, the sessions that nobody uses just now: as an agent keeps connections. */
const idle = new Map();

/** A request, on a session that it has for itself. */
function open(url, options) {
  const { origin, pathname } = new URL(url);
  const sessions = idle.get(origin) ?? [];
  idle.set(origin, sessions);
  const session = sessions.pop() ?? http2.connect(origin).on('error', () => {});
  const stream = session.request({ ':path': pathname }, options);
  stream.on('close', () => {
    if (!session.closed && !session.destroyed) sessions.push(session);
  });
  session.on('close', () => sessions.includes(session) && sessions.splice(sessions.indexOf(session), 1));
  return stream;
}

/** @param prepare gives the request up */
async function get(url, options, prepare = () => {}) {
  const stream = open(url, options);
  prepare(stream);
  let status;
  stream.on('response', (headers) => (status = headers[':status']));
  let text = '';
  for await (const chunk of stream.setEncoding('utf8')) text += chunk;
  if (status === undefined || stream.rstCode !== 0) throw new Error(`no answer, code ${stream.rstCode}`);
  return text;
}

const common = {
  get,
  // Connections that are lost together, after they have answered, are one event.
  inTurn: ['cut'],
  cancel: (url, ms) => get(url, { signal: timer(ms) }),
  unread: async (url) => {
    const stream = open(url);
    await new Promise((resolve, reject) => stream.on('response', resolve).on('error', reject));
    stream.close(http2.constants.NGHTTP2_CANCEL);
  },
  events: async (url) => {
    const stream = open(url);
    await untilDone(stream);
    stream.close(http2.constants.NGHTTP2_CANCEL);
  },
};

module.exports = {
  'http2, setTimeout()': {
    ...common,
    giveUp: (url, ms) =>
      get(url, {}, (stream) => stream.setTimeout(ms, () => stream.close(http2.constants.NGHTTP2_CANCEL))),
  },
  'http2, AbortSignal.timeout()': {
    ...common,
    giveUp: (url, ms) => get(url, { signal: AbortSignal.timeout(ms) }),
  },
  'http2, a timer and close()': {
    ...common,
    giveUp: (url, ms) =>
      get(url, {}, (stream) => {
        const timeout = setTimeout(() => stream.close(http2.constants.NGHTTP2_CANCEL), ms);
        stream.on('close', () => clearTimeout(timeout));
      }),
  },
};
