import { diagnostics } from '../../src/breaker/diagnostics.js';
import { withoutStack } from '../../src/breaker/errors.js';
import { CircuitOpenError, Permit, UNGUARDED, type Admission, type Guard } from '../../src/guard/guard.js';
import type { Verdict } from '../../src/breaker/verdict.js';
import type { Target } from '../../src/target.js';
import type { NamedCall } from '../../src/telemetry/events/call-context.js';
import { Attachment } from '../attachment.js';
import { isClustersOwn, refusesByItself, targetOf, type Client, type CommandQueue } from './client.js';
import {
  asksSentinel,
  isBlocking,
  keepsFieldSets,
  kindOf,
  ranIntoOwnLimit,
  type Command,
  type CommandConstructor,
  type CommandKind,
  type Pipeline,
  type QueuedCommand,
} from './command.js';
import {
  connectionClosed,
  verdictOfRedisError,
  verdictOfConnection,
  verdictOfResults,
  type Circumstances,
} from '../../src/outcomes/redis.js';
import { hiddenProperty } from '../hidden-property.js';
import { observe as observeClient, type Patches } from '../patches.js';

// Captured at load: the fake timers of an application's tests must not hold rejections back.
const nextTick = process.nextTick.bind(process);
const { queueMicrotask } = globalThis;

/** What is to be known of a client between its commands. */
interface Connection {
  readonly target: Target;
  /** Made by a cluster or by sentinels' users for their own needs: no target of calls. */
  internal: boolean;
  /** ioredis is just asking whether the server is ready. */
  checksReadiness: boolean;
  /** Between MULTI and EXEC. */
  inMulti: boolean;
  /** A MULTI was refused and its caller does not know yet: what follows belongs to it. */
  refusedMulti: CircuitOpenError | undefined;
  closedByUs: boolean;
  lastError: Error | undefined;
}

/** The commands of one pipeline, which are one call. */
class Batch {
  admission: Admission | undefined;
  blocking = false;

  constructor(readonly pipeline: Pipeline) {}

  get permit(): Permit {
    return this.admission === undefined || this.admission instanceof CircuitOpenError ? UNGUARDED : this.admission;
  }
}

const connections = hiddenProperty<Connection>();
const batches = hiddenProperty<Batch>();
/** The call that a command is, or is part of. It stays: from queues and after reconnects the same command comes again. */
const calls = hiddenProperty<Permit | Batch>();

interface Constructor<T> {
  new (...args: never[]): T;
  readonly prototype: T;
}

type PipelineConstructor = Constructor<Pipeline>;

interface RedisConstructor extends Constructor<Client> {
  readonly Cluster: Constructor<Client>;
  readonly Command: CommandConstructor;
}

/**
 * Guards `ioredis` 5 and 6.
 *
 * The door is `sendCommand`, of `Cluster` for a cluster and of `Redis` for everything else: every command passes it once
 * before any queue, and again whenever it is sent. What becomes of it is read by taking its `resolve` and `reject` over.
 * ioredis connects and reconnects by itself, untouched; that it cannot is evidence too.
 */
export class IoredisAttachment extends Attachment {
  static readonly client = 'ioredis';

  constructor(guard: Guard) {
    super(IoredisAttachment.client, guard);
  }

  protected override patch(patches: Patches): void {
    const guarded = new WeakSet<object>();

    // By file and shape, not by package name: copies are installed under other names too.
    function onClass<T extends Constructor<object>>(ending: string, method: string, attach: (found: T) => void): void {
      patches.onModule(ending, (exports) => {
        const found = (exports as { default?: T } | undefined)?.default;
        // Files that require each other see a half-made one first.
        if (typeof found !== 'function' || guarded.has(found)) return;
        const prototype = found.prototype as Record<string, unknown> | undefined;
        if (typeof prototype?.[method] !== 'function') return;
        guarded.add(found);
        observe(() => attach(found));
      });
    }

    onClass<RedisConstructor>('/built/Redis.js', 'silentEmit', (Redis) => {
      this.guardClients(patches, Redis.prototype, Redis.Command);
      this.guardClients(patches, Redis.Cluster.prototype, Redis.Command);
      this.watchConnections(patches, Redis);
    });
    onClass<PipelineConstructor>('/built/Pipeline.js', 'addBatch', ({ prototype }) =>
      gatherPipelines(patches, prototype),
    );
  }

