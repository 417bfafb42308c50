// What the clients of the matrix share.
'use strict';

/** A signal that is aborted after so many milliseconds and does not say why. */
exports.timer = (ms) => {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), ms);
  return controller.signal;
};

/** Reads a stream up to its last message, after which the server does not end it. */
exports.untilDone = async (stream) => {
  let text = '';
  const iterator = stream[Symbol.asyncIterator]();
  for (;;) {
    const { done, value } = await iterator.next();
    if (done) throw new Error(`The stream ended: ${text}`);
    text += Buffer.from(value);
    if (text.includes('DONE')) return;
  }
};
