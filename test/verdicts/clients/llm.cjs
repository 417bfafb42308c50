'use strict';

const { default: OpenAI } = require('openai');
const { default: Anthropic } = require('@anthropic-ai/sdk');
const { timer } = require('../caller.cjs');

const MESSAGES = [{ role: 'user', content: 'Hello' }];

// One attempt each: what is looked at is the verdict on one.
const openai = (url) => new OpenAI({ apiKey: 'key', baseURL: `${url}/v1`, maxRetries: 0 }).chat.completions;
const anthropic = (url) => new Anthropic({ apiKey: 'key', baseURL: url, maxRetries: 0 }).messages;

function waysOf(sdk, question) {
  const get = (url, options) => sdk(url).create(question, options);
  return {
    get,
    giveUp: (url, ms) => get(url, { timeout: ms }),
    cancel: (url, ms) => get(url, { signal: timer(ms) }),
    unread: async (url) => (await sdk(url).create(question).asResponse()).body.cancel(),
    events: async (url) => {
      // What comes in one piece is read in one piece: the loop is left at the last message, the server has not ended.
      for await (const event of await sdk(url).create({ ...question, stream: true })) {
        if (JSON.stringify(event).includes('DONE')) break;
      }
    },
    mocks: ['nock', 'msw'],
  };
}

module.exports = {
  'openai, timeout': waysOf(openai, { model: 'model', messages: MESSAGES }),
  'anthropic, timeout': waysOf(anthropic, { model: 'model', max_tokens: 10, messages: MESSAGES }),
};