  // Not `#private`: the base constructor attaches before those of a subclass exist.
  private guardClients(patches: Patches, prototype: Client, Command: CommandConstructor): void {
    patches.replace(prototype, 'sendCommand', (sendCommand) => {
      const probe = (client: Client): void => {
        const permit = this.probe(connectionOf(client).target, this.context('ping'));
        if (permit === UNGUARDED) return;
        const ping = new Command('ping', [], {});
        calls.set(ping, permit);
        watch(client, ping, permit, false);
        sendCommand.call(client, ping);
        ping.promise.then(() => probe(client), ignoreError);
      };
      const admit = this.gate(probe);
      const sent = (client: Client, command: Command): void => {
        const permit = calls.get(command);
        if (!(permit instanceof Permit) || permit.settled) return;
        const call = permit.context as NamedCall;
        this.sent(call, permit);
        // OpenTelemetry's instrumentation takes the ends of a command over when it has been sent, and ends its span before
        // it hands on: whoever comes last is told first.
        if (call.span?.isRecording() === true)
          queueMicrotask(() => watch(client, command, permit, isBlocking(command)));
      };
      return function (this: Client, command, stream, node) {
        const refusal = admit(this, command);
        if (refusal === undefined) {
          const reply = sendCommand.call(this, command, stream, node);
          sent(this, command);
          return reply;
        }
        refuse(command, refusal);
        return command.promise;
      };
    });
  }

  /** @param probe sends a call of our own through a client, where its circuit waits for one */
  private gate(probe: (client: Client) => void): (client: Client, command: Command) => CircuitOpenError | undefined {
    const ask = (client: Client, { name }: Command, blocking: boolean): Admission => {
      const connection = connectionOf(client);
      if (connection.inMulti || refusesByItself(client)) return UNGUARDED;
      const admission = this.enter(connection.target, this.context(name), blocking);
      // A blocking command is no probe. Where a service has no others, its circuit would stay half-open for ever.
      if (blocking && admission !== UNGUARDED) probe(client);
      if (connection.refusedMulti === undefined || admission instanceof CircuitOpenError) return admission;
      admission.ignore();
      return copyOf(connection.refusedMulti);
    };

    const askForOne = (client: Client, command: Command): CircuitOpenError | undefined => {
      const kind = kindOf(command);
      if (kind !== undefined && passes(client, command, kind)) {
        calls.set(command, UNGUARDED);
        return kind === 'end-of-multi' ? endMulti(client) : undefined;
      }
      const blocking = kind !== undefined && isBlocking(command, kind);
      const admission = ask(client, command, blocking);
      if (kind === 'multi') beginMulti(client, admission);
      if (admission instanceof CircuitOpenError) return admission;
      calls.set(command, admission);
      if (admission !== UNGUARDED) watch(client, command, admission, blocking);
      return undefined;
    };

    const askForBatch = (client: Client, command: Command, batch: Batch): CircuitOpenError | undefined => {
      if (batch.admission === undefined) {
        batch.admission = ask(client, command, batch.blocking);
        if (batch.permit !== UNGUARDED) watchBatch(client, batch);
        return batch.admission instanceof CircuitOpenError ? batch.admission : undefined;
      }
      return batch.admission instanceof CircuitOpenError ? copyOf(batch.admission) : undefined;
    };

    return (client, command) => {
      try {
        const call = calls.get(command);
        if (call === undefined) return askForOne(client, command);
        return call instanceof Batch ? askForBatch(client, command, call) : undefined;
      } catch (error) {
        diagnostics.report('Guarding a Redis command failed; it goes through unguarded', error);
        return undefined;
      }
    };
  }

