// What applications do with `mongoose`, as far as it is more than `mongodb`.
'use strict';

const { setTimeout: delay } = require('node:timers/promises');
const { nextTurn } = require('./witness.cjs');
const { chance, promiseOfOurs, unheard, OPTIONS: OF_MONGODB } = require('./mongodb.cjs');

const OPTIONS = { ...OF_MONGODB, autoIndex: false, autoCreate: false };

const urlOf = (port) => `mongodb://127.0.0.1:${port}/shop?replicaSet=rs0`;

const fail = (connection, mode, data = {}) =>
  connection.getClient().db('admin').command({ configureFailPoint: 'failCommand', mode, data });

const probe =
  (use, options) =>
  async ({ witness, clients: [mongoose], port, deadPort }) => {
    const connection = await mongoose.createConnection(urlOf(port), { ...OPTIONS, ...options }).asPromise();
    const schema = new mongoose.Schema({ _id: Number, n: { type: Number, max: 100 } });
    schema.pre('save', () => witness.note('before saving'));
    schema.post('save', () => witness.note('saved'));
    const Order = connection.model('Order', schema);
    const fails = (data) => fail(connection, { times: 1 }, { failCommands: ['find'], ...data });
    try {
      await Order.collection.drop();
      await use({ witness, mongoose, connection, Order, fails, port, deadPort });
      await fail(connection, 'off');
    } finally {
      await connection.close();
      await nextTurn();
    }
  };

const plain = (order) => order && { id: order._id, n: order.n, isNew: order.isNew };

const probes = {
  models: probe(async ({ witness, Order }) => {
    await witness.outcome('create', Order.create({ _id: 1, n: 1 }).then(plain));
    await witness.outcome('find', Order.findOne({ n: 1 }).then(plain));
    await witness.outcome('find by id', Order.findById(1).then(plain));
    await witness.outcome('lean', Order.find().lean());
    await witness.outcome(
      'insert many',
      Order.insertMany([{ _id: 2 }, { _id: 3 }]).then((all) => all.map(plain)),
    );
    const order = await Order.findById(2);
    order.n = 5;
    await witness.outcome('save', order.save().then(plain));
    await witness.outcome('save nothing', order.save().then(plain));
    await witness.outcome('update', Order.updateOne({ _id: 1 }, { n: 7 }));
    await witness.outcome('find and update', Order.findOneAndUpdate({ _id: 1 }, { n: 8 }).then(plain));
    await witness.outcome('count', Order.countDocuments());
    await witness.outcome('exists', Order.exists({ _id: 1 }));
    await witness.outcome('aggregate', Order.aggregate([{ $match: {} }]));
    await witness.outcome('write', Order.bulkWrite([{ deleteOne: { filter: { _id: 1 } } }]));
    await witness.outcome('delete', Order.deleteMany());
  }),

  'errors and wrong arguments': probe(async ({ witness, Order, fails }) => {
    await witness.outcome('not valid', Order.create({ _id: 1, n: 1_000 }));
    await witness.outcome('no number', Order.findOne({ n: 'text' }));
    await witness.outcome('no id', Order.findById('text'));
    await Order.create({ _id: 1 });
    await witness.outcome('there already', Order.create({ _id: 1 }));
    for (const errorCode of [2, 50, 11600]) {
      await fails({ errorCode });
      await witness.outcome(`code ${errorCode}`, Order.findOne().then(plain));
    }
    await fails({ closeConnection: true });
    await witness.outcome('a loss', Order.findOne().then(plain));
    await fails({ failCommands: ['insert'], errorCode: 112 });
    await witness.outcome('a conflict', Order.create({ _id: 2 }));
    const query = Order.findOne();
    await query;
    await witness.outcome('a query that was executed', query.exec());
  }),

  cursors: probe(async ({ witness, Order }) => {
    await Order.insertMany([{ _id: 1 }, { _id: 2 }, { _id: 3 }]);
    for await (const order of Order.find().batchSize(1)) witness.note('each', plain(order));
    await Order.find()
      .cursor({ batchSize: 1 })
      .eachAsync((order) => witness.note('in turn', plain(order)));
    for await (const order of Order.aggregate([]).cursor({ batchSize: 1 })) witness.note('raw', order);
  }),

  transactions: probe(async ({ witness, connection, Order }) => {
    await witness.outcome(
      'transaction',
      connection.transaction(async (session) => {
        await Order.create([{ _id: 1 }], { session });
        witness.stack('within');
      }),
    );
    await witness.outcome(
      'given up',
      connection.transaction(async (session) => {
        await Order.create([{ _id: 2 }], { session });
        throw new Error('mine');
      }),
    );
    const session = await connection.startSession();
    await witness.outcome(
      'a session',
      session.withTransaction(() => Order.findOne().session(session).then(plain)),
    );
    await session.endSession();
  }),

  'operations before the connection': async ({ witness, clients: [mongoose], port }) => {
    const connection = mongoose.createConnection();
    const Order = connection.model('Order', new mongoose.Schema({ _id: Number }));
    const calls = [Order.findOne(), Order.create({ _id: 1 }), Order.countDocuments()].map((call) =>
      Promise.resolve(call).then((value) => typeof value),
    );
    await delay(10);
    await connection.openUri(urlOf(port), OPTIONS);
    for (const call of calls) await witness.outcome('call', call);
    await connection.close();
    await witness.outcome('after', Promise.resolve(Order.findOne().maxTimeMS(10)));
    await nextTurn();
  },

  'nobody there': async ({ witness, clients: [mongoose], deadPort }) => {
    const connection = mongoose.createConnection(urlOf(deadPort), {
      ...OPTIONS,
      minHeartbeatFrequencyMS: 500,
      serverSelectionTimeoutMS: 100,
    });
    connection.on('error', (error) => witness.note('error', error));
    const Order = connection.model('Order', new mongoose.Schema({}, { bufferTimeoutMS: 30 }));
    const called = witness.outcome('find', Promise.resolve(Order.findOne()));
    await witness.outcome('connect', connection.asPromise());
    await called;
    await connection.close();
    await nextTurn();
  },

  'many at once, in their order': probe(
    async ({ witness, Order }) => {
      await Order.insertMany([{ _id: 1 }, { _id: 2 }, { _id: 3 }]);
      const calls = Array.from({ length: 20 }, (_, at) => Order.findOne({ _id: 1 + (at % 3) }));
      await Promise.all(calls.map((call, at) => call.then((order) => witness.note('found', at, plain(order)))));
    },
    { maxPoolSize: 1 },
  ),
};

const exits = {
  'a query that nobody handles': async ({ clients: [mongoose], port }) => {
    await mongoose.connect(urlOf(port), OPTIONS);
    process.removeAllListeners('unhandledRejection');
    void mongoose.connection.db.command({ failWith: 2 });
  },
  'a connection that is closed does not keep the process': async ({ clients: [mongoose], port }) => {
    await mongoose.connect(urlOf(port), OPTIONS);
    await mongoose.connection.db.command({ ping: 1 });
    await mongoose.disconnect();
    console.log('closed');
  },
};

/** What the packages are called. */
const names = ['mongoose'];

module.exports = { names, probes, exits, unheard, chance, promiseOfOurs };
