// A server that answers well, badly (`/bad`) or never (`/silence`), and a port on which nobody listens.
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
  return { port: server.address().port, nobody, close: () => server.close() };
};
