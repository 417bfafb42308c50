/* eslint-disable prefer-rest-params -- Handed on by Reflect.apply and nothing else, `arguments` is never made; a rest array is. */
import { reportOnce } from '../../src/breaker/diagnostics.js';
import { deferRejection } from '../../src/breaker/pacing.js';
import { setImmediate } from '../../src/breaker/real-time.js';
import { CircuitOpenError } from '../../src/guard/guard.js';
import type { Target } from '../../src/target.js';
import type { Attachment } from '../attachment.js';
import { harmless } from '../harmless.js';
import { OnAnother } from '../hidden-property.js';
import { Patches } from '../patches.js';
import { noteAnswer } from '../restart-episodes.js';
import { enterStatement, type Sessions } from '../sql-session.js';
import { ConnectionCall, StatementCall } from './pg-call.js';
import { targetOf, type Address } from './pg-target.js';
import { begins, cleansUp, mayBegin, textOf } from './statement.js';

type Callback = (error: unknown, ...results: unknown[]) => void;

/** What pg puts on the wire: a `Query`, or whatever has its methods, such as a cursor or a stream. */
interface Submittable {
  callback?: unknown;
  submit(connection: unknown): unknown;
  handleError(error: unknown, connection: unknown): void;
  handleReadyForQuery(connection: unknown): void;
}

/** A `pg.Client`, with what its types do not say; fields that only some versions have are optional. */
export interface Client extends Address {
  readonly connection: { readonly stream?: { readonly readableEnded?: boolean } };
  readonly connectionParameters?: { readonly query_timeout?: unknown };
  readonly _Promise: PromiseConstructor;
  readonly _connecting: boolean;
  readonly _connected: boolean;
  readonly _ending: boolean;
  readonly _queryable: boolean;
  readonly _connectionTimeoutMillis?: number;
  readonly _txStatus?: string | null;
  readonly _activeQuery?: Submittable | null;
  readonly _queryQueue?: readonly Submittable[];
  readonly _sentQueryQueue?: readonly Submittable[];
  readonly activeQuery?: Submittable | null;
  readonly queryQueue?: readonly Submittable[];
  query(...args: unknown[]): unknown;
  getTransactionStatus?(): string | null;
  _connect(callback: Callback): void;
  _errorAllQueries(error: unknown): void;
  _handleReadyForQuery(message: { readonly status?: string } | undefined): void;
  _pulseQueryQueue(): void;
  emit(event: 'end'): boolean;
}

export interface ClientClass {
  readonly prototype: Client;
  readonly Query: { readonly prototype: Submittable };
}

const PATCHED = ['query', '_connect', '_errorAllQueries', '_handleReadyForQuery', '_pulseQueryQueue'] as const;

export function isClientClass(exports: unknown): exports is ClientClass {
  const { prototype, Query } = exports as Partial<ClientClass>;
  return (
    typeof exports === 'function' &&
    PATCHED.every((method) => typeof prototype?.[method] === 'function') &&
    typeof Query?.prototype.handleReadyForQuery === 'function'
  );
}

/**
 * What is to be known of a client between its calls. Each of our functions looks for it once and hands it on: clients take
 * more shapes on their way than V8 remembers in one place.
 */
class Notes extends OnAnother {
  #notes: ClientNotes | undefined;

  static of(client: Client): ClientNotes {
    // Not asked with `in` before it is read: of objects of many shapes, that takes twice as long as the read, 50 ns in all.
    try {
      return (client as unknown as Notes).#notes!;
    } catch {
      const notes = new ClientNotes(client);
      new Notes(client).#notes = notes;
      return notes;
    }
  }
}

class ClientNotes {
  /** The connection, or the checkout, that the next statement of a client takes over, so that the two count once. */
  carried: ConnectionCall | undefined = undefined;
  /** The statement that took a checkout over, until the server has answered it. */
  opening: StatementCall | undefined = undefined;
  /** Of versions that do not keep it themselves. */
  status: string | undefined = undefined;
  /** A BEGIN was rejected, and its caller cannot know yet. */
  refusedBegin: CircuitOpenError | undefined = undefined;
  #target: Target | undefined = undefined;

  constructor(readonly client: Client) {}

  get target(): Target {
    return (this.#target ??= targetOf(this.client));
  }
}

/** Until pg has made a query of it, which it does before its `query` returns. */
let submitting: StatementCall | undefined;

/** The call that a query is. */
class StatementOf extends OnAnother {
  #call: StatementCall | undefined;

  static get(query: object): StatementCall | undefined {
    return #call in query ? query.#call : undefined;
  }

