// What applications do with `mongodb`.
'use strict';

const { setTimeout: delay } = require('node:timers/promises');
const { heard, nextTurn } = require('./witness.cjs');

/** The server is asked once how it is, and again where an operation waits for it. */
const OPTIONS = { serverMonitoringMode: 'poll', heartbeatFrequencyMS: 600_000, minHeartbeatFrequencyMS: 10 };

const urlOf = (port) => `mongodb://127.0.0.1:${port}/?replicaSet=rs0`;

/** Closes a client once it was used, and takes back what was to fail. */
async function using(client, use) {
  client.on('error', () => {});
  try {
    await client.connect();
    await client.db('shop').collection('orders').drop();
    await use(client.db('shop').collection('orders'));
    await client.db('admin').command({ configureFailPoint: 'failCommand', mode: 'off' });
  } finally {
    await client.close();
    await nextTurn();
  }
}

const probe =
  (use, options) =>
  ({ witness, clients: [library], port, deadPort }) => {
    const client = new library.MongoClient(urlOf(port), { ...OPTIONS, ...options });
    const fail = (mode, data) =>
      client
        .db('admin')
        .command({ configureFailPoint: 'failCommand', mode, data: { failCommands: ['find'], ...data } });
    const fails = (data) => fail({ times: 1 }, data);
    return using(client, (orders) => use({ witness, library, client, orders, fail, fails, port, deadPort }));
  };

const THREE = [
  { _id: 1, n: 1 },
  { _id: 2, n: 2 },
  { _id: 3, n: 3 },
];

