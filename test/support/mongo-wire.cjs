// The messages of MongoDB's protocol, as clients send them.
'use strict';

// That of mongodb, without the rest of it.
const bson = require(require.resolve('bson', { paths: [require.resolve('mongodb')] }));

const OP_QUERY = 2004;
const OP_MSG = 2013;

/** The whole messages at the beginning of what a connection has brought, each with what comes after it. */
function* messagesOf(buffered) {
  for (let rest = buffered; rest.length >= 16 && rest.length >= rest.readInt32LE(0);) {
    const length = rest.readInt32LE(0);
    const [requestId, opCode, body] = [rest.readInt32LE(4), rest.readInt32LE(12), rest.subarray(16, length)];
    rest = rest.subarray(length);
    yield { requestId, opCode, body, end: rest };
  }
}

/** The first question on a connection: flags, a name that ends with 0, two numbers, and the question. */
function readQuery(body) {
  return bson.deserialize(body.subarray(body.indexOf(0, 4) + 9));
}

/** The command of an OP_MSG, with the documents that stand behind it. */
function readMessage(body) {
  let command;
  const sequences = {};
  for (let at = 4; at < body.length;) {
    const kind = body[at++];
    const size = body.readInt32LE(at);
    if (kind === 0) {
      command = bson.deserialize(body.subarray(at, at + size));
    } else {
      const nameEnd = body.indexOf(0, at + 4);
      const documents = (sequences[body.toString('utf8', at + 4, nameEnd)] = []);
      for (let document = nameEnd + 1; document < at + size; document += body.readInt32LE(document)) {
        documents.push(bson.deserialize(body.subarray(document, document + body.readInt32LE(document))));
      }
    }
    at += size;
  }
  return { ...command, ...sequences };
}

// Others each time: what is made by chance, counted by the server, or depends on the time.
const OTHERS = new Set(['lsid', 'getMore', 'cursors', 'maxTimeMS', 'resumeAfter', '$clusterTime']);

/** What a connection has sent, message by message; of one that only asks how the server is, no more than that. */
function conversationOf(bytes) {
  const told = [...messagesOf(bytes)].map(({ opCode, body }) => {
    const command = opCode === OP_QUERY ? readQuery(body) : readMessage(body);
    const [name] = Object.keys(command);
    if (/^(?:hello|ismaster)$/i.test(name)) return 'hello';
    return JSON.stringify(command, (key, value) => (key !== '' && OTHERS.has(key) ? '…' : value)).replace(
      /"(?:[0-9a-f]{24}|[0-9a-f-]{36})"/g,
      '"…"',
    );
  });
  return told.every((text) => text === 'hello') ? 'hello' : told.join('\n');
}

module.exports = { bson, conversationOf, messagesOf, OP_MSG, OP_QUERY, readMessage, readQuery };
