import { deferRejection } from '../../src/breaker/pacing.js';
import { CircuitOpenError, type Guard } from '../../src/guard/guard.js';
import { isAbort } from '../../src/outcomes/timeouts.js';
import { Attachment } from '../attachment.js';
import type { Entry } from '../client-call.js';
import { harmless } from '../harmless.js';
import { hiddenProperty } from '../hidden-property.js';
import type { Patches } from '../patches.js';
import {
  errorFor,
  isOnItsOwn,
  own,
  targetOf,
  type Callback,
  type Connection,
  type Mail,
  type PoolResource,
  type Transport,
} from './client.js';
import { SmtpCall } from './smtp-call.js';

type Class = Readonly<Record<'prototype', object>>;

/** The files of nodemailer whose classes are patched, each by its shape. */
const FILES = [
  'smtp-transport/index.js',
  'smtp-pool/index.js',
  'smtp-pool/pool-resource.js',
  'smtp-connection/index.js',
];
/** How nodemailer makes the name that it has towards transports: the first of what it asks Node for. */
const VERSION: readonly string[] = ['%s (%s; +%s; %s/%s)', 'nodemailer'];
const ES_MODULES = /(file:\/\/\/\S+\/)mailer\/index\.js/;
const STACK_DEPTH = 30;

const BEGUN: Entry = { begun: true };
const GUARDING_FAILED = 'Guarding a message of nodemailer failed';

/** The calls that messages of pools are, and the connecting of connections. */
const calls = hiddenProperty<SmtpCall>();

/**
 * Guards what `nodemailer` 6 to 10 sends by SMTP: transports, pools, and connections that the application makes itself.
 *
 * A message is one call, with the connection that is made for it. That of a pool asks when it has its turn: until then it
 * waits for a connection or for its rate, which is no time of the server's.
 */
export class NodemailerAttachment extends Attachment {
  static readonly client = 'nodemailer';

  constructor(guard: Guard) {
    super(NodemailerAttachment.client, guard);
  }

  protected override patch(patches: Patches): void {
    for (const file of FILES) {
      const patch = (prototype: object) => this.#guard(patches, file, prototype);
      this.onEachCopy(patches, `/${file}`, (exports) => prototypeOf(exports, file), patch);
    }
    const patched = new Set<string>();
    let isUndone = false;
    patches.onUndo(() => (isUndone = true));
    const look = () => {
      const root = ES_MODULES.exec(stackOfNow())?.[1];
      if (root === undefined || patched.has(root)) return;
      patched.add(root);
      for (const file of FILES) {
        // They are there: the module that asks has imported them.
        import(root + file).then(
          harmless('Attaching to nodemailer failed', ({ default: exported }: { default?: unknown }) => {
            const prototype = prototypeOf(exported, file);
            if (prototype !== undefined && !isUndone) this.#guard(patches, file, prototype);
          }),
          () => {},
        );
      }
    };
    patches.onFormat(VERSION, look);
    // What has led here may be one of them.
    look();
  }

  #guard(patches: Patches, file: string, prototype: object): void {
    if (file === 'smtp-transport/index.js') this.#guardTransport(patches, prototype as Transport);
    else if (file === 'smtp-pool/index.js') this.#guardPool(patches, prototype as Transport);
    else if (file === 'smtp-pool/pool-resource.js') this.#guardTurns(patches, prototype as PoolResource);
    else this.#guardConnection(patches, prototype as Connection);
  }

  #guardTransport(patches: Patches, prototype: Transport): void {
    const ask = harmless(GUARDING_FAILED, (transport: Transport) => {
      own(transport);
      return this.#ask(transport.options);
    });
    this.#guardMessages(patches, prototype, ask);
  }

  /** The messages of a transport or a pool. What it finds out about its server, on a connection of its own, is none. */
  #guardMessages(
    patches: Patches,
    prototype: Transport,
    ask: (transport: Transport, mail: Mail) => SmtpCall | CircuitOpenError | undefined,
  ): void {
    patches.replace(
      prototype,
      'send',
      (send) =>
        function (this: Transport, mail, callback) {
          const call = ask(this, mail);
          if (call === undefined) return send.call(this, mail, callback);
          if (call instanceof CircuitOpenError) return refuse(callback, call) ?? send.call(this, mail, callback);
          try {
            return send.call(this, mail, ending(call, callback, this) ?? callback);
          } catch (error) {
            call.forgo();
            throw error;
          } finally {
            call.sent();
          }
        },
    );
    const take = harmless(GUARDING_FAILED, own);
    patches.replace(
      prototype,
      'verify',
      (verify) =>
        function (this: Transport, callback) {
          take(this);
          return verify.call(this, callback);
        },
    );
  }

  #guardPool(patches: Patches, prototype: Transport): void {
    const enqueue = harmless(GUARDING_FAILED, (pool: Transport, mail: Mail) => {
      own(pool);
      if (pool._closed) return undefined;
      const call = new SmtpCall(this);
      call.begin();
      const target = targetOf(pool.options);
      if (!this.isClosed(target)) {
        call.hasAsked = true;
        const rejection = call.enter(target, BEGUN);
        if (rejection !== undefined) return rejection;
      }
      calls.set(mail, call);
      return call;
    });
    this.#guardMessages(patches, prototype, enqueue);
  }

  #guardTurns(patches: Patches, prototype: PoolResource): void {
    const ask = harmless(GUARDING_FAILED, ({ pool }: PoolResource, mail: Mail): CircuitOpenError | undefined => {
      const call = calls.get(mail);
      // It is sent again where its connection was lost.
      if (call === undefined || call.hasAsked) return undefined;
      call.hasAsked = true;
      return call.enter(targetOf(pool.options), BEGUN);
    });
    patches.replace(
      prototype,
      'send',
      (send) =>
        function (this: PoolResource, mail, callback) {
          const rejection = ask(this, mail);
          if (rejection === undefined) return send.call(this, mail, callback);
          return passOver(this, callback, rejection) ?? send.call(this, mail, callback);
        },
    );
  }

  #guardConnection(patches: Patches, prototype: Connection): void {
    const ask = harmless(GUARDING_FAILED, (connection: Connection) =>
      isOnItsOwn(connection) ? this.#ask(connection.options) : undefined,
    );
    const begin = harmless(GUARDING_FAILED, (connection: Connection) => {
      const call = ask(connection);
      if (call instanceof SmtpCall) calls.set(connection, call);
      return call;
    });
    patches.replace(
      prototype,
      'connect',
      (connect) =>
        function (this: Connection, callback) {
          const call = begin(this);
          if (call === undefined) return connect.call(this, callback);
          if (call instanceof CircuitOpenError) {
            return fail(this, call) ?? connect.call(this, callback);
          }
          try {
            return connect.call(this, callback && (ending(call, callback) ?? callback));
          } catch (error) {
            call.forgo();
            throw error;
          } finally {
            call.sent();
          }
        },
    );
    patches.replace(
      prototype,
      'send',
      (send) =>
        function (this: Connection, envelope, message, done) {
          const call = ask(this);
          if (call === undefined) return send.call(this, envelope, message, done);
          if (call instanceof CircuitOpenError) {
            return refuse(done, call) ?? send.call(this, envelope, message, done);
          }
          try {
            return send.call(this, envelope, message, ending(call, done) ?? done);
          } catch (error) {
            call.forgo();
            throw error;
          } finally {
            call.sent();
          }
        },
    );
    patches.replace(
      prototype,
      'emit',
      (emit) =>
        function (this: Connection, event, ...args) {
          onEvent(this, event, args[0]);
          return emit.call(this, event, ...args);
        },
    );
  }

  #ask(options: Connection['options']): SmtpCall | CircuitOpenError | undefined {
    const call = new SmtpCall(this);
    return call.enter(targetOf(options)) ?? (call.isOver ? undefined : call);
  }
}

