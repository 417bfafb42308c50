import {
  isLossOfNodeRedis,
  isOutOfPatience,
  verdictOfNodeRedisConnection,
  verdictOfNodeRedisError,
} from '../../src/outcomes/redis.js';
import { isAbort } from '../../src/outcomes/timeouts.js';
import { CircuitOpenError } from '../../src/guard/guard.js';
import type { Verdict } from '../../src/breaker/verdict.js';
import type { Attachment } from '../attachment.js';
import { ClientCall } from '../client-call.js';
import { harmless } from '../harmless.js';
import { hiddenProperty } from '../hidden-property.js';
import type { Client, QueuedCommand, WaitingList } from './client.js';
import { connectionOf } from './connection.js';

/** One command, or all commands of a pipeline or of a transaction. */
export class NodeRedisCall extends ClientCall {
  /** What follows it would be executed without it: it is never taken out of its queue. */
  staysQueued = false;
  /** Commands of it that have no answer yet. */
  #left = 0;
  #wasQueued = false;

  /**
   * @param patienceMs for how long it may wait to be sent; `undefined` for ever
   * @param onGivenUp is told when it has waited for so long
   */
  constructor(
    attachment: Attachment,
    readonly client: Client,
    private readonly name: string,
    readonly blocking: boolean,
    readonly patienceMs: number | undefined,
    private readonly onGivenUp: (call: NodeRedisCall, error: unknown) => void,
    /** Is told where it is answered though the client has not said yet that it is ready again. */
    private readonly onBack: (client: Client) => void,
  ) {
    super(attachment);
  }

  /** As OpenTelemetry's instrumentation names it. */
  override spanName(): string {
    return `redis-${this.name}`;
  }

  protected override verdictOf(error: unknown): Verdict {
    this.#weigh(error);
    // It has waited for a connection that our own machine could not make.
    if (isOutOfPatience(error) && isNoFault(connectionOf(this.client).lastError)) return 'ignored';
    return verdictOfNodeRedisError(error, this.blocking);
  }

  /** Replaces `resolve` and `reject` of a command that the client puts into its queue for this call. */
  watch(command: QueuedCommand, list: WaitingList): void {
    const { resolve, reject } = command;
    const connection = connectionOf(this.client);
    connection.waiting = list;
    calls.set(command, this);
    this.#left++;
    this.#wasQueued = true;
    command.resolve = (reply) => {
      if (!connection.isReady) this.onBack(this.client);
      if (--this.#left === 0) this.succeed();
      resolve(reply);
    };
    command.reject = (error) => {
      endWith(this, error);
      reject(error);
    };
  }

  /** For `endWith`: one of its commands has ended with an error, and so has the whole. */
  endWith(error: unknown): void {
    if (isOutOfPatience(error)) this.onGivenUp(this, error);
    if (!isAbort(error)) return this.fail(error);
    this.#weigh(error);
    this.abandon(error);
  }

  /** The client's own function was called: what it has put into no queue by then, it refuses by itself. */
  endUnlessQueued(): void {
    if (this.#wasQueued) return;
    const { client } = this;
    // Without a connection, and without a queue for those that wait for one. Before it has ever had one it is just early.
    const isOffline = client.isOpen && !client.isReady && client.options?.disableOfflineQueue === true;
    if (!isOffline || !connectionOf(client).wasReady) return this.forgo();
    this.permit.becomeEvidence();
    this.end('failure', new Error('The client is offline'));
  }

  /** Without a connection, the failed attempts to get one speak for the target, and not each call that waited for it. */
  #weigh(error: unknown): void {
    const { client, permit } = this;
    const connection = connectionOf(client);
    if (connection.isReady || permit.settled) return;
    const isTold =
      error instanceof CircuitOpenError ||
      isOutOfPatience(error) ||
      isAbort(error) ||
      (isLossOfNodeRedis(error) && connection.isLostByRestart(permit.breaker));
    if (isTold) permit.withhold();
    else permit.becomeEvidence();
  }
}

function isNoFault(error: unknown): boolean {
  return error !== undefined && verdictOfNodeRedisConnection(error) === 'ignored';
}

/** The call that a queued command is part of. */
export const calls = hiddenProperty<NodeRedisCall>();

const endWith = harmless(
  'Judging a Redis command failed',
  (call: NodeRedisCall, error: unknown) => call.endWith(error),
  (call) => call.forgo(),
);

const FOLLOWING_FAILED = 'Following a Redis command failed';

// The call whose commands are on their way into a queue: the client puts them there before its own function returns.
let entering: NodeRedisCall | undefined;

/** The client's own function is called for this call. @returns for `leaveQueue` */
export const enterQueue = harmless(FOLLOWING_FAILED, (call: NodeRedisCall): NodeRedisCall | undefined => {
  const outer = entering;
  entering = call;
  return outer;
});

/** It has returned. */
export const leaveQueue = harmless(
  FOLLOWING_FAILED,
  (call: NodeRedisCall, outer: NodeRedisCall | undefined): void => {
    entering = outer;
    call.sent();
    call.endUnlessQueued();
  },
  (call) => {
    entering = undefined;
    call.forgo();
  },
);

/** A client puts a command into its queue. */
export const queued = harmless(FOLLOWING_FAILED, (command: QueuedCommand, list: WaitingList): void => {
  entering?.watch(command, list);
});
