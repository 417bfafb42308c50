'use strict';
const http = require('node:http');
const { once } = require('node:events');

module.exports = async () => {
  const server = http.createServer((req, res) => {
    if (req.url === '/silence') return;
    if (req.url === '/bad') res.writeHead(500);
    res.end('ok');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const dead = http.createServer();
  await once(dead.listen(0, '127.0.0.1'), 'listening');
  const nobody = dead.address().port;
  await new Promise((resolve) => dead.close(resolve));
  const { port } = server.address();
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
      server.close();
    },
  };
};
