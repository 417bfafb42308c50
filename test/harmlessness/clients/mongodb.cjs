'use strict';
const { MongoClient } = require('mongodb');

module.exports = async () => {
  const client = await new MongoClient(process.env.MONGODB_URL).connect();
  const orders = client.db('shop').collection('orders');
  await orders.insertMany([{ n: 1 }, { n: 2 }, { n: 3 }]);

  // A client that could not connect says of the next operation that it is closed.
  const NO_SERVER = /^Mongo(ServerSelection|TopologyClosed)Error$/;
  /** By name: where its circuit is open, an operation gets the same error with another cause. */
  const name = ({ name }) => (NO_SERVER.test(name) ? 'no server' : name);

  /** Two operations of a client that finds no server: each waits until the client gives up on it. */
  async function unconnected() {
    const lost = new MongoClient(`mongodb://127.0.0.1:${process.env.DEAD_PORT}/`, {
      serverSelectionTimeoutMS: 15,
      heartbeatFrequencyMS: 500,
      minHeartbeatFrequencyMS: 20,
    });
    const operations = lost.db('shop').collection('orders');
    const first = await operations.findOne().catch(name);
    const second = await operations.findOne().catch(name);
    await lost.close();
    return `${first}, ${second}`;
  }

  return {
    calls: [
      { name: 'an operation', call: async () => String((await orders.findOne({ n: 2 })).n) },
      { name: 'an error of the server', call: () => client.db('shop').command({ failWith: 2 }) },
      { name: 'an error of a server in trouble', call: () => client.db('shop').command({ failWith: 50 }) },
      {
        name: 'a cursor',
        call: async () => {
          const cursor = orders.find().batchSize(1);
          await cursor.next();
          await cursor.next();
          await cursor.close();
          return 'closed';
        },
      },
      {
        name: 'a transaction',
        call: () =>
          client.withSession((session) =>
            session.withTransaction(async () => {
              await orders.findOne({ n: 1 }, { session });
              await orders.findOne({ n: 2 }, { session });
              return 'done';
            }),
          ),
      },
      {
        name: 'an operation that is given up',
        call: () => orders.findOne({}, { signal: AbortSignal.abort() }).catch(name),
      },
      { name: 'no server', call: unconnected },
      { name: 'no server and an open circuit', call: unconnected, open: true },
      { name: 'an open circuit', call: async () => String((await orders.findOne({ n: 2 })).n), open: true },
    ],
    end: () => client.close(),
  };
};
