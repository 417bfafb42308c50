import { isOwnClient } from '../../src/telemetry/own-clients.js';
import { connectionClosed, isLimitOfRetries, verdictOfConnection } from '../../src/outcomes/redis.js';
import type { Attachment } from '../attachment.js';
import { harmless } from '../harmless.js';
import type { Patches } from '../patches.js';
import type { Client } from './client.js';
import { adopt, connectionOf, type Connection } from './connection.js';
import { forgoWaiting, mayWait, rejectWaiting } from './waiting.js';

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

  /** Of a `Redis` and of a `Cluster` alike. */
  watchDisconnect(prototype: Client): void {
    const onGivenUp = harmless(WATCHING_FAILED, forgoWaiting);
    this.patches.replace(
      prototype,
      'disconnect',
      (disconnect) =>
        function (this: Client, reconnect) {
          const { status } = this;
          disconnect.call(this, reconnect);
          // It tries no more, has no 'end' to tell, and whoever waits never hears of it.
          if (status === 'reconnecting' && !reconnect) onGivenUp(this);
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
    const onFlush = harmless(WATCHING_FAILED, (client: Client, error: Error) => this.#onFlush(client, error));
    this.patches.replace(
      prototype,
      'flushQueue',
      (flushQueue) =>
        function (this: Client, error, options) {
          onFlush(this, error);
          return flushQueue.call(this, error, options);
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
    // The fleet's own connection: it shows nothing that the application has asked.
    if (isOwnClient(client)) return;
    const { status, manuallyClosing } = client;
    const connection = connectionOf(client);
    if (next === 'connecting') {
      connection.lastError = undefined;
      connection.closedByUs = false;
    } else if (next === 'ready') {
      connection.begin(client.stream);
      // Before what waits is sent: a circuit that opened since there was no connection would have no other way to learn it.
      if (!connection.internal) this.attachment.connected(connection.target);
    } else if (next === 'close' || next === 'end') {
      connection.lose();
      connection.closedByUs ||= manuallyClosing === true;
      const lost = STATUS_BEFORE_READY.has(status) || (status === 'ready' && isTimedOut(connection.lastError));
      if (lost && !connection.closedByUs && !connection.internal) this.#isLost(client, connection);
      connection.lastError = undefined;
    }
  }

  #onError(client: Client, error: Error): void {
    if (isOwnClient(client)) return;
    const connection = connectionOf(client);
    connection.lastError = error;
    // Sentinels are asked again and again within one attempt to connect.
    if (error.message.startsWith(ASKS_SENTINELS_AGAIN) && !client.manuallyClosing) this.#isLost(client, connection);
  }

  #onFlush(client: Client, error: Error): void {
    if (!isOwnClient(client) && isLimitOfRetries(error)) connectionOf(client).gaveUpWith = error;
  }

  /** An attempt to connect has failed: one failure, whatever waits for it. */
  #isLost(client: Client, connection: Connection): void {
    const { target, lastError } = connection;
    const verdict = verdictOfConnection(lastError);
    if (verdict === 'ignored') return;
    connection.attemptFailed = true;
    this.attachment.evidence(target).settle(verdict, lastError ?? connectionClosed());
    if (mayWait(this.attachment, client)) return;
    const rejection = this.attachment.rejection(target);
    if (rejection !== undefined) rejectWaiting(client, rejection);
  }
}

function isTimedOut(error: Error | undefined): boolean {
  return error !== undefined && verdictOfConnection(error) === 'timeout';
}
