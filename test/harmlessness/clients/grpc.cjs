'use strict';
const { setTimeout: delay } = require('node:timers/promises');
const grpc = require('@grpc/grpc-js');
const { serve, connect, ask, pull, push, chat } = require('../../fixtures/grpc/echo.cjs')(grpc);

module.exports = async () => {
  const { port, stop } = await serve();
  const client = connect(`127.0.0.1:${port}`);
  const dead = await serve();
  dead.stop();
  const nobody = connect(`127.0.0.1:${dead.port}`, { 'grpc.initial_reconnect_backoff_ms': 100 });
  const waiting = new grpc.Metadata({ waitForReady: true });

  return {
    calls: [
      { name: 'a good answer', call: () => ask(client) },
      { name: 'a bad answer', call: () => ask(client, 'code 13') },
      { name: 'a stream', call: () => pull(client) },
      { name: 'an upload', call: () => push(client, ['a', 'b']) },
      { name: 'a conversation', call: () => chat(client, ['a']) },
      { name: 'a stream that breaks', call: () => pull(client, 'first, then code 14') },
      // What comes within 50 ms of the last one is the same failure.
      { name: 'nobody there', call: () => delay(60).then(() => ask(nobody)) },
      { name: 'given up', call: () => ask(client, 'silence', { deadline: Date.now() + 20 }) },
      { name: 'one that waits', call: () => ask(nobody, 'ok', waiting, { deadline: Date.now() + 20 }) },
      { name: 'an open circuit', call: () => ask(client), open: true },
      { name: 'an upload and an open circuit', call: () => push(client, ['ok']), open: true },
    ],
    end: () => {
      client.close();
      nobody.close();
      stop();
    },
  };
};