const probes = {
  operations: probe(async ({ witness, client, orders }) => {
    await witness.outcome('insert one', orders.insertOne({ _id: 1, n: 1 }));
    await witness.outcome('insert many', orders.insertMany([{ _id: 2, n: 2 }, { n: 3 }]));
    await witness.outcome('find one', orders.findOne({ _id: 2 }));
    await witness.outcome('find none', orders.findOne({ _id: 9 }));
    await witness.outcome('update', orders.updateOne({ _id: 1 }, { $set: { m: 1 } }));
    await witness.outcome('update many', orders.updateMany({}, { $set: { k: 1 } }));
    await witness.outcome('replace', orders.replaceOne({ _id: 1 }, { n: 5 }));
    await witness.outcome('find and update', orders.findOneAndUpdate({ _id: 1 }, { $set: { m: 2 } }));
    await witness.outcome('count', orders.countDocuments());
    await witness.outcome('estimate', orders.estimatedDocumentCount());
    await witness.outcome('distinct', orders.distinct('k'));
    await witness.outcome('an index', orders.createIndex({ n: 1 }));
    await witness.outcome('delete', orders.deleteOne({ _id: 1 }));
    await witness.outcome('delete all', orders.deleteMany({}));
    await witness.outcome('a command', client.db('shop').command({ ping: 1 }));
    await witness.outcome('drop', orders.drop());
  }),

  cursors: probe(async ({ witness, orders }) => {
    await orders.insertMany(THREE);
    await witness.outcome('all', orders.find().batchSize(2).toArray());
    for await (const order of orders.find().batchSize(1)) witness.note('each', order);
    await orders.find().forEach((order) => witness.note('for each', order));
    const cursor = orders.find({}, { batchSize: 1 });
    await witness.outcome('has next', cursor.hasNext());
    await witness.outcome('next', cursor.next());
    await witness.outcome('try next', cursor.tryNext());
    witness.note('closed', cursor.closed, cursor.id?.constructor.name);
    await witness.outcome('close', cursor.close());
    await witness.outcome('after', cursor.next());
    cursor.rewind();
    await witness.outcome('again', cursor.toArray());
    const pipeline = [{ $match: {} }];
    await witness.outcome('aggregate', orders.aggregate(pipeline, { batchSize: 2 }).toArray());
    for await (const order of orders.aggregate(pipeline)) {
      witness.note('the first', order);
      break;
    }
    await witness.outcome(
      'map',
      orders
        .find()
        .map(({ n }) => n)
        .toArray(),
    );
    await witness.outcome('explicit', orders.find().limit(1).sort({ n: 1 }).project({ n: 1 }).toArray());
  }),

  'a cursor as a stream': probe(async ({ witness, orders }) => {
    await orders.insertMany(THREE);
    const stream = orders.find().batchSize(1).stream();
    stream.on('data', (order) => {
      witness.note('data', order);
      witness.stack('data');
    });
    await heard(stream, 'end');
    const left = orders.find().batchSize(1).stream();
    left.once('data', () => left.destroy());
    await heard(left, 'close');
  }),

  'bulk writes': probe(async ({ witness, client, orders }) => {
    const writes = [
      { insertOne: { document: { _id: 1 } } },
      { insertOne: { document: { _id: 1 } } },
      { updateOne: { filter: { _id: 1 }, update: { $set: { n: 1 } } } },
      { deleteOne: { filter: { _id: 1 } } },
    ];
    await witness.outcome('ordered', orders.bulkWrite(writes));
    await witness.outcome('not ordered', orders.bulkWrite(writes, { ordered: false }));
    await witness.outcome('the same twice', orders.insertMany([{ _id: 7 }, { _id: 7 }]));
    await witness.outcome('nothing', orders.bulkWrite([]));
    const bulk = orders.initializeOrderedBulkOp();
    bulk.insert({ _id: 8 });
    bulk.find({ _id: 8 }).update({ $set: { n: 1 } });
    await witness.outcome('in steps', bulk.execute());
    await witness.outcome('twice', bulk.execute());
    const model = { name: 'insertOne', namespace: 'shop.orders', document: { _id: 9 } };
    await witness.outcome('of the client', client.bulkWrite([model]));
  }),

  errors: probe(async ({ witness, client, orders, fails }) => {
    for (const code of [2, 13, 24, 43, 50, 112, 251, 11600, 10107]) {
      await witness.outcome(`code ${code}`, client.db('shop').command({ failWith: code }));
    }
    for (const errorCode of [2, 50, 91, 11600, 13436]) {
      await fails({ errorCode });
      await witness.outcome(`find, code ${errorCode}`, orders.findOne());
    }
    await fails({ failCommands: ['insert'], errorCode: 91 });
    await witness.outcome('an insert', orders.insertOne({ _id: 1 }));
    await witness.outcome('the same again', orders.insertOne({ _id: 1 }));
    await witness.outcome('no such command', client.db('shop').command({ nothing: 1 }));
  }),

  sessions: probe(async ({ witness, client, orders }) => {
    const session = client.startSession();
    session.once('ended', () => witness.note('ended'));
    await witness.outcome('insert', orders.insertOne({ _id: 1 }, { session }));
    await witness.outcome('find', orders.findOne({}, { session }));
    await witness.outcome(
      'with',
      client.withSession((other) => orders.findOne({}, { session: other })),
    );
    await witness.outcome('end', session.endSession());
    await witness.outcome('after', orders.findOne({}, { session }));
    await witness.outcome('end again', session.endSession());
  }),

  transactions: probe(async ({ witness, client, orders, fails }) => {
    const session = client.startSession();
    session.startTransaction();
    witness.attempt('start again', () => session.startTransaction());
    await witness.outcome('insert', orders.insertOne({ _id: 1 }, { session }));
    await witness.outcome('find', orders.findOne({}, { session }));
    await witness.outcome('commit', session.commitTransaction());
    await witness.outcome('commit again', session.commitTransaction());
    session.startTransaction();
    await fails({ errorCode: 112 });
    await witness.outcome('a conflict', orders.findOne({}, { session }));
    await witness.outcome('abort', session.abortTransaction());
    await witness.outcome('abort again', session.abortTransaction());
    await witness.outcome(
      'as a whole',
      session.withTransaction(() => orders.updateOne({ _id: 1 }, { $set: { n: 2 } }, { session })),
    );
    await witness.outcome(
      'given up',
      session.withTransaction(async () => {
        await orders.insertOne({ _id: 5 }, { session });
        throw new Error('mine');
      }),
    );
    await fails({ failCommands: ['commitTransaction'], closeConnection: true });
    session.startTransaction();
    await orders.insertOne({ _id: 6 }, { session });
    await witness.outcome('a commit that is sent again', session.commitTransaction());
    await session.endSession();
  }),

  'change streams': probe(async ({ witness, orders }) => {
    const told = (change) => change && { type: change.operationType, document: change.fullDocument };
    const changes = orders.watch();
    witness.note('closed', changes.closed);
    const next = changes.next();
    await delay(50);
    await orders.insertOne({ _id: 1 });
    await witness.outcome('next', next.then(told));
    await witness.outcome('close', changes.close());
    await witness.outcome('after', changes.next());
    const listened = orders.watch();
    listened.on('change', (change) => {
      witness.note('change', told(change));
      witness.stack('change');
    });
    await delay(50);
    const came = heard(listened, 'change');
    await orders.insertOne({ _id: 2 });
    await came;
    // It has asked for more by then.
    await delay(50);
    await listened.close();
    const iterated = orders.watch();
    setTimeout(() => void orders.insertOne({ _id: 3 }), 50);
    for await (const change of iterated) {
      witness.note('each', told(change));
      break;
    }
  }),

  'monitors of commands': probe(
    async ({ witness, client, orders, fails }) => {
      for (const event of ['commandStarted', 'commandSucceeded', 'commandFailed']) {
        client.on(event, ({ commandName, databaseName, failure }) => {
          witness.note(event, commandName, databaseName, failure);
          witness.stack(event);
        });
      }
      await orders.insertMany(THREE);
      await orders.find().batchSize(2).toArray();
      await fails({ errorCode: 2 });
      await witness.outcome('a failure', orders.findOne());
      await fails({ closeConnection: true });
      await witness.outcome('a loss', orders.findOne());
    },
    { monitorCommands: true },
  ),

  'a client with its defaults': async ({ witness, clients: [library], port }) => {
    const client = new library.MongoClient(urlOf(port));
    for (const event of ['open', 'close', 'topologyOpening', 'serverOpening', 'connectionCreated', 'topologyClosed']) {
      client.on(event, () => {
        witness.note(event);
        witness.stack(event);
      });
    }
    witness.look('new', client, 0);
    witness.note('connect gives itself', (await client.connect()) === client);
    await witness.outcome('ping', client.db('admin').command({ ping: 1 }));
    await witness.outcome(
      'connect again',
      client.connect().then(() => 'once more'),
    );
    witness.listeners('connected', client);
    await witness.outcome('close', client.close());
    await witness.outcome('close again', client.close());
    await nextTurn();
  },

  'wrong arguments': probe(async ({ witness, library, client, orders }) => {
    witness.attempt('a url', () => new library.MongoClient('http://127.0.0.1'));
    witness.attempt('an option', () => new library.MongoClient('mongodb://127.0.0.1', { nothing: 1 }));
    witness.attempt('a name', () => client.db('a b'));
    witness.attempt('a collection', () => client.db('shop').collection('$a'));
    await witness.outcome('no array', orders.insertMany('text'));
    await witness.outcome('an empty array', orders.insertMany([]));
    await witness.outcome('no document', orders.insertOne(null));
    await witness.outcome('no operators', (async () => orders.updateOne({}, { n: 1 }))());
    await witness.outcome('operators', (async () => orders.replaceOne({}, { $set: { n: 1 } }))());
    await witness.outcome('a filter', (async () => orders.findOne('text'))());
    await witness.outcome('a pipeline', (async () => orders.aggregate({}).toArray())());
    await witness.outcome('what cannot be sent', orders.insertOne({ f: { toBSON: () => 5 }, $db: 1 }));
    await witness.outcome('a document of its own', orders.insertOne(circular()));
    await witness.outcome('no command', client.db('shop').command({}));
    await witness.outcome('another client’s session', orders.findOne({}, { session: otherSession(library) }));
  }),

  'a client that is closed': async ({ witness, clients: [library], port }) => {
    const client = new library.MongoClient(urlOf(port), OPTIONS);
    const orders = client.db('shop').collection('orders');
    await client.connect();
    await client.close();
    await witness.outcome('find', orders.findOne());
    await witness.outcome('insert', orders.insertOne({ _id: 1 }));
    await witness.outcome('cursor', orders.find().toArray());
    await witness.outcome('session', (async () => client.startSession())());
    await nextTurn();
  },

  'closed while operations are under way': async ({ witness, clients: [library], port }) => {
    for (const force of [false, true]) {
      const client = new library.MongoClient(urlOf(port), { ...OPTIONS, maxPoolSize: 2 });
      await client.connect();
      const data = { failCommands: ['find'], blockTimeMS: 100 };
      await client.db('admin').command({ configureFailPoint: 'failCommand', mode: { times: 0 }, data });
      const orders = client.db('shop').collection('orders');
      const calls = [orders.findOne(), orders.find().toArray(), orders.insertOne({ n: 1 }), orders.findOne()];
      const ended = calls.map((call, at) => witness.outcome(`call ${at}`, call));
      await delay(30);
      await witness.outcome('close', client.close(force));
      await Promise.all(ended);
      await nextTurn();
    }
    const client = new library.MongoClient(urlOf(port), OPTIONS);
    await client.db('admin').command({ configureFailPoint: 'failCommand', mode: 'off' });
    await client.close();
  },

  'given up by signals': probe(async ({ witness, orders, fail }) => {
    await orders.insertMany(THREE);
    await witness.outcome('gone already', orders.find({}, { signal: AbortSignal.abort() }).toArray());
    await witness.outcome('for a reason', orders.findOne({}, { signal: AbortSignal.abort(new Error('mine')) }));
    await fail({ times: 0 }, { failCommands: ['find', 'aggregate'], blockTimeMS: 60 });
    for (const call of [
      (options) => orders.find({}, options).toArray(),
      (options) => orders.aggregate([], options).toArray(),
      (options) => orders.countDocuments({}, options),
    ]) {
      const gone = new AbortController();
      const ended = witness.outcome('gone', call({ signal: gone.signal }));
      setTimeout(() => gone.abort(), 20);
      await ended;
    }
  }),

  'time that is up': probe(async ({ witness, client, orders, fail }) => {
    await fail({ times: 0 }, { failCommands: ['find', 'insert'], blockTimeMS: 100 });
    await witness.outcome('find', orders.findOne({}, { timeoutMS: 30 }));
    await witness.outcome('insert', orders.insertOne({ _id: 1 }, { timeoutMS: 30 }));
    await witness.outcome('cursor', orders.find({}, { timeoutMS: 30 }).toArray());
    await witness.outcome('in time', client.db('shop').command({ ping: 1 }, { timeoutMS: 5_000 }));
    await witness.outcome('wrong', (async () => orders.findOne({}, { timeoutMS: -1 }))());
  }),

  'sockets whose time is up': probe(
    async ({ witness, orders, fail }) => {
      await fail({ times: 0 }, { failCommands: ['find', 'insert'], blockTimeMS: 700 });
      await witness.outcome('find', orders.findOne());
      await witness.outcome('insert', orders.insertOne({ _id: 1 }));
      await delay(800);
    },
    { socketTimeoutMS: 400, retryReads: false, retryWrites: false },
  ),

  'nobody there': async ({ witness, clients: [library], deadPort }) => {
    for (const url of [urlOf(deadPort), `mongodb://127.0.0.1:${deadPort}/?directConnection=true`]) {
      // How often it asks in that time would be left to chance.
      const often = { minHeartbeatFrequencyMS: 500 };
      const client = new library.MongoClient(url, { ...OPTIONS, ...often, serverSelectionTimeoutMS: 100 });
      await witness.outcome('connect', client.connect());
      await witness.outcome('find', client.db('shop').collection('orders').findOne());
      await witness.outcome('close', client.close());
      await nextTurn();
    }
  },

  'lost connections': probe(async ({ witness, orders, fails }) => {
    await fails({ closeConnection: true });
    await witness.outcome('find, sent again', orders.findOne());
    await fails({ failCommands: ['insert'], closeConnection: true });
    await witness.outcome('insert, sent again', orders.insertOne({ _id: 1 }));
    await fails({ failCommands: ['getMore'], closeConnection: true });
    await orders.insertOne({ _id: 2 });
    await witness.outcome('a batch, lost', orders.find().batchSize(1).toArray());
    await witness.outcome('after', orders.countDocuments());
  }),

  'nothing is sent again': probe(
    async ({ witness, orders, fails }) => {
      await fails({ closeConnection: true });
      await witness.outcome('find', orders.findOne());
      await fails({ failCommands: ['insert'], closeConnection: true });
      await witness.outcome('insert', orders.insertOne({ _id: 1 }));
      await fails({ errorCode: 11600 });
      await witness.outcome('a shutdown', orders.findOne());
      await witness.outcome('after', orders.countDocuments());
    },
    { retryReads: false, retryWrites: false },
  ),

  'operations before the connection': async ({ witness, clients: [library], port }) => {
    const client = new library.MongoClient(urlOf(port), OPTIONS);
    const orders = client.db('shop').collection('orders');
    const calls = [orders.drop(), orders.findOne(), orders.insertOne({ _id: 1 })];
    for (const call of calls) await witness.outcome('call', call);
    await client.close();
    await nextTurn();
  },

  'a pool of one': probe(
    async ({ witness, orders, fail }) => {
      await fail({ times: 0 }, { blockTimeMS: 400 });
      const calls = [orders.findOne(), orders.findOne(), orders.findOne()];
      await Promise.all(calls.map((call, at) => witness.outcome(`call ${at}`, call)));
    },
    { maxPoolSize: 1, waitQueueTimeoutMS: 250 },
  ),

  'how soon a caller hears': probe(async ({ witness, client, orders }) => {
    await orders.insertMany(THREE);
    const database = client.db('shop');
    const cursor = orders.find().batchSize(1);
    for (const call of [
      () => orders.findOne(),
      () => orders.updateOne({ _id: 1 }, { $set: { n: 1 } }),
      () => database.command({ ping: 1 }),
      () => database.command({ failWith: 2 }).catch(() => {}),
      () => cursor.next(),
      () => cursor.next(),
    ]) {
      const stop = witness.microtasksAfter('data');
      await call();
      stop('after the answer');
    }
    await cursor.close();
    witness.stack('after awaiting');
  }),

  'a promise looked at': probe(async ({ witness, client }) => {
    const ping = client.db('shop').command({ ping: 1 });
    witness.look('ping', ping, 1);
    await ping;
  }),

  'many at once, in their order': probe(
    async ({ witness, orders }) => {
      await orders.insertMany(THREE);
      const calls = Array.from({ length: 30 }, (_, at) => orders.findOne({ _id: 1 + (at % 3) }));
      await Promise.all(calls.map((call, at) => call.then(({ n }) => witness.note('found', at, n))));
    },
    { maxPoolSize: 1 },
  ),
};

