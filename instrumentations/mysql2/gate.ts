// Where the connections, checkouts and statements of mysql2 ask, each once, and where what becomes of them is heard.
import { deferRejection } from '../../src/breaker/pacing.js';
import { CircuitOpenError } from '../../src/guard/guard.js';
import type { Attachment } from '../attachment.js';
import { harmless } from '../harmless.js';
import { hiddenProperty } from '../hidden-property.js';
import { noteAnswer } from '../restart-episodes.js';
import { enterStatement, type Sessions } from '../sql-session.js';
import {
  beginSession,
  carried,
  clustered,
  isInTransaction,
  pending,
  refusedBegins,
  refusedConnections,
  takeCarried,
  targetOf,
  targetOfPool,
  textOf,
  wouldConnect,
  type Checkout,
  type Command,
  type Connection,
  type Pool,
} from './connection.js';
import { CheckoutCall, ConnectionCall, StatementCall } from './mysql2-call.js';
import { begins, cleansUp, mayBegin } from './statement.js';
import { setImmediate } from '../../src/breaker/real-time.js';

/** What asks; everything else, such as QUIT and the reset of a connection, passes. */
const STATEMENTS: ReadonlySet<string> = new Set(['Query', 'Prepare', 'Execute', 'Ping']);

/** What becomes of the two commands of one `execute()`, which are one call. */
interface Pair {
  readonly call?: StatementCall | undefined;
  readonly isRefused?: boolean;
}

/** On connections: that `execute()` runs, and what has come of its first command. */
const executing = hiddenProperty<Pair | undefined>();
const NOT_YET: Pair = {};

/** The call that a command is, or ends. */
const calls = hiddenProperty<StatementCall>();

/** What a command that a connection is given comes to. */
export type Answer =
  /** It is not to be sent, and its caller hears why. */
  | 'refused'
  /** The same of the second command of a pair, whose caller hears by the first one. */
  | 'dropped'
  /** The connection is not to be made. */
  | 'disconnected';

/** Asks for a command that is about to be sent or queued. @returns nothing where it goes ahead */
export const ask = harmless(
  'Guarding a mysql2 command failed',
  (attachment: Attachment, connection: Connection, command: Command): Answer | undefined => {
    const { name } = command.constructor;
    if (connection.config.isServer) return undefined;
    if (name === 'ClientHandshake') return askForConnection(attachment, connection);
    // One that a pool closes is asked nothing more, and may never go back to it.
    if (name === 'Quit' && (connection._pool || connection.authorized)) takeCarried(connection)?.forgo();
    if (!STATEMENTS.has(name) || refusedConnections.get(connection)) return undefined;
    const pair = executing.get(connection);
    if (pair?.isRefused) return 'dropped';
    if (pair !== undefined && pair !== NOT_YET) {
      if (pair.call !== undefined) watch(pair.call, command, true);
      return undefined;
    }
    const admission = askForStatement(attachment, connection, command);
    if (admission instanceof CircuitOpenError) {
      refuse(connection, command, admission);
      if (pair !== undefined) executing.set(connection, { isRefused: true });
      return 'refused';
    }
    if (pair !== undefined) executing.set(connection, { call: admission });
    // The end of the first command of two is not the end of the call.
    if (admission !== undefined) watch(admission, command, pair === undefined);
    return undefined;
  },
);

/** `execute()` is about to run. @returns for `afterExecute` */
export const beforeExecute = harmless('Guarding a mysql2 command failed', (connection: Connection) => {
  const outer = executing.get(connection);
  executing.set(connection, NOT_YET);
  return outer;
});

/** It has run. */
export const afterExecute = harmless(
  'Guarding a mysql2 command failed',
  (connection: Connection, outer?: Pair): void => {
    const pair = executing.get(connection);
    executing.set(connection, outer);
    pair?.call?.sent();
  },
  (connection) => executing.set(connection, undefined),
);

