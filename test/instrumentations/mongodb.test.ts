import { expect } from 'chai';
import mongoose from 'mongoose';
import { MongoClient, MongoServerSelectionError, type MongoClientOptions } from 'mongodb';
import { MongodbBreakerInstrumentation } from '../../instrumentations/mongodb/mongodb-instrumentation.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { CircuitOpenError } from '../../src/guard/guard.js';
import { counts, TestGuard } from '../support/guarded.js';
import { rejection } from '../support/ioredis.js';
import { MongoServer } from '../support/mongo-server.js';
import { findDeadPort } from '../support/servers.js';

const OPTIONS: BreakerOptions = {
  failureThreshold: 5,
  minimumCalls: 1_000_000,
  successThreshold: 1,
  openDuration: 60_000,
  initialOpenDuration: 60_000,
  openJitter: 0,
};
const QUICK: MongoClientOptions = { heartbeatFrequencyMS: 500, minHeartbeatFrequencyMS: 20 };

describe('mongodb 7', () => {
  let server: MongoServer;
  let guard: TestGuard;
  let instrumentation: MongodbBreakerInstrumentation;
  const clients: MongoClient[] = [];

  beforeEach(async () => {
    server = await MongoServer.start();
    guardWith(OPTIONS);
  });
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.close(true)));
    instrumentation.disable();
    await server.kill();
  });

  function guardWith(options: BreakerOptions): void {
    instrumentation?.disable();
    guard = new TestGuard(options);
    instrumentation = new MongodbBreakerInstrumentation({}, guard);
  }

  const breaker = () => guard.breaker(server.target);
  const calls = () => guard.calls(server.target);

  async function connected(options: MongoClientOptions = {}): Promise<MongoClient> {
    const client = new MongoClient(server.url, { ...QUICK, ...options });
    clients.push(client);
    return client.connect();
  }

  async function reached(state: 'open' | 'closed'): Promise<void> {
    if (breaker().state === state) return;
    await new Promise<void>((resolve) => {
      const end = breaker().onTransition(({ to }) => {
        if (to !== state) return;
        end();
        resolve();
      });
    });
  }

  it('counts an operation once, however it is asked, and each batch of a cursor', async () => {
    const client = await connected();
    const orders = client.db('shop').collection('orders');
    await orders.insertMany([{ n: 1 }, { n: 2 }, { n: 3 }]);
    await orders.updateOne({ n: 1 }, { $set: { m: 1 } });
    expect(await orders.countDocuments()).to.equal(3);
    expect(await orders.findOne({ n: 2 })).to.have.property('n', 2);
    expect(await orders.find().batchSize(2).toArray()).to.have.length(3);
    await orders.bulkWrite([{ insertOne: { document: { n: 4 } } }, { deleteOne: { filter: { n: 4 } } }]);
    await client.db('shop').command({ ping: 1 });
    expect(calls()).to.include({ failure: 0, ignored: 0, rejected: 0, inFlight: 0 });
    expect(calls().success).to.be.within(8, 9);
    expect(guard.breakers.listNames()).to.deep.equal([server.target]);
  });

  it('takes an error of the server for an answer, unless it says that it cannot work', async () => {
    const client = await connected();
    const orders = client.db('shop').collection('orders');
    await server.fail({ commands: ['find'], times: 1, code: 2 });
    await rejection(orders.findOne());
    await server.fail({ commands: ['find'], times: 1, code: 112 });
    await rejection(orders.findOne());
    await server.fail({ commands: ['find'], times: 1, code: 50 });
    await rejection(orders.findOne());
    expect(calls()).to.deep.equal(counts({ success: 1, ignored: 1, failure: 1 }));
  });

  it('opens by its failures, and then asks nothing, by the error that callers know', async () => {
    const client = await connected();
    const orders = client.db('shop').collection('orders');
    await server.fail({ commands: ['insert'], times: 5, code: 50 });
    for (let i = 0; i < 5; i++) await rejection(orders.insertOne({ i }));
    expect(breaker().state).to.equal('open');
    const before = await server.seen('find');
    for (const call of [
      () => orders.findOne(),
      () => orders.find().toArray(),
      () => orders.insertOne({ n: 1 }),
      () => client.db('shop').command({ ping: 1 }),
    ]) {
      const error = await rejection(call());
      expect(error).to.be.instanceOf(MongoServerSelectionError);
      expect(error.cause).to.be.instanceOf(CircuitOpenError);
    }
    expect(await server.seen('find')).to.equal(before);
    expect(calls()).to.deep.equal(counts({ failure: 5, rejected: 4 }));
  });

  it('rejects after the event loop has turned', async () => {
    const client = await connected();
    await client.db('shop').command({ ping: 1 });
    breaker().forceOpen();
    const order: string[] = [];
    const rejected = rejection(client.db('shop').command({ ping: 1 })).then(() => order.push('rejected'));
    await new Promise<void>((resolve) => process.nextTick(resolve));
    order.push('tick');
    await rejected;
    expect(order).to.deep.equal(['tick', 'rejected']);
  });

  it('rejects nothing inside a transaction, no further batch of a cursor, and no cleaning up', async () => {
    const client = await connected();
    const orders = client.db('shop').collection('orders');
    await orders.insertMany([{ n: 1 }, { n: 2 }, { n: 3 }]);
    const cursor = orders.find().batchSize(1);
    await cursor.next();
    const session = client.startSession();
    session.startTransaction();
    await orders.insertOne({ n: 4 }, { session });
    breaker().forceOpen();
    await orders.insertOne({ n: 5 }, { session });
    await session.commitTransaction();
    await session.endSession();
    await cursor.next();
    await cursor.close();
    expect(await server.seen('killCursors')).to.equal(1);
    expect((await rejection(orders.findOne())).cause).to.be.instanceOf(CircuitOpenError);
  });

  it('waits with the client while no server is known, and closes once one is', async () => {
    const client = await connected();
    const orders = client.db('shop').collection('orders');
    await orders.insertOne({ n: 1 });
    const opened = reached('open');
    await server.kill();
    const early = orders.countDocuments();
    await opened;
    const late = orders.countDocuments();
    await server.start();
    expect(await Promise.all([early, late])).to.deep.equal([0, 0]);
    expect(breaker().state).to.equal('closed');
    expect(calls()).to.include({ success: 3, rejected: 0, inFlight: 0 });
  });

  it('rejects what waits and what comes once the client has given up on one', async () => {
    const client = await connected({ serverSelectionTimeoutMS: 300, heartbeatFrequencyMS: 600_000 });
    const orders = client.db('shop').collection('orders');
    await orders.insertOne({ n: 1 });
    const opened = reached('open');
    await server.kill();
    const first = rejection(orders.findOne());
    await opened;
    const error = await first;
    expect(error).to.be.instanceOf(MongoServerSelectionError);
    const next = await rejection(orders.findOne());
    expect(next.cause).to.be.instanceOf(CircuitOpenError);
    await server.start();
    // The client would wait for ten seconds to look again: what is rejected makes it look, as what waits does.
    while (breaker().state !== 'closed') {
      await rejection(orders.findOne()).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(await orders.findOne()).to.equal(null);
    expect(calls().inFlight).to.equal(0);
  });

  it('rejects what waits from the opening on where a rule says so', async () => {
    guardWith({ ...OPTIONS, whenOpen: 'throw' });
    const client = await connected();
    const orders = client.db('shop').collection('orders');
    await orders.insertOne({ n: 1 });
    const lost = new Promise<void>((resolve) => {
      client.on('serverDescriptionChanged', ({ newDescription: { type } }) => type === 'Unknown' && resolve());
    });
    await Promise.all([lost, server.kill()]);
    const waiting = await rejection(orders.findOne());
    expect(waiting.cause).to.be.instanceOf(CircuitOpenError);
    expect((await rejection(orders.findOne())).cause).to.be.instanceOf(CircuitOpenError);
    await server.start();
    await reached('closed');
    expect(await orders.findOne()).to.equal(null);
    expect(calls().inFlight).to.equal(0);
  });

  it('takes a round of questions to all servers of a deployment for one event', async () => {
    const ports = await Promise.all([findDeadPort(), findDeadPort(), findDeadPort()]);
    guardWith({ ...OPTIONS, failureThreshold: 1_000 });
    const client = new MongoClient(`mongodb://${ports.map((port) => `127.0.0.1:${port}`).join()}/?replicaSet=rs0`, {
      ...QUICK,
      serverSelectionTimeoutMS: 150,
    });
    clients.push(client);
    let questions = 0;
    client.on('serverHeartbeatFailed', ({ connectionId }) => {
      if (connectionId.endsWith(String(ports[0]))) questions++;
    });
    await rejection(client.connect());
    const [name] = guard.breakers.listNames();
    expect(name).to.equal(`mongodb://127.0.0.1:${ports[0]}`);
    expect(guard.calls(name!)).to.deep.equal(counts({ failure: questions }));
  });

  it('guards the operations of mongoose, which has a copy of mongodb of its own, by the errors of that copy', async () => {
    const connection = await mongoose.createConnection(server.url, { autoCreate: false, autoIndex: false }).asPromise();
    try {
      const Order = connection.model('Order', new mongoose.Schema({ n: Number }));
      await Order.create({ n: 1 });
      expect(await Order.findOne({ n: 1 })).to.have.property('n', 1);
      expect(calls()).to.deep.equal(counts({ success: 2 }));
      breaker().forceOpen();
      const error = await rejection(Order.findOne({ n: 1 }).exec());
      expect(error).to.be.instanceOf(mongoose.mongo.MongoServerSelectionError);
      expect(error.cause).to.be.instanceOf(CircuitOpenError);
    } finally {
      await connection.close();
    }
  });

  it('rejects the first operation of a transaction, which begins it, and lets what ends one pass also when it is sent again', async () => {
    const client = await connected();
    const orders = client.db('shop').collection('orders');
    const session = client.startSession();
    session.startTransaction();
    await orders.insertOne({ n: 1 }, { session });
    breaker().forceOpen();
    await server.fail({ commands: ['commitTransaction'], times: 1, close: true });
    await session.commitTransaction();
    expect(await server.seen('commitTransaction')).to.equal(2);
    session.startTransaction();
    const error = await rejection(orders.insertOne({ n: 2 }, { session }));
    expect(error.cause).to.be.instanceOf(CircuitOpenError);
    await session.abortTransaction();
    await session.endSession();
  });

  it('opens where each operation loses its connection, though the server answers questions', async () => {
    const client = await connected({ retryReads: false });
    const orders = client.db('shop').collection('orders');
    await server.fail({ commands: ['find'], times: 5, close: true });
    for (let call = 0; call < 5; call++) await rejection(orders.findOne());
    expect(breaker().state).to.equal('open');
  });

  for (const code of [10107, 11600]) {
    it(`rejects where a server answers again and again that it cannot work (${code}), though the client looks for it each time`, async () => {
      guardWith({ ...OPTIONS, initialOpenDuration: 100, openDuration: 100 });
      const client = await connected({ serverSelectionTimeoutMS: 500 });
      const orders = client.db('shop').collection('orders');
      await server.fail({ commands: ['find'], times: 1_000_000, code });
      const errors: Error[] = [];
      const until = async (isEnough: () => boolean) => {
        const caller = async () => {
          while (!isEnough()) {
            await orders.findOne().catch((error: Error) => errors.push(error));
            await new Promise((resolve) => setTimeout(resolve, 10));
          }
        };
        await Promise.all(Array.from({ length: 10 }, caller));
      };
      const rejections = () => errors.filter(({ cause }) => cause instanceof CircuitOpenError);
      await until(() => rejections().length >= 50);
      expect(calls().rejected).to.equal(rejections().length);
      expect(rejections()[0]).to.be.instanceOf(MongoServerSelectionError);
      await server.heal();
      await until(() => breaker().state === 'closed');
      expect(await orders.findOne()).to.equal(null);
      expect(calls().inFlight).to.equal(0);
    });

    it(`counts nothing where the client sends again what was answered so (${code})`, async () => {
      const client = await connected();
      const orders = client.db('shop').collection('orders');
      for (let call = 0; call < 5; call++) {
        await server.fail({ commands: ['find'], times: 1, code });
        expect(await orders.findOne()).to.equal(null);
      }
      expect(calls()).to.deep.equal(counts({ success: 5 }));
    });
  }

  it('takes the loss of many connections by one restart for one failure', async () => {
    const client = await connected({ retryReads: false });
    const orders = client.db('shop').collection('orders');
    await Promise.all(Array.from({ length: 10 }, () => orders.findOne()));
    await server.fail({ commands: ['find'], times: 0, blockMs: 60_000 });
    const lost = Array.from({ length: 10 }, () => rejection(orders.findOne()));
    while ((await server.seen('find')) < 20) await new Promise((resolve) => setTimeout(resolve, 5));
    await server.kill();
    await server.start();
    await Promise.all(lost);
    expect(await orders.findOne()).to.equal(null);
    expect(breaker().state).to.equal('closed');
    expect(calls().ignored).to.equal(9);
  });

  it('closes once a server is known again where operations under way were lost with the last one', async () => {
    const client = await connected({ retryReads: false });
    const orders = client.db('shop').collection('orders');
    await orders.findOne();
    await server.fail({ commands: ['find'], times: 0, blockMs: 60_000 });
    const lost = rejection(orders.findOne());
    while ((await server.seen('find')) < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    const opened = reached('open');
    await server.kill();
    await lost;
    await opened;
    const waiting = orders.findOne();
    await server.start();
    expect(await waiting).to.equal(null);
    expect(breaker().state).to.equal('closed');
    expect(calls()).to.include({ success: 2, rejected: 0, inFlight: 0 });
  });

  it('gives back the permit of an operation that its caller gives up', async () => {
    const client = await connected();
    const orders = client.db('shop').collection('orders');
    await orders.insertOne({ n: 1 });
    await server.fail({ commands: ['find'], times: 0, blockMs: 200 });
    const gone = new AbortController();
    const left = rejection(orders.find({}, { signal: gone.signal }).toArray());
    setTimeout(() => gone.abort(), 20);
    await left;
    await server.heal();
    while (calls().inFlight > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(calls()).to.deep.equal(counts({ success: 1, ignored: 1 }));
  });

  it('leaves the client as it was, and is not hurt by a fault of ours', async () => {
    const client = await connected();
    Object.assign(guard, {
      enter() {
        throw new Error('a fault of ours');
      },
    });
    expect(await client.db('shop').command({ ping: 1 })).to.have.property('ok', 1);
    instrumentation.disable();
    const { executeOperation } = require('mongodb/lib/operations/execute_operation') as {
      executeOperation: { name: string; length: number; constructor: { name: string } };
    };
    expect([executeOperation.name, executeOperation.length]).to.deep.equal(['executeOperation', 3]);
    expect(executeOperation.constructor.name).to.equal('AsyncFunction');
  });
});
