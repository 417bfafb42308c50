import { CircuitOpenError, UNGUARDED, type Admission, type Permit } from '../../src/guard/guard.js';
import type { Target } from '../../src/target.js';
import type { NamedCall } from '../../src/telemetry/events/call-context.js';
import { hiddenProperty } from '../hidden-property.js';
import { Patches } from '../patches.js';
import { verdictOfPgError } from '../../src/outcomes/postgresql.js';
import { begins, cleansUp, mayBegin } from './statement.js';

// Captured at load: the fake timers of an application's tests must not hold rejections back.
const nextTick = process.nextTick.bind(process);
const { queueMicrotask } = globalThis;

/** The guard, as pg's calls use it. */
export interface Door {
  isClosed(target: Target): boolean;
  context(spanName: string | (() => string)): NamedCall;
  sent(call: NamedCall, permit?: Permit): void;
  enter(target: Target, context: NamedCall, longRunning?: boolean): Admission;
  pass(target: Target, context: NamedCall, longRunning?: boolean): Permit;
}

type Callback = (error: unknown, ...results: unknown[]) => void;

/** What pg puts on the wire: a `Query`, or whatever has its methods, such as a cursor or a stream. */
interface Submittable {
  readonly text?: unknown;
  /** Of a pg-query-stream. */
  readonly cursor?: { readonly text?: unknown };
  callback?: unknown;
  submit(connection: unknown): unknown;
  handleError(error: unknown, connection: unknown): void;
  handleReadyForQuery(connection: unknown): void;
}

