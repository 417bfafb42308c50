import type { Guard } from '../../src/guard/guard.js';
import { log } from '../../src/telemetry/log.js';
import { Attachment } from '../attachment.js';
import { harmless } from '../harmless.js';
import type { Patches } from '../patches.js';
import { clustered, noteStatus, type Command, type Connection, type Pool, type PoolCluster } from './connection.js';
import {
  afterExecute,
  ask,
  askForCheckout,
  beforeExecute,
  checkedOut,
  disconnect,
  onClose,
  onCommandEvent,
  onConnectionError,
  onHandshake,
  onRelease,
  refuseCheckout,
  sent,
} from './gate.js';

interface Class<T> {
  readonly prototype: T;
}

/** A command that reads what the server says of the session. */
interface Reader {
  readonly _connection?: Connection | null;
  doneInsert(answer: { readonly serverStatus?: number } | null): unknown;
}

interface Handshake {
  handshakeResult(packet: unknown, connection: Connection): unknown;
}

const CONNECTION_METHODS = ['addCommand', 'execute', 'close', '_notifyError', '_handleFatalError'] as const;

/**
 * Guards `mysql2` 3: connections, pools and clusters of pools, with callbacks, promises and streams, and what is built on them.
 *
 * The door is `addCommand` of a connection, which everything passes on its way to the server, the handshake included: a
 * connection that is not to be made, and a statement that is not to be sent, fail as those do that the server refuses.
 */
export class Mysql2Attachment extends Attachment {
  static readonly client = 'mysql2';

  constructor(guard: Guard) {
    super(Mysql2Attachment.client, guard);
  }

  protected override patch(patches: Patches): void {
    const onClass = <T extends object>(file: string, methods: readonly string[], patch: (prototype: T) => void) =>
      this.onEachCopy(patches, `/mysql2/lib/${file}.js`, (exports) => prototypeWith<T>(exports, methods), patch);

    onClass<Connection>('base/connection', CONNECTION_METHODS, (prototype) =>
      this.#guardConnection(patches, prototype),
    );
    onClass<Pool>('base/pool', ['getConnection', 'releaseConnection'], (prototype) => {
      const attachment = this as Attachment;
      patches.replace(
        prototype,
        'getConnection',
        (getConnection) =>
          function (this: Pool, callback) {
            const rejection = askForCheckout(attachment, this);
            if (rejection !== undefined) return refuseCheckout(this, callback, rejection);
            try {
              return getConnection.call(this, callback);
            } finally {
              checkedOut();
            }
          },
      );
      patches.replace(
        prototype,
        'releaseConnection',
        (release) =>
          function (this: Pool, connection) {
            onRelease(connection);
            return release.call(this, connection);
          },
      );
    });
    const noteCluster = harmless('Finding the pools of a mysql2 cluster failed', (pool: Pool) =>
      clustered.set(pool, true),
    );
    onClass<PoolCluster>('pool_cluster', ['_getConnection'], (prototype) => {
      patches.replace(
        prototype,
        '_getConnection',
        (getConnection) =>
          function (this: PoolCluster, node, callback) {
            noteCluster(node.pool);
            return getConnection.call(this, node, callback);
          },
      );
    });
    onClass<Command>('commands/command', ['execute'], (prototype) => {
      patches.replace(
        prototype,
        'emit',
        (emit) =>
          function (this: Command, event, ...args) {
            if (event === 'end' || event === 'error') onCommandEvent(this, event, args[0]);
            return emit.call(this, event, ...args);
          },
      );
    });
    const onAnswer = harmless('Following a mysql2 transaction failed', (reader: Reader, status: number | undefined) => {
      if (reader._connection) noteStatus(reader._connection, status);
    });
    for (const file of ['commands/query', 'commands/execute']) {
      onClass<Reader>(file, ['doneInsert'], (prototype) => {
        patches.replace(
          prototype,
          'doneInsert',
          (doneInsert) =>
            function (this: Reader, answer) {
              onAnswer(this, answer?.serverStatus);
              return doneInsert.call(this, answer);
            },
        );
      });
    }
    onClass<Handshake>('commands/client_handshake', ['handshakeResult'], (prototype) => {
      const attachment = this as Attachment;
      patches.replace(
        prototype,
        'handshakeResult',
        (handshakeResult) =>
          function (this: Handshake, packet, connection) {
            const next = handshakeResult.call(this, packet, connection);
            onHandshake(connection, attachment);
            return next;
          },
      );
    });
  }

  #guardConnection(patches: Patches, prototype: Connection): void {
    const attachment = this as Attachment;
    patches.replace(
      prototype,
      'addCommand',
      (addCommand) =>
        function (this: Connection, command) {
          const answer = ask(attachment, this, command);
          if (answer === 'refused' || answer === 'dropped') return command;
          const added = addCommand.call(this, command);
          if (answer === 'disconnected') disconnect(this);
          else sent(command);
          return added;
        },
    );
    patches.replace(
      prototype,
      'execute',
      (execute) =>
        function (this: Connection, ...args) {
          const outer = beforeExecute(this);
          try {
            return Reflect.apply(execute, this, args);
          } finally {
            afterExecute(this, outer);
          }
        },
    );
    patches.replace(
      prototype,
      '_notifyError',
      (notifyError) =>
        function (this: Connection, error) {
          onConnectionError(this, error);
          return notifyError.call(this, error);
        },
    );
    patches.replace(
      prototype,
      'close',
      (close) =>
        function (this: Connection) {
          onClose(this);
          return close.call(this);
        },
    );
  }
}

/** The class that a file exports. */
function prototypeWith<T extends object>(exports: unknown, methods: readonly string[]): T | undefined {
  // Files that require each other see a half-made one first.
  if (typeof exports !== 'function') return undefined;
  const { prototype } = exports as unknown as Class<T>;
  if (methods.every((method) => typeof prototype[method as keyof T] === 'function')) return prototype;
  log.warn('this version of mysql2 is not built as otel-breaker knows it, its calls are not guarded');
  return undefined;
}
