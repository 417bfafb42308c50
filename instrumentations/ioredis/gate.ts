import { withoutStack } from '../../src/breaker/errors.js';
import { deferRejection } from '../../src/breaker/pacing.js';
import { CircuitOpenError } from '../../src/guard/guard.js';
import type { Attachment } from '../attachment.js';
import type { Entry } from '../client-call.js';
import { reportOnce } from '../../src/breaker/diagnostics.js';
import { isOwnClient } from '../../src/telemetry/own-clients.js';
import { harmless } from '../harmless.js';
import { refusesByItself, type Client } from './client.js';
import {
  asksSentinel,
  isBlocking,
  keepsFieldSets,
  kindOf,
  type Command,
  type CommandConstructor,
  type CommandKind,
} from './command.js';
import { connectionOf, type Connection } from './connection.js';
import { Batch, callOf, calls, RedisCall, redisCall } from './redis-call.js';
import { errorFor, mayWait } from './waiting.js';
import { queueMicrotask } from '../../src/breaker/real-time.js';

const ORDINARY: Entry = {};
const BLOCKING: Entry = { longRunning: true };
const ANYWAY: Entry = { must: true };
const BLOCKING_ANYWAY: Entry = { must: true, longRunning: true };
const GIVEN_UP: Entry = { neverProbe: true };
const GIVEN_UP_TO_BLOCK: Entry = { neverProbe: true, longRunning: true };

/** What passes `sendCommand` of one class of clients: asks for each call once, and refuses those that must not be made. */
export class Gate {
  /**
   * @param sendCommand the client's own
   * @param heard the `transformReply` of commands whose good ends are heard of; `undefined` where none are
   */
  constructor(
    private readonly attachment: Attachment,
    private readonly Command: CommandConstructor,
    private readonly sendCommand: Client['sendCommand'],
    private readonly heard: Command['transformReply'] | undefined,
  ) {}

  /** Whether the command must not be sent; its promise then rejects. Never throws: the command goes ahead where we fail. */
  refuses(client: Client, command: Command): boolean {
    try {
      // The fleet's own connection.
      if (isOwnClient(client)) return false;
      const refusal = this.#ask(client, command);
      if (refusal === undefined) return false;
      refuse(client, command, refusal);
      return true;
    } catch (error) {
      reportOnce('Guarding a Redis command failed', error);
      callOf(command)?.forgo();
      return false;
    }
  }

  /** It has been sent. */
  sent(command: Command): void {
    try {
      const call = calls.get(command);
      if (!(call instanceof RedisCall) || call.isOver) return;
      call.sent();
      if (call.span?.isRecording() === true) watchFirstSoon(command);
    } catch (error) {
      reportOnce('Following a Redis command failed', error);
    }
  }

  #ask(client: Client, command: Command): CircuitOpenError | undefined {
    const call = calls.get(command);
    if (call === undefined) return this.#askForOne(client, command);
    return call instanceof Batch ? this.#askForBatch(client, command, call) : undefined;
  }

  #askForOne(client: Client, command: Command): CircuitOpenError | undefined {
    const kind = kindOf(command);
    if (kind !== undefined && passes(client, command, kind)) {
      calls.set(command, null);
      if (kind === 'unwatch') connectionOf(client).isWatching = false;
      return kind === 'end-of-multi' ? endMulti(client) : undefined;
    }
    const connection = connectionOf(client);
    if (isUnasked(client, connection)) {
      if (kind === 'multi') connection.inMulti = true;
      calls.set(command, null);
      return undefined;
    }
    const call = redisCall(this.attachment, client, command, kind !== undefined && isBlocking(command, kind));
    calls.set(command, call);
    const refusal = this.#enter(client, connection, call, kind === 'server-info');
    if (kind === 'multi') beginMulti(client, refusal);
    if (kind === 'watch' && refusal === undefined) connection.isWatching = true;
    if (refusal === undefined) call.watch(command.transformReply === this.heard);
    return refusal;
  }

  #askForBatch(client: Client, command: Command, batch: Batch): CircuitOpenError | undefined {
    if (batch.refusal !== undefined) return copyOf(batch.refusal);
    if (batch.call !== undefined) return undefined;
    const call = (batch.call = redisCall(this.attachment, client, command, batch.blocking));
    const connection = connectionOf(client);
    if (isUnasked(client, connection)) return undefined;
    batch.refusal = this.#enter(client, connection, call);
    if (batch.refusal !== undefined) return batch.refusal;
    if (batch.watches !== undefined) connection.isWatching = batch.watches;
    call.watchPipeline(batch.pipeline);
    return undefined;
  }

  #enter(client: Client, connection: Connection, call: RedisCall, must = false): CircuitOpenError | undefined {
    const { target, refusedMulti } = connection;
    const refusal = call.enter(target, must ? ANYWAY : this.#entryOf(client, connection, call));
    // A blocking command is no probe. Where a service has no others, its circuit would stay half-open for ever.
    if (call.blocking && client.status === 'ready') this.#probe(client);
    if (refusal !== undefined || refusedMulti === undefined) return refusal;
    call.forgo();
    return copyOf(refusedMulti);
  }

  /** Only a connection shows how its server is: without one, calls are no probes, which would hang in the client's queue. */
  #entryOf(client: Client, { isWatching }: Connection, { blocking }: RedisCall): Entry {
    if (client.status === 'ready') {
      // Up to the transaction nothing is rejected, or the connection would go on watching, and another transaction fail by that.
      if (isWatching) return blocking ? BLOCKING_ANYWAY : ANYWAY;
      return blocking ? BLOCKING : ORDINARY;
    }
    if (mayWait(this.attachment, client)) return blocking ? BLOCKING_ANYWAY : ANYWAY;
    // It connects when it has a command to send, and not before.
    if (client.status === 'wait') return blocking ? BLOCKING : ORDINARY;
    return blocking ? GIVEN_UP_TO_BLOCK : GIVEN_UP;
  }

  /** Sends calls of our own through a client, for as long as its circuit waits for one. */
  readonly #probe = harmless('Probing a Redis server failed', (client: Client): void => {
    const { target } = connectionOf(client);
    // Before a command is made for it.
    if (this.attachment.isClosed(target)) return;
    const ping = new this.Command('ping', [], {});
    const call = redisCall(this.attachment, client, ping, false);
    if (!call.enterAsProbe(target)) return;
    calls.set(ping, call);
    call.watch(ping.transformReply === this.heard);
    this.sendCommand.call(client, ping);
    ping.promise.then(() => this.#probe(client), ignoreError);
  });
}

