'use strict';

const { Writable } = require('node:stream');
const { timer, untilDone } = require('../caller.cjs');

function waysOf(undici) {
  const request = async (url, options) => (await undici.request(url, options)).body.text();
  const byRequest = {
    get: request,
    cancel: (url, ms) => request(url, { signal: timer(ms) }),
    unread: async (url) => (await undici.request(url)).body.dump({ limit: 1_000 }),
    events: async (url) => {
      const { body } = await undici.request(url);
      await untilDone(body);
      body.on('error', () => {}).destroy();
    },
    mocks: ['undici'],
  };

  /** @param look gets what has come so far; returns whether it has had enough */
  const stream = (url, options, look = () => false) =>
    new Promise((resolve, reject) => {
      let text = '';
      const sink = new Writable({
        write: (chunk, _encoding, done) => {
          text += chunk;
          if (look(text)) sink.destroy();
          done();
        },
      });
      undici
        .stream(url, { method: 'GET', ...options }, () => sink)
        .then(resolve, (error) => (sink.destroyed && text !== '' ? resolve() : reject(error)));
    });
  const byStream = {
    get: stream,
    cancel: (url, ms) => stream(url, { signal: timer(ms) }),
    unread: (url) => stream(url, {}, () => true),
    events: (url) => stream(url, {}, (text) => text.includes('DONE')),
    mocks: ['undici'],
  };

  const fetched = async (url, options) => (await undici.fetch(url, options)).text();
  const byFetch = {
    get: fetched,
    cancel: (url, ms) => fetched(url, { signal: timer(ms) }),
    unread: async (url) => (await undici.fetch(url)).body.cancel(),
    events: async (url) => {
      const controller = new AbortController();
      await untilDone((await undici.fetch(url, { signal: controller.signal })).body);
      controller.abort();
    },
    mocks: ['undici'],
  };
  return { byRequest, byStream, byFetch };
}

const six = waysOf(require('undici6'));
const seven = waysOf(require('undici'));

module.exports = {
  'undici 7, request()': { ...seven.byRequest, giveUp: seven.byRequest.cancel },
  'undici 7, request(), AbortSignal.timeout()': {
    ...seven.byRequest,
    giveUp: (url, ms) => seven.byRequest.get(url, { signal: AbortSignal.timeout(ms) }),
  },
  'undici 7, stream()': { ...seven.byStream, giveUp: seven.byStream.cancel },
  'undici 7, fetch()': { ...seven.byFetch, giveUp: seven.byFetch.cancel },
  'undici 6, request()': { ...six.byRequest, giveUp: six.byRequest.cancel },
};
