// node:http2 with one session, as packages keep one: a new one where the last has ended.
'use strict';

const http2 = require('node:http2');

let session;

exports.call = () => {
  if (session === undefined || session.closed || session.destroyed) {
    session = http2.connect(process.env.OUTAGE_URL).on('error', () => {});
  }
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':path': '/' }).resume();
    let status;
    stream.on('response', (headers) => (status = headers[':status'])).on('error', reject);
    stream.on('close', () => (status === 200 ? resolve() : reject(new Error('no answer'))));
  });
};