  private watchConnections(patches: Patches, { prototype, Cluster }: RedisConstructor): void {
    const settleLost = (client: Client, connection: Connection): void => {
      const verdict = verdictOfConnection(connection.lastError);
      if (verdict === 'ignored') return;
      const cause = connection.lastError ?? connectionClosed();
      const waited = settleQueued(client, verdict, cause);
      if (!waited) this.evidence(connection.target).settle(verdict, cause);
      if (this.refuses(connection.target)) rejectQueued(client, cause);
    };

    const onStatus = (client: Client, next: string): void => {
      const { status, manuallyClosing } = client;
      const connection = connectionOf(client);
      if (next === 'connecting') {
        connection.lastError = undefined;
        connection.closedByUs = false;
      } else if (next === 'close' || next === 'end') {
        connection.inMulti = false;
        connection.closedByUs ||= manuallyClosing === true;
        const lost = STATUS_BEFORE_READY.has(status) || (status === 'ready' && isTimedOut(connection.lastError));
        if (lost && !connection.closedByUs && !connection.internal) settleLost(client, connection);
        connection.lastError = undefined;
      }
    };

    const onError = (client: Client, error: Error): void => {
      const connection = connectionOf(client);
      connection.lastError = error;
      // Sentinels are asked again and again within one attempt to connect.
      if (error.message.startsWith(ASKS_SENTINELS_AGAIN) && !client.manuallyClosing) settleLost(client, connection);
    };

    for (const owner of [prototype, Cluster.prototype]) {
      patches.replace(
        owner,
        'setStatus',
        (setStatus) =>
          function (this: Client, status, argument) {
            observe(() => onStatus(this, status));
            return setStatus.call(this, status, argument);
          },
      );
    }
    // ioredis 5 asks late: by then the connection it asks for may be gone, and the next one ready.
    const markCheck = (client: Client, checksReadiness: boolean): void =>
      observe(() => (connectionOf(client).checksReadiness = checksReadiness));
    patches.replace(
      prototype,
      '_readyCheck',
      (readyCheck) =>
        function (this: Client, callback) {
          markCheck(this, true);
          try {
            readyCheck.call(this, callback);
          } finally {
            markCheck(this, false);
          }
        },
    );
    patches.replace(
      prototype,
      'silentEmit',
      (silentEmit) =>
        function (this: Client, event, argument) {
          if (event === 'error') observe(() => onError(this, argument as Error));
          return silentEmit.call(this, event, argument);
        },
    );

    // A cluster's nodes are its own clients, but `cluster.nodes()` hands them out: calls through them are calls to the cluster.
    patches.replace(
      Cluster.prototype,
      'emit',
      (emit) =>
        function (this: Client, event, ...args) {
          if (event === '+node') observe(() => adopt(this, args[0] as Client));
          return emit.call(this, event, ...args);
        },
    );
    patches.replace(
      Cluster.prototype,
      'nodes',
      (nodes) =>
        function (this: Client, role) {
          const found = nodes.call(this, role);
          observe(() => found.forEach((node) => adopt(this, node)));
          return found;
        },
    );
  }
}

const STATUS_BEFORE_READY: ReadonlySet<string> = new Set(['connecting', 'connect', 'disconnecting']);
const ASKS_SENTINELS_AGAIN = 'All sentinels are unreachable. Retrying';

const observe = (look: () => unknown): void => observeClient('a Redis connection', look);

function ignoreError(): void {}

function connectionOf(client: Client): Connection {
  const known = connections.get(client);
  if (known !== undefined) return known;
  const connection = meet(client, targetOf(client), isClustersOwn(client));
  // A cluster that was there before us has nodes already.
  if (client.isCluster && client.status === 'ready') for (const node of client.nodes()) adopt(client, node);
  return connection;
}

function meet(client: Client, target: Target, internal: boolean): Connection {
  const connection: Connection = {
    target,
    internal,
    checksReadiness: false,
    inMulti: false,
    refusedMulti: undefined,
    closedByUs: false,
    lastError: undefined,
  };
  connections.set(client, connection);
  return connection;
}

function adopt(cluster: Client, node: Client): void {
  const { target } = connectionOf(cluster);
  if (connections.get(node)?.target !== target) meet(node, target, true);
}

/** Whether a command always passes. */
function passes(client: Client, command: Command, kind: CommandKind): boolean {
  switch (kind) {
    case 'connection':
    case 'end-of-multi':
      return true;
    case 'sentinel':
    case 'subscribe':
      if (asksSentinel(command, kind)) connectionOf(client).internal = true;
      return true;
    case 'ready-check':
      return client.status !== 'ready' || connectionOf(client).checksReadiness;
    case 'field-set':
      return keepsFieldSets(command);
    default:
      return false;
  }
}

function beginMulti(client: Client, admission: Admission): void {
  const connection = connectionOf(client);
  connection.inMulti = !(admission instanceof CircuitOpenError);
  if (admission instanceof CircuitOpenError) {
    // Until its caller hears of it, what is sent would be executed outside the transaction it was meant for.
    connection.refusedMulti = admission;
    nextTick(() => (connection.refusedMulti = undefined));
  }
}

