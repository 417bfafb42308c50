'use strict';
const http = require('node:http');
const startServer = require('../answering-server.cjs');

module.exports = async () => {
  const { port, nobody, close } = await startServer();
  const agent = new http.Agent({ keepAlive: true });

  const get = (options) =>
    new Promise((resolve, reject) => {
      const req = http.get({ host: '127.0.0.1', port, agent, ...options }, (res) => {
        let body = '';
        res
          .on('data', (chunk) => (body += chunk))
          .on('end', () => resolve(`${res.statusCode} ${body}`))
          .on('error', reject);
      });
      req.on('error', reject);
    });

  return {
    calls: [
      { name: 'a good answer', call: () => get({}) },
      { name: 'a bad answer', call: () => get({ path: '/bad' }) },
      { name: 'nobody there', call: () => get({ port: nobody }) },
      {
        name: 'a connection of its own',
        call: () => get({ agent: false, createConnection: require('node:net').connect }),
      },
      { name: 'given up', call: () => get({ path: '/silence', signal: AbortSignal.timeout(20) }) },
      { name: 'an open circuit', call: () => get({}), open: true },
    ],
    end: () => {
      agent.destroy();
      close();
    },
  };
};