/** A `pg.Client`, with what its types do not say; fields that only some versions have are optional. */
export interface Client {
  readonly host: string;
  readonly port: number;
  readonly database: string | undefined;
  readonly connection: { readonly stream?: { readonly readableEnded?: boolean } };
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

// The permit of a connection being made, and of a checkout that had to ask for one: the first statement takes it over,
// so that the two count once.
const standing = hiddenProperty<Permit | undefined>();
const statements = hiddenProperty<Permit>();
const targets = hiddenProperty<Target>();
// Of versions that do not keep it themselves.
const statuses = hiddenProperty<string | undefined>();
// A BEGIN was rejected, and its caller cannot know yet.
const refusedBegins = hiddenProperty<CircuitOpenError | undefined>();

let connecting: Permit | undefined;

/** Makes a connection on behalf of a checkout: it asks for no permit of its own. */
export function connectWith(permit: Permit, connect: () => Client | undefined): void {
  connecting = permit;
  let client: Client | undefined;
  try {
    client = connect();
  } finally {
    // Not taken: a class of the application's connects later, after looking up a password perhaps.
    if (connecting !== undefined && client !== undefined) standing.set(client, connecting);
    connecting = undefined;
  }
}

/** The first statement on this client has its permit already. */
export function handOver(client: Client, permit: Permit): void {
  standing.set(client, permit);
}

/** Given back, or gone: a permit that no statement has taken was for nothing. */
export function giveBack(client: Client): void {
  takeStanding(client)?.ignore();
}

/** @param call the one that it is for from now on */
function takeStanding(client: Client, call?: NamedCall): Permit | undefined {
  const permit = standing.get(client);
  if (permit === undefined) return undefined;
  standing.set(client, undefined);
  if (call !== undefined && permit !== UNGUARDED) permit.context = call;
  return permit;
}

/** Guards the statements of pg's JavaScript client, and the connections that no pool makes. */
export function patchClient(patches: Patches, { prototype, Query }: ClientClass, door: Door): void {
  let submitting: Permit | undefined;

  patches.replace(
    prototype,
    '_connect',
    (connect) =>
      function (this: Client, callback) {
        const given = connecting ?? standing.get(this);
        connecting = undefined;
        if (this._connecting || this._connected || this._ending) {
          given?.ignore();
          return connect.call(this, callback);
        }
        const admission = given ?? door.enter(targetOf(this), door.context('pg.connect'));
        if (admission instanceof CircuitOpenError) return nextTick(callback, admission);
        if (admission.settled) return connect.call(this, callback);
        standing.set(this, admission);
        const settle = (error: unknown) => {
          if (error) settleConnection(this, admission, error);
          else if (given === undefined) takeStanding(this)?.success();
        };
        // pg calls it as a method of the client.
        connect.call(this, function (this: unknown, error, ...results) {
          settle(error);
          Reflect.apply(callback, this, [error, ...results]);
        });
      },
  );

  // Every connection ends here, whoever ended it; on its way its queries get their errors by themselves.
  patches.replace(
    prototype,
    '_errorAllQueries',
    (errorAllQueries) =>
      function (this: Client, error) {
        if (this._ending) giveBack(this);
        // While connecting, the callback knows more.
        else if (!this._connecting) settleStanding(this, error);
        errorAllQueries.call(this, error);
      },
  );

  patches.replace(
    prototype,
    'query',
    (query) =>
      function (this: Client, ...args: unknown[]) {
        // Where pg answers itself, or has to connect first, its answer is the right one.
        if (args[0] === undefined || args[0] === null || !this._connected || !this._queryable || this._ending)
          return Reflect.apply(query, this, args);
        const call = door.context(() => spanName(args[0], targetOf(this)));
        const admission = takeStanding(this, call) ?? admit(this, args[0], Query.prototype, door, call);
        if (admission instanceof CircuitOpenError) {
          return isCallable(args) ? refuse(this, args, admission) : Reflect.apply(query, this, args);
        }
        if (admission.settled) return Reflect.apply(query, this, args);
        submitting = admission;
        try {
          return Reflect.apply(query, this, args);
        } finally {
          // pg did not take it: an argument was wrong.
          submitting?.ignore();
          submitting = undefined;
          door.sent(call, admission);
        }
      },
  );

  // Called with the query just put at the end of the queue: the object itself, which pg makes from the arguments.
  patches.replace(
    prototype,
    '_pulseQueryQueue',
    (pulse) =>
      function (this: Client) {
        if (submitting !== undefined) {
          const query = queued(this).at(-1);
          if (query !== undefined) {
            watch(query, submitting, Query.prototype);
            submitting = undefined;
          }
        }
        pulse.call(this);
      },
  );

  patches.replace(
    Query.prototype,
    'handleError',
    (handleError) =>
      function (this: Submittable, error, connection) {
        const permit = statements.get(this);
        if (permit !== undefined) permit.settle(verdictOfPgError(error), error);
        handleError.call(this, error, connection);
      },
  );

  patches.replace(
    Query.prototype,
    'handleReadyForQuery',
    (handleReadyForQuery) =>
      function (this: Submittable, connection) {
        statements.get(this)?.success();
        handleReadyForQuery.call(this, connection);
      },
  );

  if (prototype.getTransactionStatus !== undefined) return;
  patches.replace(
    prototype,
    '_handleReadyForQuery',
    (handleReadyForQuery) =>
      function (this: Client, message) {
        statuses.set(this, message?.status);
        handleReadyForQuery.call(this, message);
      },
  );
}

/** Where a client connects to. */
export function targetOf(client: Client): Target {
  let target = targets.get(client);
  if (target === undefined) targets.set(client, (target = toTarget(client)));
  return target;
}

export function toTarget({ host, port, database }: Pick<Client, 'host' | 'port' | 'database'>): Target {
  const system = 'postgresql';
  // As pg tells a directory with a socket from a host name.
  return host?.startsWith('/')
    ? { system, scheme: 'unix', host: `${host}/.s.PGSQL.${port}`, port: 0, database }
    : { system, scheme: system, host: String(host).toLowerCase(), port, database };
}

function settleConnection(client: Client, permit: Permit, error: unknown): void {
  if (isOutOfPatience(client, error)) permit.timeout(error);
  else permit.settle(verdictOfPgError(error, true), error);
  takeStanding(client);
}

/** A pool whose patience ends just destroys the socket: no end came from the server, and no error. */
function isOutOfPatience({ _connectionTimeoutMillis, connection }: Client, error: unknown): boolean {
  return (
    Boolean(_connectionTimeoutMillis) &&
    (error as Partial<Error> | undefined)?.message === 'Connection terminated unexpectedly' &&
    connection.stream?.readableEnded === false
  );
}

function settleStanding(client: Client, error: unknown): void {
  const permit = takeStanding(client);
  if (permit !== undefined) permit.settle(verdictOfPgError(error), error);
}

/** Asks for one statement. What belongs to an open transaction, or ends one, is counted and never rejected. */
function admit(client: Client, statement: unknown, standard: Submittable, door: Door, context: NamedCall): Admission {
  const target = targetOf(client);
  // Its length is up to whoever reads it; as a probe it is as good as any.
  const isCursor = isSubmittable(statement) && !isStandard(statement, standard);
  if (isInTransaction(client)) return door.pass(target, context, isCursor);
  const closed = door.isClosed(target);
  if (!closed && mustPass(client, statement)) return door.pass(target, context, isCursor);
  const admission = door.enter(target, context, isCursor && closed);
  const rejected = admission instanceof CircuitOpenError;
  // The slow-call rule opens a circuit at the very moment of asking.
  if (rejected && closed && mustPass(client, statement)) return door.pass(target, context, isCursor);
  return afterBegin(client, statement, admission);
}

/**
 * What follows a rejected BEGIN before its caller knows is rejected as well: with a slot free again just then, it would
 * run outside of any transaction, and for good.
 */
function afterBegin(client: Client, statement: unknown, admission: Admission): Admission {
  const refused = refusedBegins.get(client);
  if (refused !== undefined) {
    if (!(admission instanceof CircuitOpenError)) admission.ignore();
    return refused;
  }
  if (admission instanceof CircuitOpenError && begins(textOf(statement))) {
    refusedBegins.set(client, admission);
    // Before the continuation of whoever awaits it.
    queueMicrotask(() => refusedBegins.set(client, undefined));
  }
  return admission;
}

/** As the server said last. */
function isInTransaction(client: Client): boolean {
  const status = client._txStatus === undefined ? statuses.get(client) : client._txStatus;
  // Not known where an older pg had connected before we came: then nothing is rejected.
  return status === 'T' || status === 'E' || status === undefined;
}

function mustPass(client: Client, statement: unknown): boolean {
  return cleansUp(textOf(statement)) || pending(client).some((query) => mayBegin(textOf(query)));
}

function pending(client: Client): Submittable[] {
  const active = '_activeQuery' in client ? client._activeQuery : client.activeQuery;
  return [...(active ? [active] : []), ...(client._sentQueryQueue ?? []), ...queued(client)];
}

// Looking at the old names makes newer versions print a deprecation.
function queued(client: Client): readonly Submittable[] {
  return client._queryQueue ?? client.queryQueue ?? [];
}

/** As OpenTelemetry's instrumentation names the span of a statement: `pg.query:SELECT orders`. */
function spanName(statement: unknown, { database }: Target): string {
  const verb = /^\s*(\w+)/.exec(String(textOf(statement)))?.[1]?.toUpperCase();
  return ['pg.query', verb].filter(Boolean).join(':') + (database === undefined ? '' : ` ${database}`);
}

function textOf(statement: unknown): unknown {
  if (typeof statement === 'string') return statement;
  const { text, cursor } = statement as Partial<Submittable>;
  return text ?? cursor?.text;
}

function isSubmittable(statement: unknown): statement is Submittable {
  return typeof (statement as Partial<Submittable>).submit === 'function';
}

/** Whether a query has the methods that we watch on their prototype. */
function isStandard(query: Submittable, standard: Submittable): boolean {
  return query.handleError === standard.handleError && query.handleReadyForQuery === standard.handleReadyForQuery;
}

/** Settles the permit when the query ends, on the query's own way to tell. */
function watch(query: Submittable, permit: Permit, standard: Submittable): void {
  if (isStandard(query, standard)) return statements.set(query, permit);
  const own = new Patches();
  own.replace(
    query,
    'handleError',
    (handleError) =>
      function (this: Submittable, error, connection) {
        own.undo();
        permit.settle(verdictOfPgError(error), error);
        handleError.call(this, error, connection);
      },
  );
  own.replace(
    query,
    'handleReadyForQuery',
    (handleReadyForQuery) =>
      function (this: Submittable, connection) {
        own.undo();
        permit.success();
        handleReadyForQuery.call(this, connection);
      },
  );
}

function callbackOf([config, values, callback]: readonly unknown[]): unknown {
  return callback || (typeof values === 'function' && values) || (config as { callback?: unknown }).callback;
}

/** A callback that is none makes pg throw, which is the right answer. */
function isCallable(args: readonly unknown[]): boolean {
  const callback = callbackOf(args);
  return !callback || typeof callback === 'function' || isSubmittable(args[0]);
}

/** Fails a statement the way pg does on a client that is not queryable: each form has its own. */
function refuse(client: Client, args: readonly unknown[], error: CircuitOpenError): unknown {
  const [statement, values, callback] = args;
  if (isSubmittable(statement)) {
    if (!statement.callback)
      statement.callback = typeof values === 'function' ? values : callback || statement.callback;
    nextTick(() => statement.handleError(error, client.connection));
    return statement;
  }
  const done = callbackOf(args);
  if (done) return nextTick(done as Callback, error);
  // As pg does, so that the stack leads to whoever asked.
  Error.captureStackTrace(error);
  return new client._Promise((_resolve, reject) => reject(error));
}