function circular() {
  const document = {};
  document.itself = document;
  return document;
}

function otherSession({ MongoClient }) {
  return new MongoClient('mongodb://127.0.0.1').startSession();
}

const exits = {
  'a promise that nobody handles': async ({ clients: [library], port }) => {
    const client = new library.MongoClient(urlOf(port), OPTIONS);
    await client.connect();
    // As in an application, which a witness does not keep alive.
    process.removeAllListeners('unhandledRejection');
    void client.db('shop').command({ failWith: 2 });
  },
  'a listener that throws': async ({ clients: [library], port }) => {
    const client = new library.MongoClient(urlOf(port), { ...OPTIONS, monitorCommands: true });
    await client.connect();
    client.on('commandStarted', () => {
      throw new Error('mine');
    });
    await client.db('shop').command({ ping: 1 });
    await client.close();
  },
  'a client that is closed does not keep the process': async ({ clients: [library], port }) => {
    const client = new library.MongoClient(urlOf(port));
    await client.db('shop').command({ ping: 1 });
    await client.close();
    console.log('closed');
  },
};

/** Times, and numbers that go on through the whole process. */
const chance = new Set(
  'duration durationMS time requestId topologyId generation lastUpdateTime roundTripTime minRoundTripTime'.split(' '),
);

/** Through it goes what the server says, with the time of the day; it is looked at where it arrives. */
const unheard = /^SizedMessageTransform /;

/** How an operation ended, its promise tells, and that makes another one: docs/reliability.md says so. */
const promiseOfOurs =
  /^(?:.*\n)(?:\s+at (?:AsyncHook\.|promise|emitInit|Promise\.|.*node:internal|.*<anonymous>|.*witness\.cjs).*\n)*\s+at .*[/\\]mongodb[/\\]mongo-call\.js/;

/** What the packages are called. */
const names = ['mongodb'];

module.exports = { names, probes, exits, unheard, chance, promiseOfOurs, OPTIONS };
