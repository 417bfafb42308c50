import type { CircuitOpenError } from '../../src/guard/guard.js';
import { LastingTarget, type Target } from '../../src/target.js';
import { OnAnother } from '../hidden-property.js';
import { isPartOfRestart, noteAnswer } from '../restart-episodes.js';
import { isClustersOwn, targetOf, type Client } from './client.js';

/** What is to be known of a client between its commands. */
export class Connection {
  /** ioredis is just asking whether the server is ready. */
  checksReadiness = false;
  /** Between MULTI and EXEC. */
  inMulti = false;
  /** Between WATCH and EXEC; of a cluster, until one of its nodes loses its connection. */
  isWatching = false;
  /** A MULTI was refused and its caller does not know yet: what follows belongs to it. */
  refusedMulti: CircuitOpenError | undefined = undefined;
  closedByUs = false;
  lastError: Error | undefined = undefined;
  /** What the client has told its commands when its own patience was at an end, which is so until it is ready again. */
  gaveUpWith: Error | undefined = undefined;
  /** Attempts to connect have failed since the client was last ready, and each of them was told. */
  attemptFailed = false;
  /** The socket of the connection that was ready last. */
  socket: object | undefined = undefined;
  /** Whether the loss of that connection is part of a restart that is known; looked at when somebody needs to know. */
  #isRestart: boolean | undefined = undefined;

  /**
   * @param internal made by a cluster or by sentinels' users for their own needs: no target of calls
   * @param cluster the one that it is a node of
   */
  constructor(
    readonly target: Target,
    public internal: boolean,
    readonly cluster?: Connection,
  ) {}

  /** The connection is gone, and with it what its server kept for it. */
  lose(): void {
    this.inMulti = this.isWatching = false;
    if (this.cluster !== undefined) this.cluster.isWatching = false;
  }

  /** The client is ready: what was is over. */
  begin(socket: object | undefined): void {
    this.gaveUpWith = undefined;
    this.attemptFailed = false;
    this.socket = socket;
    this.#isRestart = undefined;
    if (socket !== undefined) noteAnswer(socket);
  }

  /** Whether the connection was lost as others to its server were, by a restart. @param breaker whose connections these are */
  isLostByRestart(breaker: object): boolean {
    return (this.#isRestart ??= isPartOfRestart(breaker, this.socket));
  }
}

class ConnectionOf extends OnAnother {
  #connection: Connection | undefined;

  static get(client: object): Connection | undefined {
    return #connection in client ? client.#connection : undefined;
  }

  static set(client: object, connection: Connection): void {
    if (!(#connection in client)) new ConnectionOf(client);
    (client as ConnectionOf).#connection = connection;
  }
}

export function connectionOf(client: Client): Connection {
  const known = ConnectionOf.get(client);
  if (known !== undefined) return known;
  const connection = new Connection(LastingTarget.of(targetOf(client)), isClustersOwn(client));
  ConnectionOf.set(client, connection);
  // A cluster that was there before us has nodes already.
  if (client.isCluster && client.status === 'ready') for (const node of client.nodes()) adopt(client, node);
  return connection;
}

/** A cluster's nodes are clients of its own, but `cluster.nodes()` hands them out: calls through them are calls to the cluster. */
export function adopt(cluster: Client, node: Client): void {
  const connection = connectionOf(cluster);
  const { target } = connection;
  if (ConnectionOf.get(node)?.target !== target) ConnectionOf.set(node, new Connection(target, true, connection));
}
