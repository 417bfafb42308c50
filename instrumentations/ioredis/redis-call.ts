import {
  isLimitOfRetries,
  isLossOfConnection,
  verdictOfRedisError,
  verdictOfResults,
  type Circumstances,
} from '../../src/outcomes/redis.js';
import { reportOnce } from '../../src/breaker/diagnostics.js';
import { CircuitOpenError } from '../../src/guard/guard.js';
import type { Verdict } from '../../src/breaker/verdict.js';
import type { Attachment } from '../attachment.js';
import { ClientCall } from '../client-call.js';
import { harmless } from '../harmless.js';
import { hiddenProperty, OnAnother } from '../hidden-property.js';
import type { Client } from './client.js';
import { isBlocking, kindOf, ranIntoOwnLimit, type Command, type Pipeline } from './command.js';
import { connectionOf } from './connection.js';

/** One command, or all commands of a pipeline. */
export class RedisCall extends ClientCall {
  // What rejects its command: the command's own function; ours; and what has been put around that, which hears of the end after us.
  private itsReject: Command['reject'] | undefined = undefined;
  private ownReject: Command['reject'] | undefined = undefined;
  private outerReject: Command['reject'] | undefined = undefined;

  /** @param first the command itself, or the first one of the pipeline: the call goes by its name */
  constructor(
    attachment: Attachment,
    readonly client: Client,
    private readonly first: Command,
  ) {
    super(attachment);
  }

  get command(): string {
    return this.first.name;
  }

  override spanName(): string {
    return this.first.name;
  }

  /** Whether it takes long by design. */
  get blocking(): boolean {
    return this instanceof BlockingCall;
  }

  protected override verdictOf(error: unknown): Verdict {
    this.weigh(error);
    return verdictOfRedisError(error, this.circumstances());
  }

  /**
   * Takes over how its command ends. By functions of this command alone: one for all would not know whose end it is, since
   * whoever wraps `resolve` or `reject` may call them without `this`.
   *
   * @param resolutionIsHeard whether `resolved` hears of it where it ends well
   */
  watch(resolutionIsHeard: boolean): void {
    if (this.isOver) return;
    const { first: command } = this;
    this.itsReject = command.reject;
    // Without a name and methods of its own, as that of ioredis is: commands get printed. What it needs it has of the call, since
    // each variable that it kept would be one more for every command.
    command.reject = (error) => {
      const { first, outerReject } = this;
      giveBackReject(this);
      this.outerReject = undefined;
      endMulti(this.client, first);
      this.fail(error);
      (outerReject ?? this.itsReject!).call(first, error);
    };
    this.ownReject = command.reject;
    if (this.blocking || !resolutionIsHeard) this.watchResolution();
  }

  /**
   * Hears of the end first again, where somebody has put functions of their own around ours: OpenTelemetry's instrumentation
   * does so when a command has been sent, and ends its span before it hands on.
   */
  watchFirst(): void {
    const { first: command, ownReject } = this;
    if (this.isOver || ownReject === undefined) return;
    // Of a good end there is something to tell only where it may change the state of the circuit.
    if (this.blocking || this.breaker.heedsSuccess) this.watchResolution();
    if (command.reject === ownReject) return;
    if (this.outerReject === undefined) this.outerReject = command.reject;
    else this.addOuterReject(command.reject, this.outerReject);
    command.reject = ownReject;
  }

  /** Our one function then comes by once for each time that it was put around itself. */
  private addOuterReject(outermost: Command['reject'], before: Command['reject']): void {
    this.outerReject = (error) => {
      this.outerReject = before;
      outermost.call(this.first, error);
    };
  }

  /** The command has settled. Whoever has wrapped ours meanwhile keeps it inside: from here on it only hands on. */
  giveBackReject(): void {
    const { first: command, ownReject } = this;
    if (ownReject === undefined) return;
    this.ownReject = undefined;
    if (command.reject === ownReject) command.reject = this.outerReject ?? this.itsReject!;
  }

  private watchResolution(): void {
    const { first: command } = this;
    const { resolve } = command;
    command.resolve = (value) => {
      giveBackResolve(command, ownResolve, resolve);
      giveBackReject(this);
      if (this.blocking && isOwnLimit(command, value) === true) this.forgo();
      else this.succeed();
      return resolve.call(command, value);
    };
    const { resolve: ownResolve } = command;
  }

  /** Takes over the two ends of its pipeline until it settles. */
  watchPipeline(pipeline: Pipeline): void {
    if (this.isOver) return;
    const { resolve, reject } = pipeline;
    pipeline.resolve = (results) => {
      giveBack(pipeline, ownResolve, ownReject, resolve, reject);
      endPipeline(this, results);
      resolve.call(pipeline, results);
    };
    pipeline.reject = (error) => {
      giveBack(pipeline, ownResolve, ownReject, resolve, reject);
      this.forgo();
      reject.call(pipeline, error);
    };
    const { resolve: ownResolve, reject: ownReject } = pipeline;
  }

  /** Its pipeline has these results. For `endPipeline`, since it throws where we fail. */
  endWith(results: [Error | null, unknown?][]): void {
    const [verdict, cause] = verdictOfResults(results, this.circumstances());
    if (cause !== undefined) this.weigh(cause);
    this.end(verdict, cause);
  }

