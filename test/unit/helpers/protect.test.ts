import { expect } from 'chai';
import { EventEmitter, once } from 'node:events';
import { PassThrough, Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { CircuitOpenError, globalRegistry, isCircuitOpenError, protect, wrapperClass } from '../../../src/index.js';
import { rejectionOf } from '../../support/listen.js';
import { newName } from '../../support/names.js';

class Client {
  readonly label = 'plain';
  #secret = 'secret';
  inFlight: ((value: string) => void)[] = [];

  get secret(): string {
    return this.#secret;
  }
  set secret(value: string) {
    this.#secret = value;
  }
  async read(key: string): Promise<string> {
    return `${this.#secret}:${key}`;
  }
  async readTwice(): Promise<string> {
    return (await this.read('a')) + (await this.read('b'));
  }
  async fail(error: unknown): Promise<never> {
    throw error;
  }
  failAtOnce(error: unknown): Promise<never> {
    throw error;
  }
  hang(): Promise<string> {
    return new Promise((resolve) => this.inFlight.push(resolve));
  }
  async *count(to: number, error?: Error): AsyncGenerator<number> {
    for (let number = 1; number <= to; number++) yield number;
    if (error !== undefined) throw error;
  }
  async openStream(to: number, error?: Error): Promise<AsyncIterable<number>> {
    return this.count(to, error);
  }
  size(): number {
    return this.#secret.length;
  }
  chain(): this {
    return this;
  }
  async close(): Promise<string> {
    return 'closed';
  }
}

const ASYNC = ['read', 'readTwice', 'fail', 'failAtOnce', 'hang', 'count', 'openStream'] as const;

function protectedClient() {
  return protect(new Client(), { name: newName('client'), failureThreshold: 2, methods: ASYNC });
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe('protect', () => {
  it('counts a call that succeeds and returns what the client returns', async () => {
    const client = protectedClient();
    expect(await client.read('k')).to.equal('secret:k');
    expect(client.breaker.stats().calls).to.include({ success: 1, failure: 0, inFlight: 0 });
  });

  it('passes an error on as the same object, thrown or rejected, and opens the circuit', async () => {
    const client = protectedClient();
    const error = { not: 'even an Error' };
    expect(await rejectionOf(client.fail(error))).to.equal(error);
    let thrown: unknown;
    try {
      void client.failAtOnce(error);
    } catch (caught) {
      thrown = caught;
    }
    expect(thrown).to.equal(error);
    expect(client.breaker.state).to.equal('open');
  });

  it('rejects with CircuitOpenError and does not touch the client while the circuit is open', async () => {
    const client = protectedClient();
    client.breaker.forceOpen();
    expect(await rejectionOf(client.hang())).to.be.instanceOf(CircuitOpenError);
    expect(client.inFlight).to.be.empty;
    expect(await client.inner.read('k')).to.equal('secret:k');
    expect(client.breaker.stats().calls).to.include({ rejected: 1, success: 0 });
  });

  it('keeps instanceof, getters, setters and private fields working', () => {
    const client = protectedClient();
    expect(client).to.be.instanceOf(Client);
    expect(client.secret).to.equal('secret');
    client.secret = 'changed';
    expect(client.inner.secret).to.equal('changed');
    expect(client.size()).to.equal(7);
    expect(client.label).to.equal('plain');
    expect('inner' in client && 'breaker' in client && 'read' in client && !('other' in client)).to.be.true;
  });

  it('gives the same function each time a method is read, with its name and length', () => {
    const client = protectedClient();
    expect(client.read).to.equal(client.read);
    expect(client.read.name).to.equal('read');
    expect(client.read).to.have.lengthOf(1);
  });

  it('does not count what the client calls on itself', async () => {
    const client = protectedClient();
    expect(await client.readTwice()).to.equal('secret:asecret:b');
    expect(client.breaker.stats().calls.success).to.equal(1);
  });

  it('leads back to the guarded client where a method returns its client', () => {
    const client = protectedClient();
    expect(client.chain()).to.equal(client);
  });

  it('counts a hanging call as in flight until it settles', async () => {
    const client = protectedClient();
    const call = client.hang();
    expect(client.breaker.stats().calls.inFlight).to.equal(1);
    client.inFlight[0]!('done');
    expect(await call).to.equal('done');
    expect(client.breaker.stats().calls).to.include({ success: 1, inFlight: 0 });
  });

  it('gives no verdict on a call that its caller aborted', async () => {
    const client = protectedClient();
    await rejectionOf(client.fail(new DOMException('gone', 'AbortError')));
    expect(client.breaker.stats().calls).to.include({ ignored: 1, failure: 0 });
  });

  it('leaves a rejection unhandled that its caller leaves unhandled', async () => {
    const client = protectedClient();
    const error = new Error('nobody handles this');
    const others = process.listeners('unhandledRejection');
    process.removeAllListeners('unhandledRejection');
    const seen = once(process, 'unhandledRejection') as Promise<[unknown]>;
    try {
      void client.fail(error);
      expect((await seen)[0]).to.equal(error);
    } finally {
      for (const listener of others) process.on('unhandledRejection', listener);
    }
  });

  describe('with streams', () => {
    for (const [kind, open] of [
      ['an async generator', async (client: Client, to: number, error?: Error) => client.count(to, error)],
      ['a promise of a stream', (client: Client, to: number, error?: Error) => client.openStream(to, error)],
    ] as const) {
      it(`counts ${kind} until its end`, async () => {
        const client = protectedClient();
        const stream = await open(client, 2);
        expect(client.breaker.stats().calls).to.include({ success: 0, inFlight: 1 });
        expect(await collect(stream)).to.deep.equal([1, 2]);
        expect(client.breaker.stats().calls).to.include({ success: 1, inFlight: 0 });
      });

      it(`counts ${kind} that breaks as one failure, with the error unchanged`, async () => {
        const client = protectedClient();
        const error = new Error('broken off');
        expect(await rejectionOf(collect(await open(client, 1, error)))).to.equal(error);
        expect(client.breaker.stats().calls).to.include({ success: 0, failure: 1, inFlight: 0 });
      });

      it(`counts ${kind} whose reader stops early as a success`, async () => {
        const client = protectedClient();
        for await (const _ of await open(client, 3)) break;
        expect(client.breaker.stats().calls).to.include({ success: 1, ignored: 0, inFlight: 0 });
      });
    }

    it('refuses a stream with an error on its first item', async () => {
      const client = protectedClient();
      client.breaker.forceOpen();
      expect(isCircuitOpenError(await rejectionOf(collect(client.count(2))))).to.be.true;
    });

    it("judges Node's streams at their end, however they are read", async () => {
      const source = { read: async () => Readable.from(['a', 'b']) };
      const client = protect(source, { name: newName(), methods: ['read'] });
      const stream = await client.read();
      expect(client.breaker.stats().calls.inFlight).to.equal(1);
      const end = once(stream, 'close');
      stream.resume();
      await end;
      expect(client.breaker.stats().calls).to.include({ success: 1, inFlight: 0 });
    });

    it("counts a Node stream's error as a failure and does not handle it", async () => {
      const stream = new PassThrough();
      const client = protect({ read: async () => stream }, { name: newName(), methods: ['read'] });
      await client.read();
      expect(stream.listenerCount('error')).to.equal(0);
      const error = new Error('reset');
      const seen = once(stream, 'error');
      seen.catch(() => {});
      stream.on('error', () => {});
      stream.destroy(error);
      await once(stream, 'close').catch(() => {});
      expect(client.breaker.stats().calls).to.include({ failure: 1, inFlight: 0 });
    });

    it('counts a Node stream that its reader destroys as a success', async () => {
      const client = protect({ read: async () => new PassThrough() }, { name: newName(), methods: ['read'] });
      const stream = await client.read();
      stream.destroy();
      await once(stream, 'close');
      expect(client.breaker.stats().calls).to.include({ success: 1, inFlight: 0 });
    });

    it('judges web streams at their end, read by iteration or by a reader', async () => {
      const client = protect({ read: async () => new Blob(['ab']).stream() }, { name: newName(), methods: ['read'] });
      const stream = await client.read();
      for await (const _ of stream as unknown as AsyncIterable<unknown>);
      expect(client.breaker.stats().calls).to.include({ success: 1, inFlight: 0 });
      const reader = (await client.read()).getReader();
      expect(client.breaker.stats().calls.inFlight).to.equal(1);
      while (!(await reader.read()).done);
      expect(client.breaker.stats().calls).to.include({ success: 2, inFlight: 0 });
      await (await client.read()).pipeTo(new WritableStream());
      expect(client.breaker.stats().calls).to.include({ success: 3, inFlight: 0 });
    });
  });

  describe('with promises of their own kind', () => {
    class Query implements PromiseLike<string> {
      started = 0;
      #table = 'incidents';
      limited = false;
      limit(): this {
        this.limited = true;
        return this;
      }
      then<A = string, B = never>(
        fulfilled?: ((value: string) => A | PromiseLike<A>) | null,
        rejected?: ((error: unknown) => B | PromiseLike<B>) | null,
      ): Promise<A | B> {
        this.started++;
        const result = this.limited ? Promise.resolve(this.#table) : Promise.reject(new Error('no limit'));
        return result.then(fulfilled, rejected);
      }
    }
    class Database {
      select(): Query {
        return new Query();
      }
    }
    const database = () => protect(new Database(), { name: newName(), methods: ['select'] });

    it('does not start a query by looking at it', async () => {
      const client = database();
      const query = client.select();
      expect(query).to.be.instanceOf(Query);
      expect(query.started).to.equal(0);
      expect(await query.limit()).to.equal('incidents');
      expect(query.started).to.equal(1);
      expect(client.breaker.stats().calls).to.include({ success: 1, inFlight: 0 });
    });

    it('gives the permit of a query back that is dropped without being sent', async () => {
      setFlagsFromString('--expose-gc');
      const collect = runInNewContext('gc') as () => void;
      const client = database();
      (() => void client.select())();
      expect(client.breaker.stats().calls.inFlight).to.equal(1);
      while (client.breaker.stats().calls.inFlight > 0) {
        collect();
        await setImmediate();
      }
      expect(client.breaker.stats().calls).to.include({ ignored: 1, success: 0, failure: 0 });
    });

    it('counts its failure', async () => {
      const client = database();
      expect(await rejectionOf(client.select())).to.have.property('message', 'no limit');
      expect(client.breaker.stats().calls).to.include({ failure: 1, inFlight: 0 });
    });
  });

  describe('without a list of methods', () => {
    it('finds asynchronous methods by what they return, and never stands in the way of cleaning up', async () => {
      const client = protect(new Client(), { name: newName() });
      client.size();
      expect(client.breaker.stats().calls.success).to.equal(0);
      await client.read('k');
      const hanging = client.hang();
      client.inFlight[0]!('done');
      await hanging;
      expect(client.breaker.stats().calls).to.include({ success: 2, ignored: 0, inFlight: 0 });
      client.breaker.forceOpen();
      expect(client.size()).to.equal(6);
      expect(await client.close()).to.equal('closed');
      expect(await rejectionOf(client.read('k'))).to.be.instanceOf(CircuitOpenError);
      expect(await rejectionOf(client.hang())).to.be.instanceOf(CircuitOpenError);
    });

    it('leaves event emitters as they are', () => {
      const client = protect(new EventEmitter(), { name: newName() });
      let heard = 0;
      expect(client.on('news', () => heard++)).to.equal(client);
      client.emit('news');
      expect(heard).to.equal(1);
    });
  });

  it('says at once that a method does not exist', () => {
    const paths = ['chat.complete'] as const;
    expect(() => protect({ chat: {} }, { name: newName(), methods: paths })).to.throw(TypeError, 'chat.complete');
  });

  it('guards what stands in parts of the client, and nothing else in them', async () => {
    const sdk = { chat: { completions: { create: async () => 'text', list: async () => 'list' } } };
    const client = protect(sdk, { name: newName(), methods: ['chat.completions.create'] });
    expect(client.chat.completions).to.equal(client.chat.completions);
    await client.chat.completions.create();
    await client.chat.completions.list();
    expect(client.breaker.stats().calls.success).to.equal(1);
  });

  it('works on a frozen client whose methods stand on its class', async () => {
    const client = protect(Object.freeze(new Client()), { name: newName(), methods: ['read'] });
    expect(await client.read('k')).to.equal('secret:k');
    expect(client.label).to.equal('plain');
  });

  it('refuses to pretend to guard a method that is frozen', () => {
    const frozen = Object.freeze({ read: async () => 1 });
    expect(() => protect(frozen, { name: newName(), methods: ['read'] })).to.throw(TypeError, 'frozen');
  });

  it('shares one circuit among clients of one name', async () => {
    const name = newName();
    const one = protect(new Client(), { name, methods: ['read'] });
    const other = protect(new Client(), { name, methods: ['read'] });
    expect(one.breaker).to.equal(other.breaker);
    expect(globalRegistry.get(name)).to.equal(one.breaker);
  });
});

describe('wrapperClass', () => {
  it('makes a class from a table, whose options give way to those of an instance', async () => {
    const name = newName();
    const ClientWithBreaker = wrapperClass<Client>({ name, preset: 'llmService', methods: ['read'] });
    const inner = new Client();
    const client = new ClientWithBreaker(inner, { failureThreshold: 7 });
    expect(client.inner).to.equal(inner);
    expect(client).to.be.instanceOf(Client);
    expect(client.breaker.name).to.equal(name);
    expect(client.breaker.config).to.include({ preset: 'llmService', failureThreshold: 7 });
    expect(await client.read('k')).to.equal('secret:k');
    expect(client.breaker.stats().calls.success).to.equal(1);
  });
});
