'use strict';

const superagent = require('superagent');

const isDone = (text) => text.includes('DONE');

/** Reads an answer as it comes. @param look is called with the text so far, until it returns true */
function read(url, look) {
  return new Promise((resolve, reject) => {
    const request = superagent.get(url).buffer(false);
    request.on('response', (answer) => {
      let text = '';
      const leave = () => {
        request.abort();
        resolve();
      };
      answer.on('error', reject);
      if (look('')) return leave();
      answer.on('data', (chunk) => look((text += chunk)) && leave());
    });
    request.on('error', reject);
    request.end(() => {});
  });
}

module.exports = {
  'superagent, timeout()': {
    get: async (url) => void (await superagent.get(url)),
    giveUp: async (url, ms) => void (await superagent.get(url).timeout(ms)),
    cancel: (url, ms) =>
      new Promise((resolve, reject) => {
        const request = superagent.get(url);
        request.end((error) => (error ? reject(error) : resolve()));
        setTimeout(() => {
          request.abort();
          resolve();
        }, ms);
      }),
    unread: (url) => read(url, () => true),
    events: (url) => read(url, isDone),
    mocks: ['nock', 'msw'],
  },
};
