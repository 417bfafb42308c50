// Two socket.io servers with the Redis adapter, which publishes to the others and awaits nothing.
'use strict';

const { createAdapter } = require('@socket.io/redis-adapter');
const { Redis } = require('ioredis');
const { Server } = require('socket.io');

const connect = () => new Redis(Number(process.env.OUTAGE_PORT), '127.0.0.1').on('error', () => {});
const servers = [0, 1].map(() => {
  const [publisher, subscriber] = [connect(), connect()];
  return { publisher, io: new Server({ adapter: createAdapter(publisher, subscriber, { key: `io-${process.pid}` }) }) };
});
const [{ io, publisher }, { io: other }] = servers;
let heard = 0;
other.on('news', () => heard++);

exports.call = async () => {
  // What clients of the other server would hear, and what the other server itself does.
  io.emit('news');
  io.serverSideEmit('news');
};
exports.start = async () => {
  // Until the other one has subscribed.
  while (heard === 0) {
    await exports.call();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  heard = 0;
};
exports.arrived = async () => {
  await publisher.ping();
  await new Promise((resolve) => setTimeout(resolve, 100));
  return heard;
};
