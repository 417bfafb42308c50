import type { Verdict } from '../../src/breaker/verdict.js';
import {
  DEADLINE_EXCEEDED,
  errorOfGrpcStatus,
  isAboutConnection,
  isGivenUp,
  OK,
  verdictOfGrpcStatus,
  type GrpcStatus,
} from '../../src/outcomes/grpc.js';
import type { Attachment } from '../attachment.js';
import { ClientCall } from '../client-call.js';
import { harmless } from '../harmless.js';
import { hiddenProperty } from '../hidden-property.js';
import { noteAnswer, restartOf } from '../restart-episodes.js';
import type { Channel } from './channel.js';

/** What a call of grpc-js tells of its answer. */
export interface Listener {
  onReceiveMetadata(metadata: unknown): void;
  onReceiveMessage(message: unknown): void;
  onReceiveStatus(status: GrpcStatus): void;
}

/** One call, retries and load balancing included. Its answer passes here on the way to whoever made it. */
export class GrpcCall extends ClientCall implements Listener {
  #hasAnswered = false;

  /** @param path of the method: `/shop.Orders/Place` */
  constructor(
    attachment: Attachment,
    readonly path: string,
    private readonly channel: Channel,
    readonly isStream: boolean,
    private readonly listener: Listener,
  ) {
    super(attachment);
  }

  override spanName(): string {
    return `grpc.${this.path.replace('/', '')}`;
  }

  onReceiveMetadata(metadata: unknown): void {
    // A stream may have nothing to say for hours. That it was opened is the answer.
    if (this.isStream) noteAnswered(this);
    this.listener.onReceiveMetadata(metadata);
  }

  onReceiveMessage(message: unknown): void {
    noteAnswered(this);
    this.listener.onReceiveMessage(message);
  }

  onReceiveStatus(status: GrpcStatus): void {
    judge(this, status);
    this.listener.onReceiveStatus(status);
  }

  /** The first part of the answer is there. */
  onAnswered(): void {
    if (this.#hasAnswered) return;
    this.#hasAnswered = true;
    noteAnswer(this.channel);
    this.answered();
  }

  onStatus(status: GrpcStatus): void {
    if (this.isOver) return;
    if (status.code === OK) {
      noteAnswer(this.channel);
      this.succeed();
    } else if (isGivenUp(status)) this.#leave();
    // How long a stream may live is its caller's affair, once it was opened.
    else if (status.code === DEADLINE_EXCEEDED && this.isStream && this.#hasAnswered) this.succeed();
    else this.#failBy(status);
  }

  protected override verdictOf(): Verdict {
    return 'failure';
  }

  #leave(): void {
    // A stream that is left before it has said anything was quiet, and not slow.
    if (this.isStream && !this.#hasAnswered) this.forgo();
    else this.abandon();
  }

  #failBy(status: GrpcStatus): void {
    const { breaker } = this.permit;
    const verdict = verdictOfGrpcStatus(status);
    const event = verdict === 'failure' ? isAboutConnection(status) : undefined;
    if (event === undefined) {
      if (verdict === 'success') noteAnswer(this.channel);
      return this.end(verdict, verdict === 'success' ? undefined : errorOfGrpcStatus(status));
    }
    // All calls of a connection end when it is lost.
    if (event === 'lost' && restartOf(breaker, this.channel) === 'further') return this.forgo();
    if (event === 'unreached') this.permit.becomeEvidence();
    this.end('failure', sharedCause(breaker, status));
  }
}

const noteAnswered = harmless('Following the answer of a gRPC call failed', (call: GrpcCall) => call.onAnswered());

const judge = harmless(
  'Judging the status of a gRPC call failed',
  (call: GrpcCall, status: GrpcStatus) => call.onStatus(status),
  (call) => call.forgo(),
);

// On breakers: what the latest event was.
const causes = hiddenProperty<{ readonly details: string; readonly error: Error }>();

/** One attempt to connect fails, and every call is told of it: the same error, which a breaker counts once at a time. */
function sharedCause(breaker: object, status: GrpcStatus): Error {
  const latest = causes.get(breaker);
  if (latest?.details === status.details) return latest.error;
  // Without the metadata, which belongs to one call.
  const error = errorOfGrpcStatus({ code: status.code, details: status.details });
  causes.set(breaker, { details: status.details, error });
  return error;
}
