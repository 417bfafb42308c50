// A small server that speaks OP_MSG, as MongoDB does: neither Debian nor npm ships a MongoDB. It keeps documents in memory and
// knows the commands that the tests send, cursors, sessions and transactions among them; of queries it knows equality only.
'use strict';
const net = require('node:net');
// That of mongodb, without the rest of it.
const bson = require.resolve('bson', { paths: [require.resolve('mongodb')] });
const { serialize, deserialize, Long, ObjectId } = require(bson);

const OP_REPLY = 1;
const OP_QUERY = 2004;
const OP_MSG = 2013;
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
  insert({ insert, documents, $db }) {
    documentsOf($db, insert).push(...documents);
    return { n: documents.length };
  },
  find({ find, filter, batchSize, limit, $db }) {
    const found = documentsOf($db, find).filter((document) => matches(document, filter));
    return cursorOf(`${$db}.${find}`, limit ? found.slice(0, Math.abs(limit)) : found, batchSize);
  },
  aggregate({ aggregate, pipeline, cursor, $db }) {
    const documents = documentsOf($db, aggregate);
    const isCount = pipeline.some((stage) => stage.$group?.n !== undefined);
    return cursorOf(`${$db}.${aggregate}`, isCount ? [{ _id: 1, n: documents.length }] : documents, cursor?.batchSize);
  },
  getMore({ getMore, batchSize = 101 }) {
    const id = Number(getMore);
    const cursor = cursors.get(id);
    if (cursor === undefined) return { ok: 0, code: 43, codeName: 'CursorNotFound', errmsg: 'cursor not found' };
    const nextBatch = cursor.rest.splice(0, batchSize);
    const left = cursor.rest.length > 0;
    if (!left) cursors.delete(id);
    return { cursor: { nextBatch, id: Long.fromNumber(left ? id : 0), ns: cursor.ns } };
  },
  killCursors({ cursors: ids }) {
    for (const id of ids) cursors.delete(Number(id));
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
  return { ok: 1, ...make(command) };
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

/** The command of an OP_MSG, with the documents that stand behind it. */
function readMessage(body) {
  let command;
  const sequences = {};
  for (let at = 4; at < body.length;) {
    const kind = body[at++];
    const size = body.readInt32LE(at);
    if (kind === 0) {
      command = deserialize(body.subarray(at, at + size));
    } else {
      const nameEnd = body.indexOf(0, at + 4);
      const documents = (sequences[body.toString('utf8', at + 4, nameEnd)] = []);
      for (let document = nameEnd + 1; document < at + size; document += body.readInt32LE(document)) {
        documents.push(deserialize(body.subarray(document, document + body.readInt32LE(document))));
      }
    }
    at += size;
  }
  return { ...command, ...sequences };
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
    // The first question on a connection: flags, a name that ends with 0, two numbers, and the question.
    const at = body.indexOf(0, 4) + 9;
    const [name] = Object.keys(deserialize(body.subarray(at)));
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
  if (fault?.blockMs && fault.commands.includes(name)) setTimeout(reply, fault.blockMs);
  else reply();
}

const server = net.createServer((socket) => {
  let buffered = Buffer.alloc(0);
  socket.setNoDelay(true);
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    buffered = Buffer.concat([buffered, chunk]);
    while (buffered.length >= 16 && buffered.length >= buffered.readInt32LE(0)) {
      const length = buffered.readInt32LE(0);
      onMessage(socket, buffered.readInt32LE(4), buffered.readInt32LE(12), buffered.subarray(16, length));
      buffered = buffered.subarray(length);
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
  process.send({ seen });
});
process.on('disconnect', () => process.exit());
