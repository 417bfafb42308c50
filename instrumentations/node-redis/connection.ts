import type { CircuitOpenError } from '../../src/guard/guard.js';
import type { Target } from '../../src/target.js';
import { hiddenProperty } from '../hidden-property.js';
import { isPartOfRestart, noteAnswer } from '../restart-episodes.js';
import {
  isForItsMaker,
  targetOfClient,
  targetOfCluster,
  type Client,
  type Cluster,
  type WaitingList,
} from './client.js';

/** What is to be known of a client between its commands. */
export class Connection {
  /** The client had its connection when we last heard of it. */
  isReady: boolean;
  wasReady: boolean;
  /** Between a MULTI and an EXEC that the application sends itself. */
  inMulti = false;
  /** Such a MULTI was refused and its caller does not know yet: what follows belongs to it. */
  refusedMulti: CircuitOpenError | undefined = undefined;
  /** What the connection was lost by, or could not be made for. */
  lastError: unknown = undefined;
  /** The longest time for which a command has waited in vain since the client was ready, in milliseconds; 0 where none has. */
  gaveUpAfterMs = 0;
  /** The error that such a command got. */
  gaveUpWith: Error | undefined = undefined;
  /** The list in which the client keeps what waits to be sent. */
  waiting: WaitingList | undefined = undefined;
  /** Stands for the connection that was ready last. */
  #link: object | undefined;
  /** Whether the loss of that connection is part of a restart that is known; looked at when somebody needs to know. */
  #isRestart: boolean | undefined = undefined;

  /** @param internal made by a cluster or a sentinel for its own needs: no target of calls */
  constructor(
    readonly target: Target,
    readonly internal: boolean,
    isReady: boolean,
  ) {
    this.isReady = this.wasReady = isReady;
    if (isReady) this.begin();
  }

  /** The client is ready: what was is over. */
  begin(): void {
    this.isReady = this.wasReady = true;
    this.inMulti = false;
    this.lastError = undefined;
    this.gaveUpAfterMs = 0;
    this.gaveUpWith = undefined;
    this.#isRestart = undefined;
    this.#link = {};
    noteAnswer(this.#link);
  }

  /** Whether the connection was lost as others to its server were, by a restart. @param breaker whose connections these are */
  isLostByRestart(breaker: object): boolean {
    return (this.#isRestart ??= isPartOfRestart(breaker, this.#link));
  }
}

const connections = hiddenProperty<Connection>();

export function connectionOf(client: Client): Connection {
  // Views of a client, such as those of `withCommandOptions`, have its connection.
  const self = client._self;
  const known = connections.get(self);
  if (known !== undefined) return known;
  const connection = new Connection(targetOfClient(self), isForItsMaker(self), self.isReady);
  connections.set(self, connection);
  return connection;
}

const targets = hiddenProperty<Target | undefined>();

/** The targets of clusters that may make clients, by what they are called there. */
const ofParents = new Map<string, Target>();

/** A cluster is about to make clients. */
export function openCluster(cluster: Cluster): void {
  const self = cluster._self;
  if (targets.get(self) !== undefined) return;
  const target = targetOfCluster(self);
  targets.set(self, target);
  ofParents.set(self.identity.id, target);
  // One that was there before us has clients already.
  for (const { client } of self.nodeByAddress?.values() ?? []) if (client !== undefined) adopt(client, target);
}

/** It makes no more. */
export function closeCluster(cluster: Cluster): void {
  const self = cluster._self;
  targets.set(self, undefined);
  ofParents.delete(self.identity.id);
}

/** Calls through the nodes of a cluster are calls to the cluster. */
export function adoptChild(client: Client, parentId: string | undefined): void {
  const target = parentId === undefined ? undefined : ofParents.get(parentId);
  if (target !== undefined) adopt(client._self, target);
}

function adopt(client: Client, target: Target): void {
  connections.set(client._self, new Connection(target, false, client.isReady));
}
