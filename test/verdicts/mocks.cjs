// Calls that libraries for tests answer in the place of a server.
'use strict';

const { globalRegistry } = require('otel-breaker');

const ANSWER = { id: 'answer', choices: [], content: [] };
// More than a circuit needs to open.
const CALLS = 12;

/** Calls a host that does not exist. @returns what became of the calls, and whether they have a breaker */
async function call(kind, way, url) {
  const saw = [];
  for (const path of ['/good', '/bad', '/broken', '/unknown']) {
    for (let n = 0; n < CALLS; n++) {
      const ended = Promise.resolve(way.get(url + path)).then(() => 'an answer', String);
      saw.push(`${path}: ${await ended}`);
    }
  }
  const breaker = globalRegistry.get(url);
  return { kind, saw: [...new Set(saw)], counts: breaker?.stats().calls };
}

exports.mocks = {
  async nock(way, name) {
    const nock = require('nock');
    const host = `http://nock-${nameOfHost(name)}.test`;
    if (!nock.isActive()) nock.activate();
    nock.disableNetConnect();
    const mocked = nock(host).persist();
    for (const method of ['get', 'post']) {
      mocked[method](/^\/good/).reply(200, ANSWER);
      mocked[method](/^\/bad/).reply(500, ANSWER);
      mocked[method](/^\/broken/).replyWithError('broken');
    }
    try {
      return await call('nock', way, host);
    } finally {
      nock.cleanAll();
      nock.enableNetConnect();
      nock.restore();
    }
  },

  async msw(way, name) {
    const { setupServer } = require('msw/node');
    const { http, HttpResponse } = require('msw');
    const host = `http://msw-${nameOfHost(name)}.test`;
    const server = setupServer(
      http.all(`${host}/good*`, () => HttpResponse.json(ANSWER)),
      http.all(`${host}/good/*`, () => HttpResponse.json(ANSWER)),
      http.all(`${host}/bad*`, () => HttpResponse.json(ANSWER, { status: 500 })),
      http.all(`${host}/bad/*`, () => HttpResponse.json(ANSWER, { status: 500 })),
      http.all(`${host}/broken*`, () => HttpResponse.error()),
      http.all(`${host}/*`, () => HttpResponse.error()),
    );
    server.listen({ onUnhandledRequest: 'bypass' });
    try {
      return await call('msw', way, host);
    } finally {
      server.close();
    }
  },

  async undici(way, name) {
    const undici = name.startsWith('undici 6') ? require('undici6') : require('undici');
    const host = `http://undici-${nameOfHost(name)}.test`;
    const before = undici.getGlobalDispatcher();
    const agent = new undici.MockAgent();
    agent.disableNetConnect();
    const pool = agent.get(host);
    pool.intercept({ path: '/good' }).reply(200, ANSWER).persist();
    pool.intercept({ path: '/bad' }).reply(500, ANSWER).persist();
    pool.intercept({ path: '/broken' }).replyWithError(new Error('broken')).persist();
    undici.setGlobalDispatcher(agent);
    try {
      return await call('undici', way, host);
    } finally {
      undici.setGlobalDispatcher(before);
      await agent.close();
    }
  },
};

function nameOfHost(name) {
  return name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/-$/, '');
}