function endMulti(client: Client): CircuitOpenError | undefined {
  const connection = connectionOf(client);
  connection.inMulti = false;
  return connection.refusedMulti && copyOf(connection.refusedMulti);
}

/** Takes a command's two ends over until it is settled. */
function watch(client: Client, command: Command, permit: Permit, blocking: boolean): void {
  if (permit.settled) return;
  const { resolve, reject } = command;

  // Without names and methods of their own, as those of ioredis are: commands get printed.
  command.resolve = (value) => {
    giveBack();
    if (blocking && ranIntoOwnLimit(command, value)) permit.ignore();
    else permit.success();
    return resolve.call(command, value);
  };
  command.reject = (error) => {
    giveBack();
    settleByError(client, command, permit, blocking, error);
    reject.call(command, error);
  };
  const { resolve: watchedResolve, reject: watchedReject } = command;

  // Whoever has wrapped them meanwhile keeps ours inside: settled, they only hand on.
  function giveBack(): void {
    if (command.resolve === watchedResolve) command.resolve = resolve;
    if (command.reject === watchedReject) command.reject = reject;
  }
}

/** Never throws: the error must reach the caller. */
function settleByError(client: Client, command: Command, permit: Permit, blocking: boolean, error: Error): void {
  try {
    if (kindOf(command) === 'multi') connectionOf(client).inMulti = false;
    permit.settle(verdictOfRedisError(error, circumstancesOf(client, blocking)), error);
  } catch (problem) {
    diagnostics.report('Judging the error of a Redis command failed; it counts as ignored', problem);
    permit.ignore();
  }
}

function watchBatch(client: Client, { pipeline, permit, blocking }: Batch): void {
  const { resolve, reject } = pipeline;
  pipeline.resolve = (results) => {
    giveBack();
    try {
      permit.settle(...verdictOfResults(results, circumstancesOf(client, blocking)));
    } catch (problem) {
      diagnostics.report('Judging a Redis pipeline failed; it counts as ignored', problem);
      permit.ignore();
    }
    resolve.call(pipeline, results);
  };
  pipeline.reject = (error) => {
    giveBack();
    permit.ignore();
    reject.call(pipeline, error);
  };

  function giveBack(): void {
    Object.assign(pipeline, { resolve, reject });
  }
}

function circumstancesOf(client: Client, blocking: boolean): Circumstances {
  const { closedByUs } = connectionOf(client);
  const firstAttempt = client.status !== 'ready' && client.retryAttempts === 0;
  return { closedByUs: closedByUs || client.manuallyClosing === true, firstAttempt, blocking };
}

/** Commands know their pipeline from the moment they join it, also when a cluster sends the whole of it again. */
function gatherPipelines(patches: Patches, prototype: Pipeline): void {
  patches.replace(
    prototype,
    'sendCommand',
    (sendCommand) =>
      function (this: Pipeline, command) {
        let batch = batches.get(this);
        if (batch === undefined) batches.set(this, (batch = new Batch(this)));
        calls.set(command, batch);
        batch.blocking ||= isBlocking(command);
        return sendCommand.call(this, command);
      },
  );
}

/** On a later tick, as an error of the server would come: rejected at once, OpenTelemetry's span would never end. */
function refuse(command: Command, error: CircuitOpenError): void {
  nextTick(() => {
    const { name, args } = command;
    command.reject(Object.assign(error, { command: { name, args } }));
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

function queuesOf({ offlineQueue, commandQueue, prevCommandQueue }: Client): CommandQueue[] {
  return [offlineQueue, commandQueue, prevCommandQueue].filter((queue) => queue !== undefined && queue !== null);
}

function permitOf({ command }: QueuedCommand): Permit {
  const call = calls.get(command) ?? UNGUARDED;
  return call instanceof Batch ? call.permit : call;
}

/** A connection could not be made: what waits for it has failed so far. @returns whether anything did wait */
function settleQueued(client: Client, verdict: Verdict, cause: Error): boolean {
  let waited = false;
  for (const queue of queuesOf(client)) {
    for (let index = 0; index < queue.length; index++) {
      const permit = permitOf(queue.peekAt(index)!);
      if (permit.settled) continue;
      permit.settle(verdict, cause);
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
      if (permitOf(item) === UNGUARDED || kindOf(item.command) === 'multi') queue.push(item);
      else item.command.reject(cause);
    }
  }
}

function isTimedOut(error: Error | undefined): boolean {
  return error !== undefined && verdictOfConnection(error) === 'timeout';
}
