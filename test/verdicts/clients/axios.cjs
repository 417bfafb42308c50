'use strict';

const axios = require('axios').default;
const { timer, untilDone } = require('../caller.cjs');

const common = {
  get: (url) => axios.get(url),
  cancel: (url, ms) => axios.get(url, { signal: timer(ms) }),
  unread: async (url) => (await axios.get(url, { responseType: 'stream' })).data.destroy(),
  events: async (url) => {
    const { data } = await axios.get(url, { responseType: 'stream' });
    await untilDone(data);
    data.destroy();
  },
  mocks: ['nock', 'msw'],
};

module.exports = {
  'axios, timeout': { ...common, giveUp: (url, ms) => axios.get(url, { timeout: ms }) },
  'axios, signal': { ...common, giveUp: common.cancel },
};
