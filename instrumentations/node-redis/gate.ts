import type { CircuitOpenError } from '../../src/guard/guard.js';
import type { Attachment } from '../attachment.js';
import type { Entry } from '../client-call.js';
import { harmless } from '../harmless.js';
import { refusedPromise } from '../refused-promise.js';
import { isBlocking, keepsFieldSets, kindOf, type Client, type CommandKind, type CommandOptions } from './client.js';
import { connectionOf } from './connection.js';
import { enterQueue, leaveQueue, NodeRedisCall } from './node-redis-call.js';
import { errorFor, mayWait, rejectWaiting } from './waiting.js';

const ORDINARY: Entry = {};
const BLOCKING: Entry = { longRunning: true };
const ANYWAY: Entry = { must: true };
const BLOCKING_ANYWAY: Entry = { must: true, longRunning: true };
const GIVEN_UP: Entry = { neverProbe: true };
const GIVEN_UP_TO_BLOCK: Entry = { neverProbe: true, longRunning: true };

/** Where the calls of one copy of node-redis ask, each once. No method throws. */
export class Gate {
  /** Sends a PING through the client's own function. */
  ping: (client: Client) => Promise<unknown> = () => Promise.resolve();

  constructor(private readonly attachment: Attachment) {}

  /** @returns the call to follow, or why it must not be made; nothing where it goes ahead unwatched */
  readonly askForCommand = harmless(
    'Guarding a Redis command failed',
    (client: Client, args: readonly unknown[], options: CommandOptions | undefined) => {
      const name = String(args[0]);
      const kind = kindOf(name);
      if (passes(client, args, options, kind)) return kind === 'end-of-multi' ? endMulti(client) : undefined;
      const connection = connectionOf(client);
      if (isUnasked(client)) {
        if (kind === 'multi') connection.inMulti = true;
        return undefined;
      }
      const timeout = options?.timeout ?? client._commandOptions?.timeout;
      const call = this.#call(client, name, isBlocking(args, kind), timeout);
      call.staysQueued = kind === 'multi';
      const must = options?.chainId !== undefined || (kind === 'server-info' && client.isReady);
      const refusal = this.#enter(client, call, must);
      if (kind === 'multi') {
        connection.inMulti = refusal === undefined;
        // Until its caller hears of it, what is sent would be executed outside the transaction it was meant for.
        if (refusal !== undefined) connection.refusedMulti = refusal;
      }
      return refusal ?? call;
    },
  );

  /** The same for a pipeline or a transaction, which is one call. */
  readonly askForBatch = harmless('Guarding a Redis pipeline failed', (client: Client, name: string) => {
    if (isUnasked(client)) return undefined;
    // node-redis lets those wait for ever.
    const call = this.#call(client, name, false, undefined);
    return this.#enter(client, call, false) ?? call;
  });

  #call(client: Client, name: string, blocking: boolean, patienceMs: number | undefined): NodeRedisCall {
    return new NodeRedisCall(this.attachment, client, name, blocking, patienceMs, this.#onGivenUp, this.onReady);
  }

  #enter(client: Client, call: NodeRedisCall, must: boolean): CircuitOpenError | undefined {
    const { target, refusedMulti } = connectionOf(client);
    const refusal = call.enter(target, this.#entryOf(client, call, must));
    // A blocking command is no probe. Where a service has no others, its circuit would stay half-open for ever.
    if (call.blocking && client.isReady) this.#probe(client);
    if (refusal !== undefined || refusedMulti === undefined) return refusal;
    call.forgo();
    return refusedMulti;
  }

  /** Only a connection shows how its server is: without one, calls are no probes, which would hang in the client's queue. */
  #entryOf(client: Client, { blocking, patienceMs }: NodeRedisCall, must: boolean): Entry {
    // Between a WATCH and its transaction nothing is rejected, or the connection would go on watching.
    if (must || client.isWatching) return blocking ? BLOCKING_ANYWAY : ANYWAY;
    if (client.isReady) return blocking ? BLOCKING : ORDINARY;
    if (mayWait(this.attachment, client, patienceMs)) return blocking ? BLOCKING_ANYWAY : ANYWAY;
    return blocking ? GIVEN_UP_TO_BLOCK : GIVEN_UP;
  }

  /** A command has waited in vain for a connection: the client's patience with it was at an end. */
  readonly #onGivenUp = harmless('Following a Redis command failed', (call: NodeRedisCall, error: unknown): void => {
    const { client, patienceMs = 0 } = call;
    const connection = connectionOf(client);
    if (connection.isReady || patienceMs <= connection.gaveUpAfterMs) return;
    connection.gaveUpAfterMs = patienceMs;
    connection.gaveUpWith = error as Error;
    this.rejectWaiting(client);
  });

  /** The client has its connection again, and the first of its answers may come before it says so. */
  readonly onReady = harmless('Watching a Redis connection failed', (client: Client): void => {
    const connection = connectionOf(client);
    connection.begin();
    // Before what waits is sent: a circuit that opened since there was no connection would have no other way to learn it.
    if (!connection.internal) this.attachment.connected(connection.target);
  });

  /** Where the circuit is open, whoever would wait for a connection in vain gets the reason now. */
  rejectWaiting(client: Client): void {
    const rejection = this.attachment.rejection(connectionOf(client).target);
    if (rejection !== undefined) rejectWaiting(this.attachment, client, rejection);
  }

  /** Sends calls of our own through a client, for as long as its circuit waits for one. */
  readonly #probe = harmless('Probing a Redis server failed', (client: Client): void => {
    const call = this.#call(client, 'PING', false, undefined);
    if (!call.enterAsProbe(connectionOf(client).target)) return;
    const outer = enterQueue(call);
    let ping: Promise<unknown>;
    try {
      ping = this.ping(client);
    } finally {
      leaveQueue(call, outer);
    }
    ping.then(() => this.#probe(client), ignoreError);
  });
}

const REJECTING_FAILED = 'Rejecting a Redis command failed';

const ignoreError = harmless('Handling the promise of a Redis command failed', () => {});

/** Whether no command of a client is asked for just now: the client refuses it by itself, or it belongs to a transaction. */
function isUnasked(client: Client): boolean {
  const { inMulti, internal } = connectionOf(client);
  return inMulti || internal || !client.isOpen;
}

/** Whether a command always passes. */
function passes(
  client: Client,
  args: readonly unknown[],
  options: CommandOptions | undefined,
  kind: CommandKind | undefined,
): boolean {
  switch (kind) {
    case 'connection':
    case 'end-of-multi':
      return true;
    case 'field-set':
      return keepsFieldSets(args);
    case undefined:
      // By `pingInterval` the client asks for itself: an error of that would be an event that may end the process.
      return options === undefined && args.length === 1 && args[0] === 'PING' && !!client.options?.pingInterval;
    default:
      return false;
  }
}

function endMulti(client: Client): CircuitOpenError | undefined {
  const connection = connectionOf(client);
  connection.inMulti = false;
  return connection.refusedMulti;
}

/** Rejects a call when the event loop has turned. @returns what its caller gets; nothing where it goes ahead after all */
export const refuse = harmless(
  REJECTING_FAILED,
  (client: Client, refusal: CircuitOpenError): Promise<never> | undefined => {
    return refusedPromise(errorFor(client, refusal), () => delivered(client, refusal));
  },
  (client) => void (connectionOf(client).refusedMulti = undefined),
);

/** From here on its caller knows. */
const delivered = harmless(REJECTING_FAILED, (client: Client, refusal: CircuitOpenError) => {
  const connection = connectionOf(client);
  if (connection.refusedMulti === refusal) connection.refusedMulti = undefined;
});
