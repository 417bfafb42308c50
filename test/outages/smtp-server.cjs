// A mail server that takes every message, in a process that can be killed.
'use strict';

const { SMTPServer } = require('smtp-server');

const server = new SMTPServer({
  authOptional: true,
  disabledCommands: ['STARTTLS'],
  disableReverseLookup: true,
  onData: (stream, _, done) => stream.resume().on('end', done),
});
server.on('error', () => {});
server.listen(Number(process.argv[2]), '127.0.0.1', () => process.send('listening'));
