import { trace, type Context, type Span } from '@opentelemetry/api';
import { withoutStack } from '../../src/breaker/errors.js';
import { CircuitOpenError, type Guard } from '../../src/guard/guard.js';
import { isUnreached, verdictOfMongoError } from '../../src/outcomes/mongodb.js';
import { Attachment } from '../attachment.js';
import type { Entry } from '../client-call.js';
import { harmless } from '../harmless.js';
import type { Patches } from '../patches.js';
import { refusedPromise } from '../refused-promise.js';
import { noteAnswer } from '../restart-episodes.js';
import {
  cleansUp,
  deploymentOf,
  isInTransaction,
  knowsServer,
  mayBeRejected,
  nameOf,
  selectionErrorOf,
  targetOf,
  whyUnknown,
  type Client,
  type Operation,
  type SelectionError,
  type ServerDescription,
  type Topology,
} from './client.js';
import { follow, isKnown, MongoCall } from './mongo-call.js';

type Execute = (client: Client, operation: Operation, context?: unknown) => Promise<unknown>;

const ORDINARY: Entry = {};
const ANYWAY: Entry = { must: true };
const READING: Entry = { must: true, longRunning: true };
const GIVEN_UP: Entry = { neverProbe: true };
const DEFAULT_PATIENCE_MS = 30_000;

/**
 * Guards `mongodb` 6 and 7, and with it mongoose and what else is built on it.
 *
 * The door is `executeOperation`: every operation passes it once, above the search for a server, the retries and the pools. A
 * client finds out by itself which servers there are: that there is none is evidence.
 */
export class MongodbAttachment extends Attachment {
  static readonly client = 'mongodb';

  constructor(guard: Guard) {
    super(MongodbAttachment.client, guard);
  }

  protected override patch(patches: Patches): void {
    const onFile = <T extends object>(
      file: string,
      find: (exports: Partial<T>) => T | undefined,
      patch: (found: T) => void,
    ) => this.onEachCopy(patches, `/mongodb/lib/${file}.js`, (exports) => find((exports ?? {}) as Partial<T>), patch);

    onFile<{ executeOperation: Execute }>(
      'operations/execute_operation',
      // Before version 6 it calls back.
      (exports) => (exports.executeOperation?.constructor.name === 'AsyncFunction' ? (exports as never) : undefined),
      (exports) => this.#guardOperations(patches, exports),
    );
    onFile<{ Topology: { readonly prototype: Topology } }>(
      'sdam/topology',
      (exports) => (exports.Topology ? (exports as never) : undefined),
      ({ Topology: { prototype } }) => this.#watchDeployments(patches, prototype),
    );
  }

  /**
   * OpenTelemetry makes a span for each command, when a connection is there, and ends it before the operation does: what is to
   * be said of an operation stands on the span around it.
   */
  override callSpan(active: Context | undefined): Span | undefined {
    return active && trace.getSpan(active);
  }

  override innerSpan(): Span | undefined {
    return undefined;
  }

  #guardOperations(patches: Patches, exports: { executeOperation: Execute }): void {
    let SelectionError: SelectionError | undefined;
    const ask = harmless('Guarding a MongoDB operation failed', (client: Client, operation: Operation) => {
      deploymentOf(client).SelectionError ??= SelectionError ??= selectionErrorOf(exports);
      return this.#ask(client, operation);
    });
    const refuse = harmless('Rejecting a MongoDB operation failed', (client: Client, rejection: CircuitOpenError) => {
      lookAgain(client);
      return refusedPromise(this.#errorFor(client, rejection));
    });
    patches.replace(
      exports,
      'executeOperation',
      (execute) =>
        function (this: unknown, ...args) {
          const [client, operation] = args;
          const call = ask(client, operation);
          if (call === undefined) return Reflect.apply(execute, this, args);
          if (call instanceof CircuitOpenError) {
            return refuse(client, call) ?? Reflect.apply(execute, this, args);
          }
          const result = Reflect.apply(execute, this, args);
          return follow(call, result) ?? result;
        },
    );
  }

