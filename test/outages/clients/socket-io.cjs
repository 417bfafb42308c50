// A socket.io server with the Redis adapter, which publishes to the others and awaits nothing.
'use strict';

const { createAdapter } = require('@socket.io/redis-adapter');
const { Redis } = require('ioredis');
const { Server } = require('socket.io');

const connect = () => new Redis(Number(process.env.OUTAGE_PORT), '127.0.0.1').on('error', () => {});
const [publisher, subscriber] = [connect(), connect()];
const io = new Server({ adapter: createAdapter(publisher, subscriber) });
let sent = 0;

exports.call = async () => {
  sent++;
  io.emit('news', sent);
};
// Nobody else counts them: what is left is that the process lives and publishes again.
exports.arrived = async () => {
  await publisher.ping();
  return sent;
};