function askForConnection(attachment: Attachment, connection: Connection): Answer | undefined {
  beginSession(connection);
  // Its first statement asks.
  if (isForCluster && !attachment.isClosed(targetOf(connection))) return undefined;
  const call = new ConnectionCall(attachment, connection);
  const checkout = arriving;
  arriving = undefined;
  let rejection: CircuitOpenError | undefined;
  if (checkout === undefined || checkout.isOver) {
    rejection = call.enter(targetOf(connection));
  } else {
    call.begin();
    call.takeOver(checkout);
  }
  if (rejection === undefined) {
    if (!call.isOver) carried.set(connection, call);
    return undefined;
  }
  refusedConnections.set(connection, true);
  deferRejection(() => connection._handleFatalError(rejection));
  return 'disconnected';
}

// The checkout that is about to make a connection: mysql2 does so before it returns.
let arriving: CheckoutCall | undefined;
// Whether it is for a cluster of pools, which gives a server up for good after five checkouts that failed: none is refused.
let isForCluster = false;
let isShedding = false;

/**
 * Asks for a checkout for which a pool would make a connection. While the circuit is closed, or a connection is at hand, it
 * asks nothing: the handshake or the first statement does. Waiting for a slot is never counted, since it is our own process
 * that keeps the connections.
 */
export const askForCheckout = harmless(
  'Guarding a checkout of mysql2 failed',
  (attachment: Attachment, pool: Pool): CircuitOpenError | undefined => {
    arriving = undefined;
    isForCluster = clustered.get(pool) === true;
    if (isForCluster || !wouldConnect(pool) || attachment.isClosed(targetOfPool(pool))) return undefined;
    const checkout = new CheckoutCall(attachment);
    const rejection = checkout.enter(targetOfPool(pool, true));
    if (rejection === undefined) arriving = checkout;
    return rejection;
  },
);

/** The pool has taken the checkout in: where it made no connection at once, the checkout is nobody's call. */
export const checkedOut = harmless('Guarding a checkout of mysql2 failed', () => {
  arriving?.forgo();
  arriving = undefined;
  isForCluster = false;
});

/** Fails a checkout the way a pool does when it cannot connect. */
export function refuseCheckout(pool: Pool, callback: Checkout, rejection: CircuitOpenError): void {
  deferRejection(() => callback(Object.assign(rejection, { fatal: true })));
  shed(pool);
}

/** Those that wait for a slot have their turn now: no connection that ends or comes back would wake them. */
const shed = harmless(
  'Guarding a checkout of mysql2 failed',
  (pool: Pool): void => {
    if (isShedding) return;
    isShedding = true;
    const { _connectionQueue: queue } = pool;
    while (queue.length > 0 && wouldConnect(pool)) pool.getConnection(queue.shift());
    isShedding = false;
  },
  () => void (isShedding = false),
);

/** A connection that is not to be made is given up before it has begun. */
export const disconnect = harmless('Rejecting a mysql2 connection failed', (connection: Connection): void => {
  // What its end would tell to those who wait, they hear from us.
  connection._closing = true;
  connection.stream.destroy?.();
});

function askForStatement(
  attachment: Attachment,
  connection: Connection,
  command: Command,
): StatementCall | CircuitOpenError | undefined {
  const call = new StatementCall(attachment, connection, command);
  const given = takeCarried(connection);
  if (given !== undefined && !given.isOver) {
    call.begin();
    call.takeOver(given);
  } else {
    // Without a callback its rows are read one by one.
    const isStream = typeof command.onResult !== 'function';
    const rejection = enterStatement(call, attachment, sessions, connection, command, isStream);
    if (rejection !== undefined) return rejection;
  }
  return call.isOver ? undefined : call;
}

function mustPass(connection: Connection, command: Command): boolean {
  return cleansUp(textOf(command)) || pending(connection).some((other) => mayBegin(textOf(other)));
}