/** Whoever sent a message hears what has become of it. */
const onEnd = harmless(
  'Watching a message of nodemailer failed',
  (call: SmtpCall, error: unknown, transport?: Transport) => {
    if (!error) call.succeed();
    // The application has closed its pool.
    else if (transport?._closed) call.forgo();
    else if (isAbort(error)) call.abandon(error);
    else call.fail(error);
  },
  (call) => call.forgo(),
);

/** A callback that ends a call first. @param transport whose message it is, where it is one's */
const ending = harmless(
  'Watching a message of nodemailer failed',
  (call: SmtpCall, callback: Callback, transport?: Transport): Callback | undefined => {
    const watched: Callback = (error, ...results) => {
      onEnd(call, error, transport);
      return callback(error, ...results);
    };
    return watched;
  },
  (call) => {
    // Nobody would end it, were it to ask when its turn comes.
    call.hasAsked = true;
    call.forgo();
    return undefined;
  },
);

/** A connection that is no transport's tells what has become of its connecting. */
const onEvent = harmless(
  'Watching a connection of nodemailer failed',
  (connection: Connection, event: unknown, error: unknown) => {
    const call = calls.get(connection);
    if (call === undefined || call.isOver) return;
    if (event === 'connect') call.succeed();
    else if (event === 'error') onEnd(call, error);
    else if (event === 'end') call.abandon();
  },
  (connection) => calls.get(connection)?.forgo(),
);

const REJECTING_FAILED = 'Rejecting a message of nodemailer failed';

const refuse = harmless(REJECTING_FAILED, (callback: Callback, rejection: CircuitOpenError): true => {
  const error = errorFor(rejection);
  deferRejection(() => callback(error));
  return true;
});

/** Fails a connection as one fails that cannot be made. */
const fail = harmless(REJECTING_FAILED, (connection: Connection, rejection: CircuitOpenError): true => {
  const error = errorFor(rejection);
  deferRejection(() => connection._onError(error, 'ECONNECTION', false, 'CONN'));
  return true;
});

/** The next message of the pool has its turn, on a connection that may be yet to be made; this one took nothing of the rate. */
const passOver = harmless(
  REJECTING_FAILED,
  (resource: PoolResource, callback: Callback, rejection: CircuitOpenError): true => {
    const error = errorFor(rejection);
    const { _rateLimit: rate } = resource.pool;
    if (rate !== undefined && rate.counter > 0) rate.counter--;
    deferRejection(() => {
      callback(error);
      resource.available = true;
      resource.emit('available');
    });
    return true;
  },
);

function prototypeOf(exports: unknown, file: string): object | undefined {
  if (typeof exports !== 'function') return undefined;
  const { prototype } = exports as unknown as Class;
  const methods = file.startsWith('smtp-connection')
    ? ['connect', 'send', '_onError']
    : file.endsWith('pool-resource.js')
      ? ['connect', 'send']
      : ['send', 'verify', 'getSocket'];
  return methods.every((method) => typeof prototype[method as never] === 'function') ? prototype : undefined;
}

function stackOfNow(): string {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = STACK_DEPTH;
  try {
    return new Error().stack ?? '';
  } finally {
    Error.stackTraceLimit = limit;
  }
}
