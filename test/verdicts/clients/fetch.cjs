'use strict';

const { timer, untilDone } = require('../caller.cjs');

function waysOf(fetch) {
  const get = async (url, options) => (await fetch(url, options)).text();
  return {
    get,
    cancel: (url, ms) => get(url, { signal: timer(ms) }),
    unread: async (url) => (await fetch(url)).body.cancel(),
    events: async (url) => {
      const controller = new AbortController();
      await untilDone((await fetch(url, { signal: controller.signal })).body);
      controller.abort();
    },
    mocks: ['nock', 'msw'],
  };
}

const global = waysOf((...args) => fetch(...args));
const ky = waysOf(async (url, options) => (await import('ky')).default(url, { retry: 0, timeout: false, ...options }));

module.exports = {
  'fetch, AbortSignal.timeout()': {
    ...global,
    giveUp: (url, ms) => global.get(url, { signal: AbortSignal.timeout(ms) }),
  },
  'fetch, AbortController': { ...global, giveUp: global.cancel },
  'ky, timeout': { ...ky, giveUp: (url, ms) => ky.get(url, { timeout: ms }) },
};
