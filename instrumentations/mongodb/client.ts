import { dirname, join } from 'node:path';
import type { Target } from '../../src/target.js';
import { hiddenProperty } from '../hidden-property.js';

/** A `MongoClient` of mongodb 6 or 7, with what its types do not say. */
export interface Client {
  readonly options: {
    readonly hosts?: readonly { readonly host?: string; readonly port?: number; readonly socketPath?: string }[];
    readonly srvHost?: string;
    readonly serverSelectionTimeoutMS?: number;
  };
  readonly topology?: Topology;
}

/** What a client knows of its deployment. */
export interface Topology {
  readonly client?: Client;
  readonly description: TopologyDescription;
  readonly waitQueue: Iterable<WaitingOperation>;
  /** Those who ask servers how they are; at most once in half a second each. */
  readonly s?: { readonly servers?: ReadonlyMap<string, { requestCheck?(): void }> };
  serverUpdateHandler(description: ServerDescription): unknown;
}

interface TopologyDescription {
  readonly servers: ReadonlyMap<string, ServerDescription>;
}

/** What a server has said of itself, or why it could not be asked. */
export interface ServerDescription {
  readonly address: string;
  readonly type: string;
  readonly error?: Error | null;
}

/** An operation for which no suitable server is known. */
export interface WaitingOperation {
  cancelled: boolean;
  readonly operationName?: string;
  readonly transaction?: Transaction | null;
  readonly reject: (error: unknown) => void;
}

export interface Operation {
  readonly commandName?: string;
  readonly constructor: { readonly name: string };
  /** Of one that runs a command as it is given. */
  readonly command?: unknown;
  readonly session?: Session | null;
  readonly options?: { readonly session?: Session | null; readonly timeoutMS?: number };
}

interface Session {
  readonly transaction?: Transaction;
}

interface Transaction {
  readonly isActive?: boolean;
  readonly state?: string;
}

const DEFAULT_PORT = 27017;
const targets = hiddenProperty<Target>();

/** Where the operations of a client go: its deployment, by the first host that it was told, or by its SRV name. */
export function targetOf(client: Client): Target {
  let target = targets.get(client);
  if (target === undefined) targets.set(client, (target = toTarget(client)));
  return target;
}

function toTarget({ options: { hosts, srvHost } }: Client): Target {
  const [first] = hosts ?? [];
  const system = 'mongodb';
  if (!srvHost && first?.socketPath) return { system, scheme: 'unix', host: first.socketPath, port: 0 };
  const host = (srvHost || first?.host || 'localhost').toLowerCase();
  return { system, scheme: system, host, port: (!srvHost && first?.port) || DEFAULT_PORT };
}

/** What is to be known of a deployment between its operations. */
export class Deployment {
  /** The longest time for which an operation has looked for a server in vain since one was known; 0 where none has. */
  gaveUpAfterMs = 0;
  /** How many failed attempts to find a server have been told of, by whoever noticed them first. */
  timesLost = 0;
  /** The last operation that ended was answered by a server that cannot work: waiting for one would not help. */
  isRefused = false;
  /** A server was known when we last heard. */
  wasKnown = false;
  /** What its copy of mongodb rejects operations with that have found no server. */
  SelectionError: SelectionError | undefined = undefined;
}

export type SelectionError = new (message: string, reason: object) => Error;

/** That class of the copy of mongodb that a module belongs to. */
export function selectionErrorOf(exports: object): SelectionError | undefined {
  const modules = Object.values(require.cache);
  const file = modules.find((module) => module?.exports === exports)?.filename;
  const errors = file && require.cache[join(dirname(file), '../error.js')];
  return errors
    ? (errors.exports as { MongoServerSelectionError?: SelectionError }).MongoServerSelectionError
    : undefined;
}

const deployments = hiddenProperty<Deployment>();

export function deploymentOf(client: Client): Deployment {
  let deployment = deployments.get(client);
  if (deployment === undefined) deployments.set(client, (deployment = new Deployment()));
  return deployment;
}

/** Whether a server of the deployment is known, whatever it may be used for just now: in an election none takes writes. */
export function knowsServer({ description: { servers } }: Topology): boolean {
  for (const { type } of servers.values()) if (type !== 'Unknown') return true;
  return false;
}

/**
 * Why none is known, where a description that has just come says so. Every server of a deployment is asked, again and again:
 * the first one speaks for all, since one round of questions is one event.
 */
export function whyUnknown({ description: { servers } }: Topology, news: ServerDescription): Error | undefined {
  const [first] = servers.keys();
  return news.address === first ? (news.error ?? undefined) : undefined;
}

const CLEANS_UP: ReadonlySet<string> = new Set(['killCursors', 'endSessions', 'commitTransaction', 'abortTransaction']);

/** The name of the command that an operation sends. */
export function nameOf({ commandName, command, constructor }: Operation): string {
  // Transactions end by commands that are given as they are.
  const [given] = commandName === 'runCommand' && command ? Object.keys(command) : [];
  return given ?? commandName ?? constructor.name;
}

/** Whether an operation ends something or gives something back: it goes ahead without asking. */
export function cleansUp(name: string): boolean {
  return CLEANS_UP.has(name);
}

/** Whether an operation that waits for a server may be rejected: one that cleans up, connects, or goes on with a transaction may not. */
export function mayBeRejected({ operationName = 'handshake', transaction }: WaitingOperation): boolean {
  const isOwn = operationName === 'handshake' || operationName === 'getMore' || CLEANS_UP.has(operationName);
  return !isOwn && !isUnderWay(transaction);
}

/** Whether an operation belongs to a transaction that has begun, by an earlier one. */
export function isInTransaction({ session, options }: Operation): boolean {
  return isUnderWay((session ?? options?.session)?.transaction);
}

function isUnderWay(transaction: Transaction | null | undefined): boolean {
  return transaction?.isActive === true && transaction.state !== 'STARTING_TRANSACTION';
}
