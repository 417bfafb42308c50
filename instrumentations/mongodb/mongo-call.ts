import { CircuitOpenError } from '../../src/guard/guard.js';
import {
  isLostMongoConnection,
  isMongoOutOfPatience,
  isUnreached,
  verdictOfMongoError,
} from '../../src/outcomes/mongodb.js';
import { isAbort } from '../../src/outcomes/timeouts.js';
import type { Verdict } from '../../src/breaker/verdict.js';
import type { Attachment } from '../attachment.js';
import { ClientCall } from '../client-call.js';
import { harmless } from '../harmless.js';
import { noteAnswer, restartOf } from '../restart-episodes.js';
import { knowsServer, type Client } from './client.js';

/** One operation: what a caller asks for, with the retries and the search for a server that the client does for it. */
export class MongoCall extends ClientCall {
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
  }

  /** As OpenTelemetry's instrumentation names it. */
  override spanName(): string {
    return `mongodb.${this.name}`;
  }

  protected override verdictOf(error: unknown): Verdict {
    const { client, permit } = this;
    const verdict = verdictOfMongoError(error);
    if (isMongoOutOfPatience(error)) {
      this.onGivenUp(this);
      // The failed attempts to find a server speak for the deployment, and not each operation that waited for one.
      if (!isKnown(client)) permit.withhold();
      return verdict;
    }
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

/** The promise is awaited by mongodb itself: what its callers get is another one. */
export const follow = harmless(
  FOLLOWING_FAILED,
  (call: MongoCall, result: Promise<unknown>): void => {
    result.then(onAnswer.bind(undefined, call), onError.bind(undefined, call));
  },
  (call) => call.forgo(),
);

const onAnswer = harmless(
  FOLLOWING_FAILED,
  (call: MongoCall) => {
    noteAnswer(call.client);
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
