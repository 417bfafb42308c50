'use strict';
const { setTimeout: delay } = require('node:timers/promises');
const http2 = require('node:http2');
const net = require('node:net');
const wrapper = require('http2-wrapper');
const serve = require('../../fixtures/http2-server.cjs');

module.exports = async () => {
  const { port, stop } = await serve();
  const dead = await serve();
  dead.stop();
  const connect = (to) => http2.connect(`http://127.0.0.1:${to}`).on('error', () => {});
  const session = connect(port);

  const get = (on, path = '/', options) =>
    new Promise((resolve, reject) => {
      const stream = on.request({ ':path': path }, options);
      let status;
      let body = '';
      stream
        .setEncoding('utf8')
        .on('response', (headers) => (status = headers[':status']))
        .on('data', (chunk) => (body += chunk))
        .on('error', reject)
        .on('close', () => resolve(`${status} ${body}`));
    });

  /** On a connection of its own, which is given up at the end. */
  const getAlone = async (to, path) => {
    const own = connect(to);
    try {
      return await get(own, path);
    } finally {
      own.destroy();
    }
  };

  /** As got does it: the request waits for a session. */
  const getWaiting = (to, timeoutMs) =>
    new Promise((resolve, reject) => {
      const agent = new wrapper.Agent();
      agent.createConnection = async () => net.connect(to, '127.0.0.1');
      const request = wrapper.request(`https://127.0.0.1:${to}/`, { agent });
      request.on('error', reject).on('response', (response) => {
        response.resume().on('end', () => resolve(response.statusCode));
      });
      request.on('close', () => agent.destroy());
      request.end();
      if (timeoutMs) setTimeout(() => request.destroy(new Error('given up')), timeoutMs);
    });

  return {
    calls: [
      { name: 'a good answer', call: () => get(session) },
      { name: 'a bad answer', call: () => get(session, '/status/500') },
      // What comes within 50 ms of the last one is the same failure.
      { name: 'nobody there', call: () => delay(60).then(() => getAlone(dead.port)) },
      { name: 'a connection of its own', call: () => getAlone(port) },
      { name: 'waiting for a session', call: () => getWaiting(port) },
      { name: 'waiting for nobody', call: () => delay(60).then(() => getWaiting(dead.port)) },
      { name: 'given up', call: () => get(session, '/silence', { signal: AbortSignal.timeout(20) }) },
      { name: 'an open circuit', call: () => get(session), open: true },
    ],
    end: () => {
      session.destroy();
      stop();
    },
  };
};
