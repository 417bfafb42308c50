// A mail server that takes every message.
import { SMTPServer } from 'smtp-server';

const server = new SMTPServer({
  authOptional: true,
  disabledCommands: ['STARTTLS'],
  disableReverseLookup: true,
  onData: (stream, _session, done) => stream.resume().on('end', done),
});
server.on('error', () => {});
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => console.log(server.server.address().port));