  static set(query: object, call: StatementCall): void {
    if (!(#call in query)) new StatementOf(query);
    (query as StatementOf).#call = call;
  }
}

/** The first statement on this client takes this call over; a client that is yet to connect does so on its behalf. */
export function carry(client: Client, call: ConnectionCall): void {
  giveBack(client);
  Notes.of(client).carried = call;
}

/** Given back, or gone: a call that no statement has taken over was for nothing. */
export function giveBack(client: Client): void {
  const call = takeCarried(client);
  if (call === undefined) return;
  // Whoever ends a connection on its way has waited for it.
  if (client._connecting) call.abandon();
  else call.forgo();
}

function takeCarried(client: Client): ConnectionCall | undefined {
  const notes = Notes.of(client);
  const call = notes.carried;
  if (call !== undefined) notes.carried = undefined;
  return call;
}

/** Guards the statements of pg's JavaScript client, and the connections that no pool makes. */
export function patchClient(patches: Patches, { prototype, Query }: ClientClass, attachment: Attachment): void {
  const standard = Query.prototype;

  patches.replace(
    prototype,
    '_connect',
    (connect) =>
      function (this: Client, callback) {
        const admission = admitConnection(attachment, this);
        if (admission === undefined) return connect.call(this, callback);
        if (admission instanceof CircuitOpenError) return refuseConnection(this, callback, admission);
        const ended = connectionSettled.bind(undefined, this, admission);
        try {
          // pg calls it as a method of the client.
          connect.call(this, function (this: unknown, error, ...results) {
            ended(error);
            Reflect.apply(callback, this, [error, ...results]);
          });
        } catch (error) {
          // An argument was wrong.
          takeCarried(this)?.forgo();
          throw error;
        }
      },
  );

  // Every connection ends here, whoever ended it; on its way its queries get their errors by themselves.
  patches.replace(
    prototype,
    '_errorAllQueries',
    (errorAllQueries) =>
      function (this: Client, error) {
        connectionEnded(this, error);
        errorAllQueries.call(this, error);
      },
  );

  patches.replace(
    prototype,
    'query',
    (query) =>
      // Neither an array of the arguments nor a list of three where there were fewer: pg may count them.
      function (this: Client, statement: unknown) {
        const admission = admitStatement(attachment, this, statement, standard);
        if (admission === undefined) return Reflect.apply(query, this, arguments) as unknown;
        if (admission instanceof CircuitOpenError) {
          const args = Array.from(arguments) as unknown[];
          const refusal = isRefusable(args) === true ? refuse(this, args, admission) : undefined;
          if (refusal !== undefined) return refusal.result;
          return Reflect.apply(query, this, args);
        }
        try {
          if (hasTimeout(this, statement)) {
            const args = Array.from(arguments) as unknown[];
            return Reflect.apply(query, this, hearingTimeout(args, admission) ?? args);
          }
          return Reflect.apply(query, this, arguments) as unknown;
        } finally {
          statementSent(admission);
        }
      },
  );

  // Called with the query just put at the end of the queue: the object itself, which pg makes from the arguments.
  patches.replace(
    prototype,
    '_pulseQueryQueue',
    (pulse) =>
      function (this: Client) {
        watchQueued(this, standard);
        pulse.call(this);
      },
  );

  patches.replace(
    standard,
    'handleError',
    (handleError) =>
      function (this: Submittable, error, connection) {
        statementFailed(this, error);
        handleError.call(this, error, connection);
      },
  );

  patches.replace(
    standard,
    'handleReadyForQuery',
    (handleReadyForQuery) =>
      function (this: Submittable, connection) {
        StatementOf.get(this)?.succeed();
        handleReadyForQuery.call(this, connection);
      },
  );

  patches.replace(
    prototype,
    '_handleReadyForQuery',
    (handleReadyForQuery) =>
      function (this: Client, message) {
        readyForQuery(attachment, this, message?.status);
        handleReadyForQuery.call(this, message);
      },
  );
}

const admitConnection = harmless(
  'Guarding a pg connection failed',
  (attachment: Attachment, client: Client): ConnectionCall | CircuitOpenError | undefined => {
    if (client._connecting || client._connected || client._ending) {
      // pg will say so. A connection on its way still needs its call.
      if (!client._connecting) giveBack(client);
      return undefined;
    }
    const given = Notes.of(client).carried;
    if (given !== undefined) return given;
    const call = new ConnectionCall(attachment, 'pg.connect');
    const rejection = call.enter(targetOf(client));
    if (rejection !== undefined) return rejection;
    if (call.isOver) return undefined;
    Notes.of(client).carried = call;
    return call;
  },
);

/** Fails a connection in the order in which pg does: its caller hears first, then what waits for it, then who waits for its end. */
function refuseConnection(client: Client, callback: Callback, rejection: CircuitOpenError): void {
  deferRejection(() => {
    setImmediate(endRefused, client, rejection);
    callback(rejection);
  });
}

const endRefused = harmless('Rejecting a pg connection failed', (client: Client, rejection: CircuitOpenError): void => {
  // Its caller has tried again meanwhile.
  if (client._connecting || client._connected) return;
  client._errorAllQueries(rejection);
  process.nextTick(() => client.emit('end'));
});

const WATCHING_FAILED = 'Watching a pg connection failed';
const forgoCarried = (client: Client): void => takeCarried(client)?.forgo();

const connectionFailed = harmless(
  WATCHING_FAILED,
  (client: Client, error: unknown) => {
    Notes.of(client).carried?.onFailed(client, error);
    takeCarried(client);
  },
  forgoCarried,
);

const connectionSettled = harmless(
  WATCHING_FAILED,
  (client: Client, call: ConnectionCall, error: unknown) => {
    if (error) connectionFailed(client, error);
    // That of a pool is told by its first statement.
    else if (!call.isOfPool) takeCarried(client)?.succeed();
  },
  forgoCarried,
);

/** The server has answered: the end of a handshake, or of a statement. */
function readyForQuery(attachment: Attachment, client: Client, status: string | undefined): void {
  try {
    const notes = Notes.of(client);
    noteAnswer(notes);
    // It has ended, and its values are not ours to keep.
    notes.opening = undefined;
    if (client.getTransactionStatus === undefined) notes.status = status;
    if (client._connecting) attachment.signOfLife(notes.target);
  } catch (error) {
    reportOnce(WATCHING_FAILED, error);
  }
}

const connectionEnded = harmless(WATCHING_FAILED, (client: Client, error: unknown) => {
  if (client._ending) giveBack(client);
  else if (client._connecting) connectionFailed(client, error);
  else takeCarried(client)?.onLost(Notes.of(client), error);
  // A pool tells their callers before pg tells them.
  for (const query of pending(client)) StatementOf.get(query)?.onError(error);
});

/** @returns the call to watch, or why it must not be made; nothing where it goes ahead unwatched */
function admitStatement(
  attachment: Attachment,
  client: Client,
  statement: unknown,
  standard: Submittable,
): StatementCall | CircuitOpenError | undefined {
  try {
    // Where pg answers itself, or has to connect first, its answer is the right one.
    if (statement === undefined || statement === null) return undefined;
    if (!client._connected || !client._queryable || client._ending) return undefined;
    const notes = Notes.of(client);
    const call = new StatementCall(attachment, notes, statement);
    const given = notes.carried;
    notes.carried = undefined;
    if (given !== undefined && !given.isOver) {
      call.begin();
      call.takeOver(given);
      if (given.isOfPool) notes.opening = call;
    } else {
      const isCursor = isSubmittable(statement) && !isStandard(statement, standard);
      const rejection = enterStatement(call, attachment, sessions, notes, statement, isCursor);
      if (rejection !== undefined) return rejection;
      if (call.isOver) return undefined;
    }
    submitting = call;
    return call;
  } catch (error) {
    reportOnce('Guarding a pg statement failed', error);
    return undefined;
  }
}

const isRefusable = harmless('Guarding a pg statement failed', isCallable);

/** Whether pg itself ends a statement that takes too long. */
function hasTimeout(client: Client, statement: unknown): boolean {
  try {
    const { query_timeout: own } = statement as { readonly query_timeout?: unknown };
    return Boolean(own || client.connectionParameters?.query_timeout);
  } catch (error) {
    reportOnce('Watching a pg statement failed', error);
    return false;
  }
}

/**
 * Where `query_timeout` is over, pg tells the callback first and its query in the next tick: whoever calls again in the
 * callback would be ahead of the verdict.
 *
 * @returns the arguments with a callback that tells the call first; nothing where they stay as they are
 */
const hearingTimeout = harmless(
  'Watching a pg statement failed',
  (args: readonly unknown[], call: StatementCall): unknown[] | undefined => {
    const at = args[2] ? 2 : 1;
    const callback = args[at];
    if (typeof callback !== 'function') return undefined;
    const told = [...args];
    told[at] = function (this: unknown, ...results: unknown[]): void {
      if (results[0]) statementTimedOut(call, results[0]);
      Reflect.apply(callback, this, results);
    };
    return told;
  },
);

const statementTimedOut = harmless('Watching a pg statement failed', (call: StatementCall, error: unknown) =>
  call.onError(error),
);

function statementSent(call: StatementCall): void {
  try {
    if (submitting === call) submitting = undefined;
    // pg did not take it: an argument was wrong.
    if (!call.isWatched) call.forgo();
    call.sent();
  } catch (error) {
    reportOnce('Watching a pg statement failed', error);
  }
}

const statementFailed = harmless(
  'Watching a pg statement failed',
  (query: Submittable, error: unknown) => StatementOf.get(query)?.onError(error),
  (query) => StatementOf.get(query)?.forgo(),
);

function watchQueued(client: Client, standard: Submittable): void {
  try {
    const call = submitting;
    if (call?.session.client !== client) return;
    const query = queued(client).at(-1);
    if (query === undefined) return;
    submitting = undefined;
    // Asked a second time before it has ended, it tells of its first call.
    if (StatementOf.get(query)?.isOver === false) return;
    watch(query, call, standard);
    call.isWatched = true;
  } catch (error) {
    reportOnce('Watching a pg statement failed', error);
  }
}

/** As the server said last. */
function isInTransaction({ client, status: noted }: ClientNotes): boolean {
  const status = client._txStatus === undefined ? noted : client._txStatus;
  // Not known where an older pg had connected before we came: then nothing is rejected.
  return status === 'T' || status === 'E' || status === undefined;
}

function mustPass(notes: ClientNotes, statement: unknown): boolean {
  // Those that listen to a pool ask first on its new clients, and the caller of the checkout right behind them. Rejected, he
  // gives the client back as a broken one, which ends what they have asked; few of them have a handler for that.
  if (notes.opening?.isOver === false) return true;
  return cleansUp(textOf(statement)) || pending(notes.client).some((query) => mayBegin(textOf(query)));
}

const sessions: Sessions<ClientNotes, unknown> = {
  targetOf: ({ target }) => target,
  isInTransaction,
  mustPass,
  refusedBegin: ({ refusedBegin }) => refusedBegin,
};

function pending(client: Client): Submittable[] {
  const active = '_activeQuery' in client ? client._activeQuery : client.activeQuery;
  return [...(active ? [active] : []), ...(client._sentQueryQueue ?? []), ...queued(client)];
}

// Looking at the old names makes newer versions print a deprecation.
function queued(client: Client): readonly Submittable[] {
  return client._queryQueue ?? client.queryQueue ?? [];
}

function isSubmittable(statement: unknown): statement is Submittable {
  return typeof (statement as Partial<Submittable>).submit === 'function';
}

/** Whether a query has the methods that we watch on their prototype. */
function isStandard(query: Submittable, standard: Submittable): boolean {
  return query.handleError === standard.handleError && query.handleReadyForQuery === standard.handleReadyForQuery;
}

/** Tells the call when the query ends, on the query's own way to tell. */
function watch(query: Submittable, call: StatementCall, standard: Submittable): void {
  if (isStandard(query, standard)) return StatementOf.set(query, call);
  const own = new Patches();
  own.replace(
    query,
    'handleError',
    (handleError) =>
      function (this: Submittable, error, connection) {
        unwatch(own);
        call.onError(error);
        handleError.call(this, error, connection);
      },
  );
  own.replace(
    query,
    'handleReadyForQuery',
    (handleReadyForQuery) =>
      function (this: Submittable, connection) {
        unwatch(own);
        call.succeed();
        handleReadyForQuery.call(this, connection);
      },
  );
}

const unwatch = harmless('Watching a pg statement failed', (own: Patches) => own.undo());

function callbackOf([config, values, callback]: readonly unknown[]): unknown {
  return callback || (typeof values === 'function' && values) || (config as { callback?: unknown }).callback;
}

/** pg itself throws where a callback is not a function, which is the right answer. */
function isCallable(args: readonly unknown[]): boolean {
  const callback = callbackOf(args);
  return !callback || typeof callback === 'function' || isSubmittable(args[0]);
}

/** Fails a statement the way pg does on a client that is not queryable: each form has its own. */
const refuse = harmless(
  'Refusing a pg statement failed',
  (client: Client, args: readonly unknown[], error: CircuitOpenError): { readonly result: unknown } => {
    const [statement, values, callback] = args;
    if (begins(textOf(statement))) Notes.of(client).refusedBegin = error;
    if (isSubmittable(statement)) {
      if (!statement.callback)
        statement.callback = typeof values === 'function' ? values : callback || statement.callback;
      deliverLater(client, error, () => statement.handleError(error, client.connection));
      return { result: statement };
    }
    const done = callbackOf(args);
    if (done) {
      deliverLater(client, error, () => (done as Callback)(error));
      return { result: undefined };
    }
    // As pg does, so that the stack leads to whoever asked.
    Error.captureStackTrace(error);
    let fail: (error: unknown) => void;
    const result = new client._Promise((_resolve, reject) => (fail = reject));
    deliverLater(client, error, () => fail(error));
    return { result };
  },
  (client) => {
    Notes.of(client).refusedBegin = undefined;
    return undefined;
  },
);

function deliverLater(client: Client, error: CircuitOpenError, deliver: () => void): void {
  const notes = Notes.of(client);
  deferRejection(() => {
    // From here on its caller knows.
    if (notes.refusedBegin === error) notes.refusedBegin = undefined;
    deliver();
  });
}
