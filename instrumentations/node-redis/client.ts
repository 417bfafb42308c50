import { commandKinds, hasBlockOption, type LongKind } from '../redis-commands.js';
import type { Target } from '../../src/target.js';

/** A command in a queue of node-redis, with the two ends of its promise. */
export interface QueuedCommand {
  resolve: (reply: unknown) => void;
  reject: (error: unknown) => void;
  /** What would take it out of the list of those that wait. */
  readonly abort?: Watched;
  readonly timeout?: Watched;
}

interface Watched {
  readonly signal: AbortSignal;
  readonly listener: () => void;
}

/** The list of commands that wait to be sent. */
export interface WaitingList {
  readonly head?: ListNode;
  add(command: QueuedCommand, prepend?: boolean): unknown;
  remove?(node: ListNode): void;
}

export interface ListNode {
  readonly value: QueuedCommand;
  previous: ListNode | undefined;
  readonly next: ListNode | undefined;
}

/** The queue of a client. That of version 5 has no way to take single commands out of it again: its list has. */
export interface CommandsQueue {
  extractAllCommands?(): QueuedCommand[];
  prependCommandsToWrite?(commands: readonly QueuedCommand[]): void;
  rejectCommands?(commands: readonly QueuedCommand[], error: unknown): void;
}

export interface CommandOptions {
  /** For how many milliseconds a command may wait to be sent. */
  readonly timeout?: number;
  /** It belongs to others, which are sent together. */
  readonly chainId?: unknown;
}

/** A `RedisClient` of node-redis 5 or 6, with what its types do not say; or a view of one, made by `withCommandOptions`. */
export interface Client {
  readonly _self: Client;
  readonly _commandOptions?: CommandOptions;
  readonly options?: ClientOptions;
  readonly isOpen: boolean;
  readonly isReady: boolean;
  readonly isWatching: boolean;
  sendCommand(args: readonly unknown[], options?: CommandOptions): Promise<unknown>;
  _executePipeline(commands: readonly BatchedCommand[], ...rest: unknown[]): Promise<unknown>;
  _executeMulti(commands: readonly BatchedCommand[], ...rest: unknown[]): Promise<unknown>;
  _getQueue(): CommandsQueue;
  _setIdentity(role: string, parentId?: string): void;
  emit(event: string | symbol, ...args: unknown[]): boolean;
}

export interface BatchedCommand {
  readonly args: readonly unknown[];
}

interface ClientOptions {
  readonly socket?: SocketOptions;
  readonly modules?: object;
  readonly disableOfflineQueue?: boolean;
  readonly pingInterval?: number;
}

interface SocketOptions {
  readonly host?: string;
  readonly port?: number;
  /** A unix socket. */
  readonly path?: string;
  readonly reconnectStrategy?: unknown;
}

/** A `RedisCluster`: it makes clients, which are told the name of their parent. */
export interface Cluster {
  readonly _self: Cluster;
  readonly identity: { readonly id: string };
  readonly _options?: { readonly rootNodes?: readonly { readonly url?: string; readonly socket?: SocketOptions }[] };
  readonly nodeByAddress?: ReadonlyMap<unknown, { readonly client?: Client }>;
  connect(): unknown;
  close(): unknown;
  destroy(): unknown;
  _execute(...args: unknown[]): unknown;
}

const DEFAULT_HOST = 'localhost';
const DEFAULT_PORT = 6379;

/** Where the calls of a client go that stands for itself. */
export function targetOfClient({ options }: Client): Target {
  return targetOfSocket('redis', options?.socket);
}

/** Where the calls of all nodes of a cluster go: it is one target, whichever of its nodes answers. */
export function targetOfCluster({ _options }: Cluster): Target {
  const [node] = _options?.rootNodes ?? [];
  if (node?.url !== undefined && URL.canParse(node.url)) {
    const { hostname, port } = new URL(node.url);
    return targetOfSocket('redis+cluster', { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(port) });
  }
  return targetOfSocket('redis+cluster', node?.socket);
}

function targetOfSocket(scheme: string, { host, port, path }: SocketOptions = {}): Target {
  if (path) return { system: 'redis', scheme: 'unix', host: path, port: 0 };
  return { system: 'redis', scheme, host: (host || DEFAULT_HOST).toLowerCase(), port: Number(port) || DEFAULT_PORT };
}

/**
 * Whether a client is one that clusters and sentinels make for their own needs, to learn which servers there are. What it is
 * asked says nothing of calls.
 */
export function isForItsMaker({ options }: Client): boolean {
  if (options === undefined) return false;
  const { modules, socket } = options;
  if (modules !== undefined && 'sentinel' in modules) return true;
  // As a cluster makes it that asks for its slots.
  const { commandOptions } = options as { commandOptions?: unknown };
  return 'commandOptions' in options && commandOptions === undefined && socket?.reconnectStrategy === false;
}

/** What there is to know of a command before it is sent; of most, nothing. */
export type CommandKind =
  /** Belongs to the connection rather than to a caller: always passes. */
  | 'connection'
  /** The same with the arguments that keep the session's field sets. */
  | 'field-set'
  /** What the server is: never rejected. Queues such as BullMQ ask once for each connection, and with no answer never recover. */
  | 'server-info'
  | 'multi'
  /** Ends a MULTI. */
  | 'end-of-multi'
  | LongKind;

const KINDS = commandKinds<Exclude<CommandKind, LongKind>>({
  connection:
    'auth hello select client readonly readwrite asking quit monitor cluster role watch unwatch command ' +
    'psubscribe ssubscribe unsubscribe punsubscribe sunsubscribe subscribe sentinel',
  'field-set': 'himport',
  'server-info': 'info',
  multi: 'multi',
  'end-of-multi': 'exec discard reset',
});

export function kindOf(name: string): CommandKind | undefined {
  return KINDS.get(name.toLowerCase());
}

/** Whether a command takes long by design. */
export function isBlocking(args: readonly unknown[], kind: CommandKind | undefined): boolean {
  return kind === 'blocking' || (kind === 'block-option' && hasBlockOption(args));
}

/** Whether the command keeps the field sets of a session, which only this connection knows of. */
export function keepsFieldSets(args: readonly unknown[]): boolean {
  return String(args[1]).toUpperCase() !== 'SET';
}
