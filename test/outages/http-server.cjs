// A service that answers each request after two milliseconds, in a process that can be killed.
'use strict';

const { createServer } = require('node:http');

const server = createServer((request, response) => {
  request.resume();
  setTimeout(() => {
    response.setHeader('content-type', 'application/json');
    response.end('{"answer":42}');
  }, 2);
});
server.listen(Number(process.argv[2]), '127.0.0.1', () => process.send('listening'));
