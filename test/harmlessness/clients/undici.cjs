'use strict';
const undici = require('undici');
const startServer = require('../answering-server.cjs');

module.exports = async () => {
  const server = await startServer();
  const nobody = `http://127.0.0.1:${server.nobody}`;
  const origin = `http://127.0.0.1:${server.port}`;

  const get = async (url, options) => {
    const response = await fetch(url, options);
    return `${response.status} ${await response.text()}`;
  };
  const request = async (url, options) => {
    const { statusCode, body } = await undici.request(url, options);
    return `${statusCode} ${await body.text()}`;
  };

  return {
    calls: [
      { name: 'fetch, a good answer', call: () => get(origin) },
      { name: 'request, a good answer', call: () => request(origin) },
      { name: 'request, a bad answer', call: () => request(`${origin}/bad`) },
      { name: 'fetch, nobody there', call: () => get(nobody) },
      { name: 'fetch, given up', call: () => get(`${origin}/silence`, { signal: AbortSignal.timeout(20) }) },
      { name: 'request, given up', call: () => request(`${origin}/silence`, { signal: AbortSignal.timeout(20) }) },
      { name: 'fetch, an open circuit', call: () => get(origin), open: true },
      { name: 'request, an open circuit', call: () => request(origin), open: true },
    ],
    end: () => server.close(),
  };
};
