'use strict';

const { timer, untilDone } = require('../caller.cjs');

function waysOf(load) {
  const get = async (url, options) => {
    const fetch = await load();
    return (await fetch(url, options)).text();
  };
  // By a signal: what version 2 does with a body that is destroyed is nothing.
  const open = async (url, use) => {
    const controller = new AbortController();
    const { body } = await (await load())(url, { signal: controller.signal });
    body.on('error', () => {});
    await use(body);
    controller.abort();
  };
  return {
    get,
    cancel: (url, ms) => get(url, { signal: timer(ms) }),
    unread: (url) => open(url, () => {}),
    events: (url) => open(url, untilDone),
    mocks: ['nock', 'msw'],
  };
}

const two = waysOf(() => require('node-fetch2'));
const three = waysOf(async () => (await import('node-fetch')).default);

module.exports = {
  'node-fetch 2, timeout': { ...two, giveUp: (url, ms) => two.get(url, { timeout: ms }) },
  'node-fetch 2, signal': { ...two, giveUp: two.cancel },
  'node-fetch 3, signal': { ...three, giveUp: three.cancel },
};
