import { CircuitOpenError } from '../../src/guard/guard.js';
import {
  isLostMongoConnection,
  isMongoOutOfPatience,
  isRefusalOfMongo,
  isUnreached,
  verdictOfMongoError,
} from '../../src/outcomes/mongodb.js';
import { isAbort } from '../../src/outcomes/timeouts.js';
import type { Verdict } from '../../src/breaker/verdict.js';
import type { Attachment } from '../attachment.js';
import { ClientCall } from '../client-call.js';
import { harmless } from '../harmless.js';
import { noteAnswer, restartOf } from '../restart-episodes.js';
import { deploymentOf, knowsServer, type Client } from './client.js';

/** One operation: what a caller asks for, with the retries and the search for a server that the client does for it. */
export class MongoCall extends ClientCall {
  readonly #timesLostBefore: number;

  /**
   * @param patienceMs for how long it may look for a server
   * @param onGivenUp is told when it has looked for so long
   */
  constructor(
    attachment: Attachment,
    readonly client: Client,
    private readonly name: string,
    readonly patienceMs: number,
    private readonly onGivenUp: (call: MongoCall) => void,
  ) {
    super(attachment);
    this.#timesLostBefore = deploymentOf(client).timesLost;
  }

  /** As OpenTelemetry's instrumentation names it. */
  override spanName(): string {
    return `mongodb.${this.name}`;
  }

  protected override verdictOf(error: unknown): Verdict {
    const { client, permit } = this;
    const verdict = verdictOfMongoError(error);
    const deployment = deploymentOf(client);
    if (isMongoOutOfPatience(error)) {
      this.onGivenUp(this);
      if (isKnown(client)) return verdict;
      // The failed attempts to find a server speak for the deployment, and not each operation that waited for one. Where none
      // was told of, the first operation that has waited in vain speaks for the others.
      if (deployment.timesLost > this.#timesLostBefore) {
        permit.withhold();
      } else {
        deployment.timesLost++;
        permit.becomeEvidence();
      }
      return verdict;
    }
    if (verdict === 'failure') deployment.isRefused = isRefusalOfMongo(error);
    if (verdict !== 'failure' || !isLostMongoConnection(error)) return verdict;
    if (isUnreached(error)) {
      permit.becomeEvidence();
      return verdict;
    }
    // A restart of a server ends all its connections, and is one failure of it.
    const restart = restartOf(permit.breaker, client, true);
    if (restart === 'further') return 'ignored';
    // Where nothing but failed attempts to connect follows, the next connection says that it is over.
    if (restart === 'first') permit.becomeEvidence();
    return verdict;
  }
}

export function isKnown({ topology }: Client): boolean {
  return topology !== undefined && topology !== null && knowsServer(topology);
}

const FOLLOWING_FAILED = 'Following a MongoDB operation failed';

/**
 * What its callers get is the promise that comes of the client's own: with a second listener to that one, V8 would not know who
 * waits for it, and the application's own frames would be missing from the stacks of errors.
 */
export const follow = harmless(
  FOLLOWING_FAILED,
  (call: MongoCall, result: Promise<unknown>): Promise<unknown> =>
    result.then(
      (value) => {
        onAnswer(call);
        return value;
      },
      (error) => {
        onError(call, error);
        throw error;
      },
    ),
  (call): undefined => call.forgo() as undefined,
);

const onAnswer = harmless(
  FOLLOWING_FAILED,
  (call: MongoCall) => {
    noteAnswer(call.client);
    deploymentOf(call.client).isRefused = false;
    call.succeed();
  },
  (call) => call.forgo(),
);

const onError = harmless(
  FOLLOWING_FAILED,
  (call: MongoCall, error: unknown) => {
    const rejection = rejectionIn(error);
    if (rejection !== undefined) call.refuse(rejection);
    else if (isAbort(error)) call.abandon(error);
    else call.fail(error);
  },
  (call) => call.forgo(),
);

/** Ours, where it was taken out of the queue of those that wait. */
function rejectionIn(error: unknown): CircuitOpenError | undefined {
  const { cause } = Object(error) as { cause?: unknown };
  return cause instanceof CircuitOpenError ? cause : undefined;
}
