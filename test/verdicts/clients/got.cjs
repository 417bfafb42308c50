'use strict';

const { timer, untilDone } = require('../caller.cjs');

// One attempt each: what is looked at is the verdict on one.
const once = { retry: { limit: 0 } };
const got = async (url, options) => (await import('got')).got(url, { ...once, ...options });
const stream = async (url) => (await import('got')).got.stream(url, once);

const common = {
  get: got,
  cancel: (url, ms) => got(url, { signal: timer(ms) }),
  unread: async (url) => {
    const body = await stream(url);
    await new Promise((resolve, reject) => body.once('response', resolve).once('error', reject));
    body.destroy();
  },
  events: async (url) => {
    const body = await stream(url);
    await untilDone(body);
    body.destroy();
  },
  mocks: ['nock', 'msw'],
};

module.exports = {
  'got, timeout': { ...common, giveUp: (url, ms) => got(url, { timeout: { request: ms } }) },
  'got, signal': { ...common, giveUp: common.cancel },
};
