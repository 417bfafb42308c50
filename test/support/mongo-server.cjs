// A small server that speaks OP_MSG, as MongoDB does: neither Debian nor npm ships a MongoDB. It keeps documents in memory and
// knows the commands that the tests send, cursors, sessions and transactions among them; of queries it knows equality only.
'use strict';
const net = require('node:net');
const { bson, messagesOf, OP_MSG, OP_QUERY, readMessage, readQuery } = require('./mongo-wire.cjs');

const { serialize, Long, ObjectId } = bson;
const OP_REPLY = 1;
// Flags of an OP_MSG.
const MORE_TO_COME = 2;
const EXHAUST_ALLOWED = 1 << 16;

/** Another one tells clients that the server was restarted. */
const processId = new ObjectId();

/** Documents by `database.collection`. */
const collections = new Map();
const cursors = new Map();
/** How many commands came, by name. */
const seen = {};
/** What the next commands of these names come to: `{ commands, times, code?, close?, blockMs? }`. */
let fault;
let lastCursor = 0;
let lastChange = 0;

const documentsOf = (database, collection) => {
  const name = `${database}.${collection}`;
  if (!collections.has(name)) collections.set(name, []);
  return collections.get(name);
};

const matches = (document, filter = {}) =>
  Object.entries(filter).every(([key, value]) => key.startsWith('$') || String(document[key]) === String(value));

const hello = () => ({
  helloOk: true,
  ismaster: true,
  isWritablePrimary: true,
  maxBsonObjectSize: 16_777_216,
  maxMessageSizeBytes: 48_000_000,
  maxWriteBatchSize: 100_000,
  localTime: new Date(),
  logicalSessionTimeoutMinutes: 30,
  minWireVersion: 0,
  maxWireVersion: 21,
  readOnly: false,
  setName: 'rs0',
  setVersion: 1,
  hosts: [address],
  primary: address,
  me: address,
  topologyVersion: { processId, counter: Long.ZERO },
});

const cursorOf = (ns, documents, batchSize = 101) => {
  const firstBatch = documents.slice(0, batchSize);
  const rest = documents.slice(batchSize);
  let id = 0;
  if (rest.length > 0) cursors.set((id = ++lastCursor), { ns, rest });
  return { cursor: { firstBatch, id: Long.fromNumber(id), ns } };
};

/** A change stream of a collection: what is inserted from now on. */
const watch = (ns) => {
  const id = ++lastCursor;
  cursors.set(id, { ns, rest: [], watches: true });
  return { cursor: { firstBatch: [], id: Long.fromNumber(id), ns } };
};

const tellWatchers = (db, coll, documents) => {
  const changes = documents.map((fullDocument) => ({
    _id: { _data: String(++lastChange) },
    operationType: 'insert',
    ns: { db, coll },
    documentKey: { _id: fullDocument._id },
    fullDocument,
  }));
  for (const [id, cursor] of cursors) {
    if (!cursor.watches || cursor.ns !== `${db}.${coll}`) continue;
    cursor.rest.push(...changes);
    if (cursor.tell === undefined) continue;
    cursor.tell({ cursor: { nextBatch: cursor.rest.splice(0), id: Long.fromNumber(id), ns: cursor.ns } });
    cursor.tell = undefined;
  }
};

const commands = {
  hello,
  isMaster: hello,
  ismaster: hello,
  ping: () => ({}),
  failWith: ({ failWith }) => ({ ok: 0, code: failWith, codeName: 'AsAsked', errmsg: 'as the test wants it' }),
  buildInfo: () => ({ version: '7.0.0' }),
  endSessions: () => ({}),
  commitTransaction: () => ({}),
  abortTransaction: () => ({}),
  drop: ({ drop, $db }) => (collections.delete(`${$db}.${drop}`), {}),
  // As the real one's: clients bring about what is to fail.
  configureFailPoint({ mode, data: { failCommands, errorCode, closeConnection, blockTimeMS } = {} }) {
    if (mode === 'off') fault = undefined;
    else fault = { commands: failCommands, ...mode, code: errorCode, close: closeConnection, blockMs: blockTimeMS };
    return {};
  },
  createIndexes: () => ({}),
  count: ({ count, $db }) => ({ n: documentsOf($db, count).length }),
  distinct: ({ distinct, key, $db }) => ({
    values: [...new Set(documentsOf($db, distinct).map((document) => document[key]))],
  }),
  insert({ insert, documents, $db }) {
    const known = documentsOf($db, insert);
    const isThere = ({ _id }) => known.some((document) => String(document._id) === String(_id));
    const index = documents.findIndex(isThere);
    const written = index < 0 ? documents : documents.slice(0, index);
    known.push(...written);
    // From a log, and so a little later than whoever has written hears of it.
    setTimeout(tellWatchers, 20, $db, insert, written);
    if (index < 0) return { n: documents.length };
    return { n: index, writeErrors: [{ index, code: 11000, errmsg: 'E11000 duplicate key error' }] };
  },
  find({ find, filter, batchSize, limit, $db }) {
    const found = documentsOf($db, find).filter((document) => matches(document, filter));
    return cursorOf(`${$db}.${find}`, limit ? found.slice(0, Math.abs(limit)) : found, batchSize);
  },
  aggregate({ aggregate, pipeline, cursor, $db }) {
    if (pipeline[0]?.$changeStream !== undefined) return watch(`${$db}.${aggregate}`);
    const documents = documentsOf($db, aggregate);
    const isCount = pipeline.some((stage) => stage.$group?.n !== undefined);
    return cursorOf(`${$db}.${aggregate}`, isCount ? [{ _id: 1, n: documents.length }] : documents, cursor?.batchSize);
  },
  getMore({ getMore, batchSize = 101 }) {
    const id = Number(getMore);
    const cursor = cursors.get(id);
    if (cursor === undefined) return { ok: 0, code: 43, codeName: 'CursorNotFound', errmsg: 'cursor not found' };
    if (cursor.watches && cursor.rest.length === 0) return new Promise((resolve) => (cursor.tell = resolve));
    const nextBatch = cursor.rest.splice(0, batchSize);
    const left = cursor.watches || cursor.rest.length > 0;
    if (!left) cursors.delete(id);
    return { cursor: { nextBatch, id: Long.fromNumber(left ? id : 0), ns: cursor.ns } };
  },
  killCursors({ cursors: ids }) {
    for (const id of ids) {
      cursors.get(Number(id))?.tell?.({ ok: 0, code: 237, codeName: 'CursorKilled', errmsg: 'cursor killed' });
      cursors.delete(Number(id));
    }
    return { cursorsKilled: ids, cursorsNotFound: [], cursorsAlive: [], cursorsUnknown: [] };
  },
  update({ update, updates, $db }) {
    let n = 0;
    for (const { q, u } of updates) {
      for (const document of documentsOf($db, update)) {
        if (matches(document, q)) n += Object.assign(document, u.$set ?? {}) ? 1 : 0;
      }
    }
    return { n, nModified: n };
  },
  delete({ delete: collection, deletes, $db }) {
    const documents = documentsOf($db, collection);
    const before = documents.length;
    for (const { q } of deletes) {
      const kept = documents.filter((document) => !matches(document, q));
      documents.splice(0, documents.length, ...kept);
    }
    return { n: before - documents.length };
  },
  findAndModify({ findAndModify, query, $db }) {
    return { value: documentsOf($db, findAndModify).find((document) => matches(document, query)) ?? null };
  },
};