  #ask(client: Client, operation: Operation): MongoCall | CircuitOpenError | undefined {
    const name = nameOf(operation);
    if (cleansUp(name)) return undefined;
    const call = new MongoCall(this, client, name, patienceOf(client, operation), this.#onGivenUp);
    const rejection = call.enter(targetOf(client), this.#entryOf(call, operation));
    return rejection ?? (call.isOver ? undefined : call);
  }

  /** Only a server shows how it is: without one, operations are no probes, which would wait for half a minute. */
  #entryOf({ client, patienceMs }: MongoCall, operation: Operation): Entry {
    if (operation.commandName === 'getMore') return READING;
    if (isInTransaction(operation)) return ANYWAY;
    if (isKnown(client)) return ORDINARY;
    // The client knows none just now since one has said that it cannot work. It will know it again in a moment, and be told the same.
    if (deploymentOf(client).isRefused) return GIVEN_UP;
    return this.#mayWait(client, patienceMs) ? ANYWAY : GIVEN_UP;
  }

  /**
   * Whether an operation may wait for a server, whatever the circuit says: the client would still answer it by itself. That
   * ends when one that was as patient has waited in vain; a rule may end it earlier.
   */
  #mayWait(client: Client, patienceMs: number): boolean {
    return deploymentOf(client).gaveUpAfterMs < patienceMs && this.letsWait(targetOf(client));
  }

  /** An operation has found no server for as long as it was to look for one. */
  readonly #onGivenUp = ({ client, patienceMs }: MongoCall): void => {
    const deployment = deploymentOf(client);
    if (isKnown(client) || patienceMs <= deployment.gaveUpAfterMs) return;
    deployment.gaveUpAfterMs = patienceMs;
    this.#rejectWaiting(client);
  };

  #watchDeployments(patches: Patches, prototype: Topology): void {
    const onUpdate = harmless('Watching a MongoDB deployment failed', (topology: Topology, news: ServerDescription) =>
      this.#onUpdate(topology, news),
    );
    patches.replace(
      prototype,
      'serverUpdateHandler',
      (update) =>
        function (this: Topology, news) {
          const result = update.call(this, news);
          onUpdate(this, news);
          return result;
        },
    );
  }

  #onUpdate(topology: Topology, news: ServerDescription): void {
    const { client } = topology;
    if (client === undefined) return;
    const deployment = deploymentOf(client);
    const target = targetOf(client);
    if (knowsServer(topology)) {
      deployment.gaveUpAfterMs = 0;
      // One is found after all have been lost, and everything waits for it.
      if (!deployment.wasKnown) {
        noteAnswer(client);
        this.connected(target);
      }
      deployment.wasKnown = true;
      return;
    }
    deployment.wasKnown = false;
    const error = whyUnknown(topology, news);
    const verdict = verdictOfMongoError(error);
    if (verdict !== 'failure' && verdict !== 'timeout') return;
    // What is lost or refused, operations tell, or the attempts to have another connection will: mongodb itself ends its own ones then.
    if (!isUnreached(error)) return;
    deployment.timesLost++;
    this.evidence(target).settle(verdict, error);
    this.#rejectWaiting(client);
  }

  /** Where the circuit is open, whoever would wait for a server in vain gets the reason now. */
  #rejectWaiting(client: Client): void {
    const { topology } = client;
    if (!topology || this.#mayWait(client, patienceOf(client))) return;
    const rejection = this.rejection(targetOf(client));
    if (rejection === undefined) return;
    const error = this.#errorFor(client, rejection);
    for (const waiting of topology.waitQueue) {
      if (waiting.cancelled || !mayBeRejected(waiting)) continue;
      waiting.cancelled = true;
      waiting.reject(error);
    }
  }

  /** Callers of mongodb know this class as what they get without a server. */
  #errorFor(client: Client, rejection: CircuitOpenError): Error {
    const { SelectionError } = deploymentOf(client);
    if (SelectionError === undefined) return rejection;
    // Without the errors of servers, which would take the place of the message.
    const reason = { servers: new Map(client.topology?.description.servers) };
    const error = withoutStack(() => new SelectionError(rejection.message, reason));
    return Object.defineProperty(error, 'cause', { value: rejection, configurable: true, writable: true });
  }
}

/**
 * A client looks for its servers twice a second for as long as operations wait, and six times a minute otherwise: it must not
 * be late to find one because we let none wait.
 */
function lookAgain({ topology }: Client): void {
  if (!topology || knowsServer(topology)) return;
  for (const server of topology.s?.servers?.values() ?? []) server.requestCheck?.();
}

/** For how many milliseconds an operation looks for a server; without one, what is the most of a client. */
function patienceOf({ options }: Client, operation?: Operation): number {
  const { serverSelectionTimeoutMS: ofClient = DEFAULT_PATIENCE_MS } = options;
  return Math.min(ofClient || Infinity, operation?.options?.timeoutMS || Infinity);
}