  /** Without a connection, the failed attempts to get one speak for the target, and not each call that waited for it. */
  private weigh(error: unknown): void {
    const { client, permit } = this;
    if (client.status === 'ready' || permit.settled) return;
    if (isToldAlready(client, permit.breaker, error)) permit.withhold();
    else permit.becomeEvidence();
  }

  private circumstances(): Circumstances {
    const { client, blocking } = this;
    const closedByUs = connectionOf(client).closedByUs || client.manuallyClosing === true;
    return { closedByUs, firstAttempt: client.status !== 'ready' && client.retryAttempts === 0, blocking };
  }
}

/** A blocking command, or a pipeline with one. A class, since a field would be one more for every command. */
class BlockingCall extends RedisCall {}

/** The call that a command is, or that its pipeline is. */
export function redisCall(attachment: Attachment, client: Client, first: Command, blocking: boolean): RedisCall {
  return blocking ? new BlockingCall(attachment, client, first) : new RedisCall(attachment, client, first);
}

/** The commands of one pipeline, which are one call from the moment at which the first of them is sent. */
export class Batch {
  call: RedisCall | undefined;
  refusal: CircuitOpenError | undefined;
  blocking = false;
  /** Whether it leaves keys watched; `undefined` where it leaves that as it is. */
  watches: boolean | undefined = undefined;

  constructor(readonly pipeline: Pipeline) {}
}

/**
 * The call that a command is, or is part of; `null` where it is no call. It stays: from queues and after reconnects the
 * same command comes again.
 */
class CallOf extends OnAnother {
  #call: RedisCall | Batch | null = null;

  static get(command: object): RedisCall | Batch | null | undefined {
    return #call in command ? command.#call : undefined;
  }

  static set(command: object, call: RedisCall | Batch | null): void {
    if (!(#call in command)) new CallOf(command);
    (command as CallOf).#call = call;
  }
}
export { CallOf as calls };

/** A command resolves: a call that is one command has ended well. */
export function resolved(command: Command): void {
  const call = CallOf.get(command);
  if (!(call instanceof RedisCall)) return;
  try {
    call.giveBackReject();
    call.succeed();
  } catch (error) {
    reportOnce('Following a Redis command failed', error);
    call.forgo();
  }
}

const batches = hiddenProperty<Batch>();

/** The call of a command, where it is one that has been let through. */
export function callOf(command: Command): RedisCall | undefined {
  const call = CallOf.get(command);
  return (call instanceof Batch ? call.call : call) ?? undefined;
}

/** A command joins its pipeline, before anything is sent, also when a cluster sends the whole pipeline again. */
export function joinBatch(pipeline: Pipeline, command: Command): void {
  let batch = batches.get(pipeline);
  if (batch === undefined) batches.set(pipeline, (batch = new Batch(pipeline)));
  CallOf.set(command, batch);
  const kind = kindOf(command);
  if (kind === undefined) return;
  batch.blocking ||= isBlocking(command, kind);
  if (kind === 'watch') batch.watches = true;
  else if (kind === 'end-of-multi' || kind === 'unwatch') batch.watches = false;
}

const GIVING_BACK_FAILED = 'Giving the ends of a Redis command back failed';

/** Whoever has wrapped ours meanwhile keeps them inside: settled, they only hand on. */
const giveBack = harmless(
  GIVING_BACK_FAILED,
  (
    owner: { resolve: unknown; reject: unknown },
    ownResolve: unknown,
    ownReject: unknown,
    resolve: unknown,
    reject: unknown,
  ) => {
    if (owner.resolve === ownResolve) owner.resolve = resolve;
    if (owner.reject === ownReject) owner.reject = reject;
  },
);

const giveBackReject = harmless(GIVING_BACK_FAILED, (call: RedisCall) => call.giveBackReject());

const giveBackResolve = harmless(
  GIVING_BACK_FAILED,
  (command: Command, own: Command['resolve'], its: Command['resolve']) => {
    if (command.resolve === own) command.resolve = its;
  },
);

/** Whether an error only repeats what is known: that the client cannot connect, or that its server was restarted. */
function isToldAlready(client: Client, breaker: object, error: unknown): boolean {
  if (error instanceof CircuitOpenError) return true;
  const connection = connectionOf(client);
  // A client without retries says that of each connection that it loses, also of one that was ready.
  if (isLimitOfRetries(error)) return connection.attemptFailed || connection.isLostByRestart(breaker);
  return isLossOfConnection(error) && connection.isLostByRestart(breaker);
}

const isOwnLimit = harmless('Reading the answer of a blocking Redis command failed', ranIntoOwnLimit);
const endPipeline = harmless(
  'Judging a Redis pipeline failed',
  (call: RedisCall, results: [Error | null, unknown?][]) => call.endWith(results),
  (call) => call.forgo(),
);

/** A MULTI, or a WATCH, that the server did not accept begins nothing. */
const endMulti = harmless('Following a Redis transaction failed', (client: Client, command: Command) => {
  const kind = kindOf(command);
  if (kind === 'multi') connectionOf(client).inMulti = false;
  else if (kind === 'watch') connectionOf(client).isWatching = false;
});
