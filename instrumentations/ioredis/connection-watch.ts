import type { Verdict } from '../../src/breaker/verdict.js';
import { connectionClosed, verdictOfConnection } from '../../src/outcomes/redis.js';
import type { Attachment } from '../attachment.js';
import { harmless } from '../harmless.js';
import type { Patches } from '../patches.js';
import type { Client, CommandQueue } from './client.js';
import { kindOf } from './command.js';
import { adopt, connectionOf, type Connection } from './connection.js';
import { callOf } from './redis-call.js';

const STATUS_BEFORE_READY: ReadonlySet<string> = new Set(['connecting', 'connect', 'disconnecting']);
const ASKS_SENTINELS_AGAIN = 'All sentinels are unreachable. Retrying';
const WATCHING_FAILED = 'Watching a Redis connection failed';

/** Watches ioredis connect and reconnect, which it does by itself: that it cannot is evidence. */
export class ConnectionWatch {
  constructor(
    private readonly attachment: Attachment,
    private readonly patches: Patches,
  ) {}

  /** Of a `Redis` and of a `Cluster` alike. */
  watchStatus(prototype: Client): void {
    const onStatus = harmless(WATCHING_FAILED, (client: Client, status: string) => this.#onStatus(client, status));
    this.patches.replace(
      prototype,
      'setStatus',
      (setStatus) =>
        function (this: Client, status, argument) {
          onStatus(this, status);
          return setStatus.call(this, status, argument);
        },
    );
  }

  watchRedis(prototype: Client): void {
    const onError = harmless(WATCHING_FAILED, (client: Client, error: Error) => this.#onError(client, error));
    // ioredis 5 asks late: by then the connection it asks for may be gone, and the next one ready.
    const onReadyCheck = harmless(WATCHING_FAILED, (client: Client, checksReadiness: boolean) => {
      connectionOf(client).checksReadiness = checksReadiness;
    });
    this.patches.replace(
      prototype,
      '_readyCheck',
      (readyCheck) =>
        function (this: Client, callback) {
          onReadyCheck(this, true);
          try {
            readyCheck.call(this, callback);
          } finally {
            onReadyCheck(this, false);
          }
        },
    );
    this.patches.replace(
      prototype,
      'silentEmit',
      (silentEmit) =>
        function (this: Client, event, argument) {
          if (event === 'error') onError(this, argument as Error);
          return silentEmit.call(this, event, argument);
        },
    );
  }

  watchCluster(prototype: Client): void {
    const onNode = harmless(WATCHING_FAILED, adopt);
    const onNodes = harmless(WATCHING_FAILED, (cluster: Client, nodes: Client[]) => {
      for (const node of nodes) adopt(cluster, node);
    });
    this.patches.replace(
      prototype,
      'emit',
      (emit) =>
        function (this: Client, event, ...args) {
          if (event === '+node') onNode(this, args[0] as Client);
          return emit.call(this, event, ...args);
        },
    );
    this.patches.replace(
      prototype,
      'nodes',
      (nodes) =>
        function (this: Client, role) {
          const found = nodes.call(this, role);
          onNodes(this, found);
          return found;
        },
    );
  }

  #onStatus(client: Client, next: string): void {
    const { status, manuallyClosing } = client;
    const connection = connectionOf(client);
    if (next === 'connecting') {
      connection.lastError = undefined;
      connection.closedByUs = false;
    } else if (next === 'close' || next === 'end') {
      connection.inMulti = false;
      connection.closedByUs ||= manuallyClosing === true;
      const lost = STATUS_BEFORE_READY.has(status) || (status === 'ready' && isTimedOut(connection.lastError));
      if (lost && !connection.closedByUs && !connection.internal) this.#settleLost(client, connection);
      connection.lastError = undefined;
    }
  }

  #onError(client: Client, error: Error): void {
    const connection = connectionOf(client);
    connection.lastError = error;
    // Sentinels are asked again and again within one attempt to connect.
    if (error.message.startsWith(ASKS_SENTINELS_AGAIN) && !client.manuallyClosing) this.#settleLost(client, connection);
  }

  #settleLost(client: Client, { target, lastError }: Connection): void {
    const verdict = verdictOfConnection(lastError);
    if (verdict === 'ignored') return;
    const cause = lastError ?? connectionClosed();
    const waited = settleQueued(client, verdict, cause);
    if (!waited) this.attachment.evidence(target).settle(verdict, cause);
    if (this.attachment.refuses(target)) rejectQueued(client, cause);
  }
}

function isTimedOut(error: Error | undefined): boolean {
  return error !== undefined && verdictOfConnection(error) === 'timeout';
}

function queuesOf({ offlineQueue, commandQueue, prevCommandQueue }: Client): CommandQueue[] {
  return [offlineQueue, commandQueue, prevCommandQueue].filter((queue) => queue !== undefined && queue !== null);
}

/** A connection could not be made: what waits for it has failed so far. @returns whether anything did wait */
function settleQueued(client: Client, verdict: Verdict, cause: Error): boolean {
  let waited = false;
  for (const queue of queuesOf(client)) {
    for (let index = 0; index < queue.length; index++) {
      const call = callOf(queue.peekAt(index)!.command);
      if (call === undefined || call.isOver) continue;
      call.lose(verdict, cause);
      waited = true;
    }
  }
  return waited;
}

/**
 * The circuit is open and the connection lost: whoever still waits in a queue, counted as failed already, gets the reason
 * now, as `maxRetriesPerRequest` would have it in the end. Otherwise those who called just before the circuit opened would
 * hang for as long as the outage lasts, while those after them are answered at once.
 */
function rejectQueued(client: Client, cause: Error): void {
  for (const queue of queuesOf(client)) {
    for (let left = queue.length; left > 0; left--) {
      const item = queue.shift()!;
      // What never was a call stays; so does a MULTI, since what follows it would be executed without it.
      if (callOf(item.command) === undefined || kindOf(item.command) === 'multi') queue.push(item);
      else item.command.reject(cause);
    }
  }
}
