import type { Target } from '../../src/target.js';
import type { Command, QueuedCommand } from './command.js';

/** A queue of ioredis. */
export interface CommandQueue {
  readonly length: number;
  peekAt(index: number): QueuedCommand | undefined;
  shift(): QueuedCommand | undefined;
  push(item: QueuedCommand): unknown;
}

/** A `Redis` or a `Cluster` of ioredis 5 or 6, with what their types do not say. */
export interface Client {
  readonly isCluster: boolean;
  readonly status: string;
  readonly options: ClientOptions;
  /** Cluster only. */
  readonly startupNodes?: readonly (StartupNode | string | number)[];
  /** What the connection has been told to be; unknown before its first attempt. */
  readonly condition?: { readonly subscriber?: unknown; readonly protocol?: number };
  /** The application has called `disconnect()` or `quit()`. */
  readonly manuallyClosing?: boolean;
  /** Failed attempts since the connection was last ready. */
  readonly retryAttempts: number;
  readonly offlineQueue?: CommandQueue;
  readonly commandQueue?: CommandQueue;
  /** Sent before the connection broke, and to be sent again. */
  readonly prevCommandQueue?: CommandQueue | null;
  /** The socket. */
  readonly stream?: object;
  sendCommand(command: Command, stream?: unknown, node?: unknown): unknown;
  disconnect(reconnect?: boolean): void;
  setStatus(status: string, argument?: unknown): void;
  nodes(role?: string): Client[];
  emit(event: string | symbol, ...args: unknown[]): boolean;
  _readyCheck(callback: unknown): void;
  silentEmit(event: string, argument?: unknown): boolean | undefined;
  flushQueue(error: Error, options?: unknown): void;
}

interface ClientOptions {
  readonly host?: string | null;
  readonly port?: number | null;
  /** A unix socket. */
  readonly path?: string | null;
  readonly sentinels?: readonly StartupNode[] | null;
  /** Of the group that the sentinels watch. */
  readonly name?: string;
  readonly role?: string;
  readonly connectionName?: string | null;
  /** Whether commands may wait for a connection; by default they may. */
  readonly enableOfflineQueue?: boolean;
  readonly maxRetriesPerRequest?: number | null;
}

interface StartupNode {
  readonly host?: string;
  readonly port?: number | string;
}

const DEFAULT_PORT = 6379;
const DEFAULT_SENTINEL_PORT = 26379;
// The one ioredis falls back to differs: a client gets a name that is looked up, a cluster's node an address.
const DEFAULT_HOST = 'localhost';
const DEFAULT_NODE_HOST = '127.0.0.1';

/** Where a client's calls go. A cluster, and a group behind sentinels, is one target, whichever of its servers answers. */
export function targetOf(client: Client): Target {
  if (client.isCluster) return targetOfCluster(client);
  const { host, port, path, sentinels, name, role } = client.options;
  if (sentinels?.length) {
    const [first] = sentinels;
    // The replicas of a group fail on their own: calls that may go to them must not stop calls to the master.
    const group = role === 'slave' ? `${name}/slave` : name;
    return redis('redis+sentinel', first?.host ?? DEFAULT_HOST, Number(first?.port) || DEFAULT_SENTINEL_PORT, group);
  }
  if (path) return { system: 'redis', scheme: 'unix', host: path, port: 0 };
  return redis('redis', host || DEFAULT_HOST, Number(port) || DEFAULT_PORT);
}

function targetOfCluster({ startupNodes }: Client): Target {
  const { host, port } = startupNodeOf(startupNodes?.[0]);
  return redis('redis+cluster', host || DEFAULT_NODE_HOST, Number(port) || DEFAULT_PORT);
}

function startupNodeOf(node: StartupNode | string | number | undefined): StartupNode {
  if (typeof node === 'object') return node;
  if (typeof node === 'number' || node === undefined || /^\d+$/.test(node)) return { port: node ?? DEFAULT_PORT };
  const url = /^rediss?:/i.test(node) ? node : `redis:${node.startsWith('//') ? '' : '//'}${node}`;
  return URL.canParse(url) ? { host: new URL(url).hostname, port: new URL(url).port } : { host: node };
}

function redis(scheme: string, host: string, port: number, database?: string): Target {
  return { system: 'redis', scheme, host: host.toLowerCase(), port, database };
}

/** Whether ioredis refuses ordinary commands by itself: its own error is the right one. */
export function refusesByItself({ status, condition }: Client): boolean {
  return status === 'end' || (Boolean(condition?.subscriber) && condition?.protocol !== 3);
}

// What ioredis calls the connections that a cluster makes for itself.
const CLUSTERS_OWN = 'ioredis-cluster(';

/** Whether a cluster has made the connection for itself, to learn its slots or to subscribe. */
export function isClustersOwn({ options }: Client): boolean {
  return options.connectionName?.startsWith(CLUSTERS_OWN) === true;
}
