import type { CircuitOpenError } from '../../src/guard/guard.js';
import type { Target } from '../../src/target.js';
import { hiddenProperty } from '../hidden-property.js';
import type { ClientCall } from '../client-call.js';

type Callback = (this: unknown, error: unknown, ...results: unknown[]) => unknown;

/** What a connection works through, one after the other: a query, the making of a prepared statement, a handshake. */
export interface Command {
  readonly constructor: { readonly name: string };
  /** Of a query, and of a prepared statement that is executed. */
  readonly sql?: unknown;
  /** Of a statement that is being prepared. */
  readonly query?: unknown;
  onResult?: Callback | undefined;
  emit(event: string | symbol, ...args: unknown[]): boolean;
}

interface Queue<T> {
  readonly length: number;
  get(index: number): T;
}

/** A `Connection` of mysql2 3, with what its types do not say. */
export interface Connection {
  readonly config: Config;
  readonly stream: { destroy?(): unknown };
  readonly authorized: boolean;
  _closing?: boolean;
  readonly _command: Command | null | undefined;
  readonly _commands: Queue<Command>;
  /** The pool that it belongs to. */
  readonly _pool?: object | null;
  addCommand(command: Command): Command;
  execute(...args: unknown[]): unknown;
  close(): void;
  _notifyError(error: unknown): void;
  _handleFatalError(error: unknown): void;
}

interface Config {
  readonly host?: string;
  readonly port?: number | string;
  readonly socketPath?: string;
  readonly database?: string;
  /** It answers, rather than asks. */
  readonly isServer?: boolean;
}

const targets = hiddenProperty<Target>();

/** Where a connection leads to. */
export function targetOf(connection: Connection): Target {
  let target = targets.get(connection);
  if (target === undefined) targets.set(connection, (target = toTarget(connection.config)));
  return target;
}

function toTarget({ host, port, socketPath, database }: Config): Target {
  const system = 'mysql';
  const path = database || undefined;
  return socketPath
    ? { system, scheme: 'unix', host: socketPath, port: 0, database: path }
    : { system, scheme: system, host: (host || 'localhost').toLowerCase(), port: Number(port) || 3306, database: path };
}

/** A pool of mysql2 3, with what its types do not say. */
export interface Pool {
  readonly config: { readonly connectionConfig: Config; readonly connectionLimit: number };
  readonly _closed: boolean;
  readonly _allConnections: { readonly length: number };
  readonly _freeConnections: { readonly length: number };
  /** The callbacks of checkouts that wait for a slot. */
  readonly _connectionQueue: { readonly length: number; shift(): Checkout };
  getConnection(callback: Checkout): unknown;
  releaseConnection(connection: Connection): unknown;
}

export type Checkout = (error: unknown, connection?: Connection) => unknown;

/** A cluster of pools, with what its types do not say. */
export interface PoolCluster {
  _getConnection(node: { readonly pool: Pool }, callback: Checkout): unknown;
}

/** Of pools: that they belong to a cluster. */
export const clustered = hiddenProperty<boolean>();

const poolTargets = hiddenProperty<Target>();

/** Where the connections of a pool lead to. @param anew whether its options are read again: they may have changed */
export function targetOfPool(pool: Pool, anew = false): Target {
  let target = anew ? undefined : poolTargets.get(pool);
  if (target === undefined) poolTargets.set(pool, (target = toTarget(pool.config.connectionConfig)));
  return target;
}

/** Whether a checkout of now would be given a connection that is yet to be made. */
export function wouldConnect({ config, _closed, _allConnections, _freeConnections }: Pool): boolean {
  if (_closed || _freeConnections.length > 0) return false;
  return config.connectionLimit === 0 || _allConnections.length < config.connectionLimit;
}

/** The text of a command; nothing where it has none. */
export function textOf({ sql, query }: Command): unknown {
  return sql ?? query;
}

/** What a connection has under way, and what waits its turn. */
export function pending({ _command, _commands }: Connection): Command[] {
  const commands = _command ? [_command] : [];
  for (let index = 0; index < _commands.length; index++) commands.push(_commands.get(index));
  return commands;
}

// The making of the connection, which its next statement takes over, so that the two count once.
export const carried = hiddenProperty<ClientCall | undefined>();

export function takeCarried(connection: Connection): ClientCall | undefined {
  const call = carried.get(connection);
  if (call !== undefined) carried.set(connection, undefined);
  return call;
}

/** Connections that were not made, since their circuit is open; what they are asked waits until that is told. */
export const refusedConnections = hiddenProperty<true>();

/** A BEGIN was rejected, and its caller cannot know yet. */
export const refusedBegins = hiddenProperty<CircuitOpenError | undefined>();

// https://dev.mysql.com/doc/dev/mysql-server/latest/mysql__com_8h.html
const IN_TRANSACTION = 1;
const AUTOCOMMIT = 2;

const statuses = hiddenProperty<number>();

/** What the server says of the session, with each of its answers that is no set of rows. */
export function noteStatus(connection: Connection, status: number | undefined): void {
  if (status !== undefined) statuses.set(connection, status);
}

/** A connection that begins is in no transaction. */
export function beginSession(connection: Connection): void {
  statuses.set(connection, AUTOCOMMIT);
}

/** As the server said last. Not known where it had connected before we came: then nothing is rejected. */
export function isInTransaction(connection: Connection): boolean {
  const status = statuses.get(connection);
  // Without AUTOCOMMIT every statement is part of a transaction.
  return status === undefined || (status & IN_TRANSACTION) !== 0 || (status & AUTOCOMMIT) === 0;
}
