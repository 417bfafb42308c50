'use strict';

const http = require('node:http');
const https = require('node:https');
const { timer, untilDone } = require('../caller.cjs');

const modules = { 'http:': http, 'https:': https };

/** @param prepare gives the request up */
function get(url, options = {}, prepare = () => {}) {
  return new Promise((resolve, reject) => {
    const request = modules[new URL(url).protocol].get(url, options);
    request.on('error', reject).on('response', async (response) => {
      try {
        let text = '';
        for await (const chunk of response.setEncoding('utf8')) text += chunk;
        resolve(text);
      } catch (error) {
        reject(error);
      }
    });
    prepare(request);
  });
}

function open(url) {
  return new Promise((resolve, reject) => http.get(url, resolve).on('error', reject));
}

const common = {
  get,
  cancel: (url, ms) => get(url, { signal: timer(ms) }),
  unread: async (url) => void (await open(url)).destroy(),
  events: async (url) => {
    const answer = await open(url);
    await untilDone(answer);
    answer.destroy();
  },
  mocks: ['nock', 'msw'],
};

module.exports = {
  'http, setTimeout()': {
    ...common,
    giveUp: (url, ms) => get(url, {}, (request) => request.setTimeout(ms, () => request.destroy())),
  },
  'http, AbortSignal.timeout()': {
    ...common,
    giveUp: (url, ms) => get(url, { signal: AbortSignal.timeout(ms) }),
  },
  'http, a timer and destroy(error)': {
    ...common,
    giveUp: (url, ms) =>
      get(url, {}, (request) => {
        const timeout = setTimeout(() => request.destroy(new Error('too slow')), ms);
        request.on('close', () => clearTimeout(timeout));
      }),
  },
};
