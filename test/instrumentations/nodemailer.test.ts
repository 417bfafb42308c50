import { expect } from 'chai';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import type nodemailer = require('nodemailer');
import type { default as SMTPConnection } from 'nodemailer/lib/smtp-connection';
import { NodemailerBreakerInstrumentation } from '../../instrumentations/nodemailer/nodemailer-instrumentation.js';
import { isCircuitOpenError } from '../../src/breaker/errors.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { CircuitOpenError } from '../../src/guard/guard.js';
import { counts, TestGuard } from '../support/guarded.js';
import { rejectionOf } from '../support/rejections.js';
import { findDeadPort, start, stopServers } from '../support/servers.js';
import { MailServer, type Fault } from '../support/smtp-server.js';

const OPTIONS: BreakerOptions = {
  failureThreshold: 3,
  minimumCalls: 1_000_000,
  successThreshold: 1,
  openDuration: 60_000,
  initialOpenDuration: 60_000,
  openJitter: 0,
};

const MESSAGE = { from: 'us@example.com', to: 'you@example.com', subject: 'Hello', text: 'Hello' };

interface MailError extends Error {
  readonly code?: string;
  readonly command?: string;
  readonly responseCode?: number;
}

// Version 10 is another one from within; those before are alike.
for (const version of ['nodemailer6', 'nodemailer8', 'nodemailer'])
  describe(version, () => {
    let library: typeof nodemailer;
    let Connection: typeof SMTPConnection;
    let server: MailServer;
    let guard: TestGuard;
    let instrumentation: NodemailerBreakerInstrumentation;
    const made: { close(): void }[] = [];

    before(async () => {
      library = require(version) as typeof nodemailer;
      const connection_: unknown = require(`${version}/lib/smtp-connection`);
      Connection = ((connection_ as { default?: unknown }).default ?? connection_) as typeof SMTPConnection;
      server = await MailServer.start();
    });
    after(() => server.stop());

    beforeEach(() => attach());
    afterEach(() => {
      instrumentation.disable();
      for (const one of made.splice(0)) one.close();
      server.fault = {};
      server.received.length = 0;
      return stopServers();
    });

    function attach(options: BreakerOptions = OPTIONS): void {
      instrumentation?.disable();
      guard = new TestGuard(options);
      instrumentation = new NodemailerBreakerInstrumentation({}, guard);
    }

    function transport(options: object = {}): nodemailer.Transporter {
      const one = library.createTransport({ host: '127.0.0.1', port: server.port, ...options } as object);
      made.push(one);
      return one;
    }

    const errorOf = async (promise: Promise<unknown>) => (await rejectionOf(promise)) as MailError;
    const calls = () => guard.calls(server.target);

    async function open(): Promise<void> {
      server.fault = { connect: [421, 'Too busy'] };
      for (let call = 0; call < 3; call++) await errorOf(transport().sendMail(MESSAGE));
      server.fault = {};
      expect(guard.only.state).to.equal('open');
    }

    /** A server that accepts, and does what it is told with each connection. */
    const bare = async (onConnection: (socket: Socket) => void) =>
      (await start(createServer(onConnection), 'smtp')).port;

    function connection(options: object = {}): SMTPConnection {
      const one = new Connection({ host: '127.0.0.1', port: server.port, ...options });
      made.push(one);
      return one;
    }

    const sendOn = (one: SMTPConnection) =>
      new Promise((resolve, reject) =>
        one.send({ from: 'us@example.com', to: ['you@example.com'] }, 'Subject: Hello\r\n\r\nHello', (error, info) =>
          error ? reject(error) : resolve(info),
        ),
      );

    it('counts a message once, however it is sent', async () => {
      await transport().sendMail(MESSAGE);
      await new Promise((resolve) => transport().sendMail(MESSAGE, resolve));
      await transport({ auth: { user: 'me', pass: 'right' } }).sendMail(MESSAGE);
      const pool = transport({ pool: true, maxConnections: 2 });
      await Promise.all(Array.from({ length: 5 }, () => pool.sendMail(MESSAGE)));
      expect(calls()).to.deep.equal(counts({ success: 8 }));
      expect(server.received).to.have.length(8);
      expect(guard.breakers.listNames()).to.deep.equal([server.target]);
    });

    it('counts connecting and sending of a connection that the application makes', async () => {
      const one = connection();
      await new Promise<void>((resolve) => one.connect(() => resolve()));
      await sendOn(one);
      one.quit();
      expect(calls()).to.deep.equal(counts({ success: 2 }));
    });

    it('asks nothing for finding out about a server, and for what is not sent by SMTP', async () => {
      await transport().verify();
      await transport({ pool: true }).verify();
      await library.createTransport({ jsonTransport: true }).sendMail(MESSAGE);
      await library.createTransport({ streamTransport: true, buffer: true }).sendMail(MESSAGE);
      expect(guard.breakers.listNames()).to.deep.equal([]);
    });

    const replies: readonly (readonly [says: string, fault: Fault, outcome: object])[] = [
      ['no greeting but 421', { connect: [421, 'Too busy'] }, { failure: 1 }],
      ['no service, in place of a greeting', { connect: [554, 'No service'] }, { failure: 1 }],
      ['a login that is refused', { auth: [535, 'No'] }, { ignored: 1 }],
      ['a login that cannot be looked up', { auth: [454, 'Not now'] }, { failure: 1 }],
      ['an unknown recipient', { to: [550, 'No such user'] }, { success: 1 }],
      ['a recipient that is to come back', { to: [450, 'Greylisted'] }, { ignored: 1 }],
      ['a refused sender', { from: [553, 'Not you'] }, { success: 1 }],
      ['no room', { from: [452, 'Insufficient storage'] }, { failure: 1 }],
      ['a refused text', { data: [554, 'Spam'] }, { success: 1 }],
      ['a text that is to come back', { data: [451, '4.7.1 Greylisting in action'] }, { ignored: 1 }],
      ['an error in processing', { data: [451, 'Error in processing'] }, { failure: 1 }],
      ['that it is about to close', { to: [421, 'Shutting down'] }, { failure: 1 }],
    ];
    for (const [says, fault, outcome] of replies) {
      it(`takes ${says} for ${Object.keys(outcome)[0]}, with and without a pool`, async () => {
        server.fault = fault;
        for (const pool of [false, true]) {
          attach();
          const error = await errorOf(transport({ pool, auth: { user: 'me', pass: 'right' } }).sendMail(MESSAGE));
          expect(error.responseCode).to.be.a('number');
          expect(calls()).to.deep.equal(counts(outcome));
        }
      });
    }

    it('takes a message that reaches some of its recipients for a success', async () => {
      server.fault = { to: [450, 'Greylisted'] };
      const { rejected } = await transport().sendMail({ ...MESSAGE, to: ['fine@example.com', 'you@example.com'] });
      expect(rejected).to.deep.equal(['you@example.com']);
      expect(calls()).to.deep.equal(counts({ success: 1 }));
    });

    it('opens where no connection can be made, and knows why', async () => {
      const port = await findDeadPort();
      for (let call = 0; call < 3; call++) {
        expect(await errorOf(transport({ port }).sendMail(MESSAGE))).to.have.property('code', 'ESOCKET');
      }
      expect(guard.only.state).to.equal('open');
      expect(isCircuitOpenError(await errorOf(transport({ port }).sendMail(MESSAGE)))).to.equal(true);
    });

    it('takes a greeting that never comes, and TLS that never answers, for a timeout', async () => {
      const port = await bare((socket) => socket.on('error', () => {}).resume());
      for (const options of [
        { greetingTimeout: 50 },
        { secure: true, connectionTimeout: 50 },
        { pool: true, greetingTimeout: 50 },
      ]) {
        attach({ ...OPTIONS, countTimeouts: true });
        expect(await errorOf(transport({ port, ...options }).sendMail(MESSAGE))).to.have.property('code', 'ETIMEDOUT');
        expect(guard.only.stats().calls).to.deep.equal(counts({ failure: 1 }));
      }
    });

    it('takes a server that accepts and closes for a failure, once for all that a pool tries', async () => {
      const port = await bare((socket) => socket.on('error', () => {}).end());
      for (const options of [{}, { pool: true, maxRequeues: 1 }]) {
        attach();
        await errorOf(transport({ port, ...options }).sendMail(MESSAGE));
        expect(guard.only.stats().calls).to.deep.equal(counts({ failure: 1 }));
      }
    });

    it('sends nothing while the circuit is open, and fails as nodemailer does', async () => {
      const single = transport();
      const pool = transport({ pool: true });
      const one = connection();
      const connected = connection();
      await new Promise<void>((resolve) => connected.connect(() => resolve()));
      await pool.sendMail(MESSAGE);
      await open();
      const before = server.connections;
      const told = once(one, 'told').catch((error: unknown) => error);
      one.connect(() => {});
      for (const error of [
        await errorOf(single.sendMail(MESSAGE)),
        await errorOf(pool.sendMail(MESSAGE)),
        await new Promise((resolve) => single.sendMail(MESSAGE, resolve)),
        await told,
        await errorOf(sendOn(connected)),
      ]) {
        expect(error).to.be.an('error').and.include({ code: 'ECONNECTION', command: 'CONN' });
        expect((error as Error).cause).to.be.instanceOf(CircuitOpenError);
      }
      expect(server.connections).to.equal(before);
      expect(server.received).to.have.length(1);
      expect(guard.only.stats().calls).to.deep.equal(counts({ success: 2, failure: 3, rejected: 5 }));
      guard.only.reset();
      await pool.sendMail(MESSAGE);
      await sendOn(connected);
    });

    it('rejects after the event loop has turned', async () => {
      await open();
      const order: string[] = [];
      const rejected = errorOf(transport().sendMail(MESSAGE)).then(() => order.push('rejected'));
      process.nextTick(() => order.push('tick'));
      await rejected;
      expect(order).to.deep.equal(['tick', 'rejected']);
    });

    it('asks for a message of a pool when its turn comes, and loses none of those that wait', async () => {
      const pool = transport({ pool: true, maxConnections: 1, rateLimit: 2, rateDelta: 100 });
      const waiting = Array.from({ length: 6 }, () => pool.sendMail(MESSAGE).catch((error: MailError) => error));
      await waiting[0];
      // Nobody counts what waits for its turn.
      expect(calls()).to.have.property('inFlight').that.is.at.most(1);
      guard.only.forceOpen();
      const results = await Promise.all(waiting);
      const refused = results.filter((result) => result instanceof Error);
      expect(refused.length).to.be.greaterThan(2);
      for (const error of refused) expect(isCircuitOpenError(error)).to.equal(true);
      expect(calls()).to.deep.equal(counts({ success: 6 - refused.length, rejected: refused.length }));
      guard.only.reset();
      await Promise.all(Array.from({ length: 3 }, () => pool.sendMail(MESSAGE)));
      expect(calls()).to.include({ success: 9 - refused.length, inFlight: 0 });
    });

    it('closes by one message that goes through', async () => {
      attach({ ...OPTIONS, initialOpenDuration: 1, openDuration: 1, halfOpenMaxCalls: 1 });
      const pool = transport({ pool: true });
      await pool.sendMail(MESSAGE);
      server.fault = { from: [452, 'Insufficient storage'] };
      for (let call = 0; call < 3; call++) await errorOf(transport().sendMail(MESSAGE));
      expect(guard.only.stats().transitionCount).to.equal(1);
      server.fault = {};
      while (guard.only.state !== 'closed') await pool.sendMail(MESSAGE).catch(() => undefined);
      expect(calls().inFlight).to.equal(0);
    });

    it('gives back the permit of a message whose pool is closed, and of one that its sender leaves', async () => {
      const port = await bare((socket) => socket.on('error', () => {}).resume());
      const pool = transport({ port, pool: true, maxConnections: 1, greetingTimeout: 100 });
      const closed = [errorOf(pool.sendMail(MESSAGE)), errorOf(pool.sendMail(MESSAGE))];
      const left = [];
      // Since version 10 its sender can leave, and a pool can be closed under what is on its way.
      if (version === 'nodemailer') {
        const gone = new AbortController();
        left.push(errorOf(transport({ port }).sendMail({ ...MESSAGE, signal: gone.signal })));
        setTimeout(() => gone.abort(), 20);
      }
      setTimeout(() => (pool.transporter as unknown as { close(options: object): void }).close({ force: true }), 20);
      await Promise.all([...closed, ...left]);
      expect(guard.only.stats().calls).to.include({ inFlight: 0 });
      if (version === 'nodemailer') expect(guard.only.stats().calls).to.include({ failure: 0 });
    });

    it('leaves nodemailer as it was', async () => {
      const prototype = Object.getPrototypeOf(transport().transporter) as Record<
        string,
        { name: string; length: number }
      >;
      const patched = prototype.send!;
      expect([patched.name, patched.length]).to.deep.equal(['send', 2]);
      await open();
      instrumentation.disable();
      expect(prototype.send).to.not.equal(patched);
      await transport().sendMail(MESSAGE);
      await transport({ pool: true }).sendMail(MESSAGE);
      expect(calls().success).to.equal(0);
    });

    it('is not hurt by a fault of ours', async () => {
      Object.assign(guard, {
        enter() {
          throw new Error('a fault of ours');
        },
        isClosed() {
          throw new Error('another one');
        },
      });
      await transport().sendMail(MESSAGE);
      await transport({ pool: true }).sendMail(MESSAGE);
      expect(server.received).to.have.length(2);
    });
  });