const sessions: Sessions<Connection, Command> = {
  targetOf,
  isInTransaction,
  mustPass,
  refusedBegin: (connection) => refusedBegins.get(connection),
};

/** Takes over the callback of a command, by which errors come. `isWhole`: its end is the end of the call. */
const watch = harmless(
  'Watching a mysql2 command failed',
  (call: StatementCall, command: Command, isWhole: boolean): void => {
    if (isWhole) calls.set(command, call);
    const { onResult } = command;
    if (typeof onResult !== 'function') return;
    command.onResult = function (this: unknown, ...args) {
      if (args[0]) call.fail(args[0]);
      return onResult.apply(this, args);
    };
  },
  (call) => call.forgo(),
);

/** Fails a command the way mysql2 does when the server answers with an error. */
function refuse(connection: Connection, command: Command, rejection: CircuitOpenError): void {
  if (begins(textOf(command))) refusedBegins.set(connection, rejection);
  deferRejection(() => {
    delivered(connection, rejection);
    if (typeof command.onResult === 'function') command.onResult(rejection);
    else command.emit('error', rejection);
    command.emit('end');
  });
}

/** From here on its caller knows. */
const delivered = harmless(
  'Rejecting a mysql2 command failed',
  (connection: Connection, rejection: CircuitOpenError) => {
    if (refusedBegins.get(connection) === rejection) refusedBegins.set(connection, undefined);
  },
);

const WATCHING_FAILED = 'Watching a mysql2 connection failed';

/** A command has been given to its connection, and OpenTelemetry's span for it is there. */
export const sent = harmless('Watching a mysql2 command failed', (command: Command) => calls.get(command)?.sent());

/** A command tells of its end, or of an error that it has no callback for. */
export const onCommandEvent = harmless(
  'Watching a mysql2 command failed',
  (command: Command & { readonly _connection?: Connection | null }, event: unknown, error: unknown) => {
    const call = calls.get(command);
    if (call === undefined || call.isOver) return;
    if (event === 'error') return call.fail(error);
    call.onAnswered();
  },
  (command) => calls.get(command)?.forgo(),
);

/** A probe is no longer one where whoever got the connection asks nothing with it: its first statement asks anew. */
const forgoUnasked = harmless(WATCHING_FAILED, (connection: Connection) => takeCarried(connection)?.forgo());

/** A connection has got through its handshake. */
export const onHandshake = harmless(
  WATCHING_FAILED,
  (connection: Connection, attachment: Attachment) => {
    if (!connection.authorized) return;
    const target = targetOf(connection);
    // That of a pool is told by its first statement.
    if (!connection._pool) takeCarried(connection)?.succeed();
    else if (!attachment.isClosed(target)) setImmediate(forgoUnasked, connection).unref();
    noteAnswer(connection);
    attachment.signOfLife(target);
  },
  (connection) => takeCarried(connection)?.forgo(),
);

/** A connection could not be made, or is no more, and tells everything that waits for it. */
export const onConnectionError = harmless(
  WATCHING_FAILED,
  (connection: Connection, error: unknown) => {
    takeCarried(connection)?.fail(error);
    // Those with a callback hear by it, and those without by nothing.
    for (const command of pending(connection)) calls.get(command)?.fail(error);
  },
  forgoAll,
);

/** The application closes a connection: mysql2 says nothing more to what it has under way. */
export const onClose = harmless(
  WATCHING_FAILED,
  (connection: Connection) => {
    const call = takeCarried(connection);
    if (connection.authorized) call?.forgo();
    else call?.abandon();
    for (const command of pending(connection)) calls.get(command)?.abandon();
  },
  forgoAll,
);

function forgoAll(connection: Connection): void {
  takeCarried(connection)?.forgo();
  for (const command of pending(connection)) calls.get(command)?.forgo();
}

/** A connection goes back to its pool: a call that no statement has taken over was for nothing. */
export const onRelease = harmless(WATCHING_FAILED, (connection: Connection) => takeCarried(connection)?.forgo());
