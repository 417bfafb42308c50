// The way to a server, in a process that can be killed: the connections of whoever goes this way end with it.
'use strict';

const { connect, createServer } = require('node:net');

const [port, serverPort] = process.argv.slice(2).map(Number);
const server = createServer((client) => {
  const onward = connect(serverPort, '127.0.0.1');
  for (const [one, other] of [
    [client, onward],
    [onward, client],
  ]) {
    one.on('error', () => other.destroy());
    one.setNoDelay(true);
    one.pipe(other);
  }
});
server.listen(port, '127.0.0.1', () => process.send('listening'));