function answerTo(name, command) {
  const make = commands[name];
  if (make === undefined) return { ok: 0, code: 59, codeName: 'CommandNotFound', errmsg: `no such command: '${name}'` };
  const answer = make(command);
  return answer instanceof Promise ? answer.then((later) => ({ ok: 1, ...later })) : { ok: 1, ...answer };
}

let requests = 0;

function send(socket, requestId, opCode, body) {
  const header = Buffer.alloc(16);
  header.writeInt32LE(16 + body.length, 0);
  header.writeInt32LE(++requests, 4);
  header.writeInt32LE(requestId, 8);
  header.writeInt32LE(opCode, 12);
  socket.write(Buffer.concat([header, body]));
}

/** Whoever knows how this server is hears of it when it changes, which it never does, or after a while, again and again. */
function keepTelling(socket, requestId, question, everyMs) {
  const goesOn = (question.readInt32LE(0) & EXHAUST_ALLOWED) !== 0;
  const flags = Buffer.alloc(5);
  if (goesOn) flags.writeInt32LE(MORE_TO_COME);
  const tell = () => send(socket, requestId, OP_MSG, Buffer.concat([flags, serialize(answerTo('hello', {}))]));
  const timer = goesOn ? setInterval(tell, everyMs) : setTimeout(tell, everyMs);
  socket.once('close', () => clearTimeout(timer));
}

function onMessage(socket, requestId, opCode, body) {
  if (opCode === OP_QUERY) {
    const [name] = Object.keys(readQuery(body));
    const head = Buffer.alloc(20);
    head.writeInt32LE(8, 0);
    head.writeInt32LE(1, 16);
    send(socket, requestId, OP_REPLY, Buffer.concat([head, serialize(answerTo(name, {}))]));
    return;
  }
  const command = readMessage(body);
  const [name] = Object.keys(command);
  seen[name] = (seen[name] ?? 0) + 1;
  // Nobody waits for an answer to these.
  const moreToCome = (body.readInt32LE(0) & MORE_TO_COME) !== 0;
  if (command.hello && command.topologyVersion) return keepTelling(socket, requestId, body, command.maxAwaitTimeMS);
  let answer;
  if (fault !== undefined && fault.times > 0 && fault.commands.includes(name)) {
    fault.times--;
    if (fault.close) return socket.destroy();
    if (fault.code) answer = { ok: 0, code: fault.code, codeName: 'Injected', errmsg: 'as the test wants it' };
  }
  answer ??= answerTo(name, command);
  const flags = Buffer.alloc(5);
  const reply = () => moreToCome || send(socket, requestId, OP_MSG, Buffer.concat([flags, serialize(answer)]));
  if (answer instanceof Promise) {
    void answer.then((later) => {
      answer = later;
      reply();
    });
  } else if (fault?.blockMs && fault.commands.includes(name)) setTimeout(reply, fault.blockMs);
  else reply();
}

const server = net.createServer((socket) => {
  let buffered = Buffer.alloc(0);
  socket.setNoDelay(true);
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    buffered = Buffer.concat([buffered, chunk]);
    for (const { requestId, opCode, body, end } of messagesOf(buffered)) {
      onMessage(socket, requestId, opCode, body);
      buffered = end;
    }
  });
});

let address;
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  address = `127.0.0.1:${server.address().port}`;
  process.send?.({ port: server.address().port });
});
process.on('message', (message) => {
  if (message.fault !== undefined) fault = message.fault ?? undefined;
  if (message.port !== undefined) address = `127.0.0.1:${message.port}`;
  process.send({ seen });
});
process.on('disconnect', () => process.exit());
