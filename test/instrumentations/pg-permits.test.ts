import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { expect } from 'chai';
import pg = require('pg');
import { PgBreakerInstrumentation } from '../../instrumentations/pg/pg-instrumentation.js';
import { counts, TestGuard } from '../support/guarded.js';
import { rejectionOf } from '../support/rejections.js';

const TIMES = 5;

describe('pg: every permit settles', () => {
  let guard: TestGuard;
  let instrumentation: PgBreakerInstrumentation;

  beforeEach(() => {
    guard = new TestGuard({ preset: 'database', openDuration: 1 });
    instrumentation = new PgBreakerInstrumentation({}, guard);
  });
  afterEach(() => instrumentation.disable());

  async function fiveTimes(attempt: () => unknown): Promise<unknown[]> {
    const errors: unknown[] = [];
    for (let time = 0; time < TIMES; time++) {
      try {
        errors.push(await attempt());
      } catch (error) {
        errors.push(error);
      }
    }
    return errors;
  }

  /** Past its time to stay open: the next call is a probe. */
  async function halfOpenNext(target: { host: string; port: number; database: string }): Promise<void> {
    const breaker = guard.breakerOf({ system: 'postgresql', scheme: 'postgresql', ...target });
    for (let call = 0; call < breaker.config.failureThreshold; call++) breaker.acquire().failure(new Error('down'));
    const until = breaker.stats().openUntil!.getTime() + 1;
    while (Date.now() <= until) await new Promise((resolve) => setImmediate(resolve));
  }

  it('of a client whose port is none: a promise', async () => {
    const errors = await fiveTimes(() => new pg.Client({ port: 70_000 }).connect());
    for (const error of errors) expect(error).to.have.property('code', 'ERR_SOCKET_BAD_PORT');
    expect(guard.only.stats().calls).to.deep.equal(counts({ ignored: TIMES }));
  });

  it('of a client whose port is none: a callback', async () => {
    const errors = await fiveTimes(() => new pg.Client({ port: 70_000 }).connect(() => {}));
    for (const error of errors) expect(error).to.have.property('code', 'ERR_SOCKET_BAD_PORT');
    expect(guard.only.stats().calls).to.deep.equal(counts({ ignored: TIMES }));
  });

  it('of a pool whose port is none', async () => {
    const errors = await fiveTimes(() => new pg.Pool({ port: 70_000 }).connect());
    for (const error of errors) expect(error).to.have.property('code', 'ERR_SOCKET_BAD_PORT');
    expect(guard.only.stats().calls).to.deep.equal(counts({ ignored: TIMES }));
  });

  class Unmakeable extends pg.Client {
    constructor(config?: pg.ClientConfig) {
      super(config);
      throw new Error('no client');
    }
  }

  it('of a pool whose Client constructor throws', async () => {
    const errors = await fiveTimes(() => new pg.Pool({ port: 1, Client: Unmakeable }).query('SELECT 1'));
    for (const error of errors) expect(error).to.have.property('message', 'no client');
    expect(guard.only.stats().calls).to.deep.equal(counts({ ignored: TIMES }));
  });

  it('of a probe of a pool whose Client constructor throws', async () => {
    await halfOpenNext({ host: 'localhost', port: 1, database: 'd' });
    const before = guard.only.stats().calls;
    const pool = new pg.Pool({ host: 'localhost', port: 1, database: 'd', Client: Unmakeable });
    const errors = await fiveTimes(() => pool.connect());
    for (const error of errors) expect(error).to.have.property('message', 'no client');
    expect(guard.only.stats().calls).to.deep.equal({ ...before, ignored: TIMES });
    expect(pool).to.have.property('Client', Unmakeable);
  });

  it('of a pool whose Client has no connect', async () => {
    class Unconnectable extends pg.Client {
      override connect(): never {
        throw new Error('no connection');
      }
    }
    const errors = await fiveTimes(() => new pg.Pool({ port: 1, Client: Unconnectable }).connect());
    for (const error of errors) expect(error).to.have.property('message', 'no connection');
    expect(guard.only.stats().calls).to.deep.equal(counts({ ignored: TIMES }));
  });

  it('of a client whose connection cannot be made', async () => {
    const errors = await fiveTimes(() => new pg.Client({ host: '127.0.0.1', port: 1 }).connect());
    for (const error of errors) expect(error).to.have.property('code', 'ECONNREFUSED');
    expect(guard.only.stats().calls).to.deep.equal(counts({ failure: TIMES }));
  });

  describe('with a server that never gets to talk', () => {
    let silent: Server;
    let sockets: Socket[];

    beforeEach((done) => {
      sockets = [];
      silent = createServer((socket) => sockets.push(socket.resume())).listen(0, '127.0.0.1', done);
    });
    afterEach((done) => {
      for (const socket of sockets) socket.destroy();
      silent.close(done);
    });

    const address = () => ({ host: '127.0.0.1', port: (silent.address() as AddressInfo).port, user: 'u' });

    it('of a client that is ended on its way', async () => {
      await fiveTimes(() => {
        const client = new pg.Client(address());
        client.connect(() => expect.fail('pg itself does not call back here'));
        return client.end();
      });
      expect(guard.only.stats().calls).to.deep.equal(counts({ ignored: TIMES }));
    });

    it('of a client that connects a second time', async () => {
      const client = new pg.Client(address());
      client.connect(() => {});
      expect(await rejectionOf(client.connect()))
        .to.have.property('message')
        .that.contains('already been connected');
      expect(guard.only.stats().calls).to.deep.equal(counts({ inFlight: 1 }));
      await client.end();
      expect(guard.only.stats().calls).to.deep.equal(counts({ ignored: 1 }));
    });
  });
});