// Commands that were sent within this turn; filled from the start again, since an array for each turn would be one too many.
const justSent: (Command | undefined)[] = [];
let countOfSent = 0;

/** When whoever has called `sendCommand` is done with the command. */
function watchFirstSoon(command: Command): void {
  justSent[countOfSent++] = command;
  if (countOfSent === 1) queueMicrotask(watchAllFirst);
}

const watchAllFirst = harmless(
  'Following Redis commands failed',
  () => {
    for (let index = 0; index < countOfSent; index++) {
      watchFirst(justSent[index]!);
      justSent[index] = undefined;
    }
    countOfSent = 0;
  },
  () => {
    countOfSent = 0;
  },
);

const watchFirst = harmless('Following a Redis command failed', (command: Command) => callOf(command)?.watchFirst());

const ignoreError = harmless('Handling the promise of a Redis command failed', () => {});

/** Whether no command of a client is asked for just now: ioredis refuses it by itself, or it belongs to a transaction. */
function isUnasked(client: Client, { inMulti }: Connection): boolean {
  return inMulti || refusesByItself(client);
}

/** Whether a command always passes. */
function passes(client: Client, command: Command, kind: CommandKind): boolean {
  switch (kind) {
    case 'connection':
    case 'unwatch':
    case 'end-of-multi':
      return true;
    case 'sentinel':
    case 'subscribe':
      if (asksSentinel(command, kind)) connectionOf(client).internal = true;
      return true;
    case 'server-info':
      return client.status !== 'ready' || connectionOf(client).checksReadiness;
    case 'field-set':
      return keepsFieldSets(command);
    default:
      return false;
  }
}

function beginMulti(client: Client, refusal: CircuitOpenError | undefined): void {
  const connection = connectionOf(client);
  connection.inMulti = refusal === undefined;
  // Until its caller hears of it, what is sent would be executed outside the transaction it was meant for.
  if (refusal !== undefined) connection.refusedMulti = refusal;
}

function endMulti(client: Client): CircuitOpenError | undefined {
  const connection = connectionOf(client);
  connection.inMulti = false;
  if (connection.refusedMulti !== undefined) return copyOf(connection.refusedMulti);
  connection.isWatching = false;
  return undefined;
}

/** Rejects the command when the event loop has turned: at once, OpenTelemetry's span would never end. */
function refuse(client: Client, command: Command, refusal: CircuitOpenError): void {
  const connection = connectionOf(client);
  const { name, args } = command;
  Object.assign(refusal, { command: { name, args } });
  const error = errorFor(client, refusal);
  // Without us it would wait, and what rejects before its time must not end the process.
  if (error !== refusal) command.promise.catch(ignoreError);
  deferRejection(() => {
    if (connection.refusedMulti === refusal) connection.refusedMulti = undefined;
    command.reject(error);
  });
}

/** Each command of a refused pipeline has an error of its own, since each error names its command. */
function copyOf(error: CircuitOpenError): CircuitOpenError {
  const { breaker, state, retryAfterMs, cause, message, stack } = error;
  const copy = withoutStack(() => new CircuitOpenError(breaker, state, retryAfterMs, '', cause));
  for (const [key, value] of Object.entries({ message, stack })) {
    Object.defineProperty(copy, key, { value, configurable: true, writable: true });
  }
  return copy;
}
