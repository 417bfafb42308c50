import type http from 'node:http';
import type { Duplex } from 'node:stream';
import type { HeaderReader } from '../../src/outcomes/http.js';
import { isTimeout } from '../../src/outcomes/timeouts.js';
import type { Verdict } from '../../src/breaker/verdict.js';
import type { Attachment } from '../attachment.js';
import { HttpClientCall } from '../http-client-call.js';
import { isPartOfRestart, noteAnswer } from '../restart-episodes.js';

/** A client request as Node makes it, with what its types do not say. */
export interface Request extends http.ClientRequest {
  readonly agent: AgentLike | undefined;
  readonly socketPath: string | undefined;
  readonly res: http.IncomingMessage | null;
  onSocket: (this: Request, socket: Duplex | null, error?: Error) => void;
}

/** What an agent is asked with; old callers give a host and a port in place of the object. */
export type AgentArguments = [
  options: { readonly host?: unknown; readonly port?: unknown } | string,
  ...legacy: unknown[],
];

/** What `ClientRequest` needs of an agent; old proxy agents have no more than this. */
export interface AgentLike {
  addRequest(request: Request, ...args: AgentArguments): void;
}

/** What has happened to a request besides its answer. */
class Past {
  /** Our own process ended it. Made with a signal that was aborted before, a request is that from the start. */
  isEnding = false;
  /** Why. */
  reason: unknown = undefined;
  /** Bytes that had come when its `timeout` event came. */
  bytesAtTimeout: number | undefined = undefined;
}

/**
 * One request and what has become of it so far. Its methods are `private`, not `#`: for private methods of a class, each of its
 * objects carries one field more.
 */
export class HttpCall extends HttpClientCall {
  readonly #req: Request;
  /** Made when something happens: to most requests nothing does, and each field is one more for all. */
  #past: Past | undefined = undefined;

  constructor(attachment: Attachment, req: Request) {
    super(attachment);
    this.#req = req;
    if (req.destroyed) this.onDestroy(undefined);
  }

  override spanName(): string {
    return this.#req.method;
  }

  /** Our own process ends the request. */
  onDestroy(error: unknown): void {
    const past = (this.#past ??= new Past());
    past.isEnding = true;
    past.reason = error;
  }

  get method(): string {
    return this.#req.method;
  }

  get path(): string {
    return this.#req.path;
  }

  /** A header of the request. */
  header(name: string): unknown {
    return this.#req.getHeader(name);
  }

  /** The request has been written over TLS, so not before the end of the handshake. */
  onSent(): void {
    if (this.target !== undefined) this.showsLife(this.target);
  }

  onResponse(res: http.IncomingMessage): void {
    const { socket } = this.#req;
    if (socket) noteAnswer(socket);
    if (this.judgeStatus(res.statusCode!)) return;
    this.judgeHeaders(res.statusCode!, headersOf(res), res.statusMessage);
  }

  onTimeout(): void {
    (this.#past ??= new Past()).bytesAtTimeout = this.bytesRead();
  }

  onError(error: unknown): void {
    const { res } = this.#req;
    // What comes after the answer was there, like a reset while the connection is being put down, is no word on the call.
    if (res?.complete) this.succeed();
    else if (this.#past?.isEnding) this.leave(this.#past.reason);
    // Destroying the answer destroys the socket with its error; the death of a socket comes here before the answer's.
    else if (res?.destroyed) this.leave(res.errored);
    else if (this.isPartOfRestart(error)) this.forgo();
    else this.fail(error);
  }

  onClose(): void {
    const { res } = this.#req;
    if (res?.complete || res?.statusCode === 101) this.succeed();
    else if (res === null || this.#past?.isEnding) this.leave(this.#past?.reason);
    else if (isCutOff(res)) this.fail(res.errored);
    else this.leave(res.errored);
  }

  protected override verdictOf(error: unknown): Verdict {
    return this.timedOut || isTimeout(error) ? 'timeout' : 'failure';
  }

  /** Its caller ended it: because time ran out, since it had what it wanted, or for reasons of its own. */
  private leave(reason: unknown): void {
    if (this.timedOut || isTimeout(reason)) this.end('timeout', reason);
    else if (this.answeredWell) this.succeed();
    else this.abandon(reason);
  }

  /** Its caller's patience ran out, and nothing has come since. */
  private get timedOut(): boolean {
    const bytes = this.#past?.bytesAtTimeout;
    return bytes !== undefined && this.bytesRead() === bytes;
  }

  private bytesRead(): number {
    // Sockets that applications make themselves may not count.
    return this.#req.socket?.bytesRead ?? 0;
  }

  /** The server closed an idle connection just as we took it from the pool: every client tries again, and nothing is wrong. */
  private isPartOfRestart(error: unknown): boolean {
    const { reusedSocket, res, socket } = this.#req;
    if (!reusedSocket || res !== null) return false;
    const { code } = error as NodeJS.ErrnoException;
    return (code === 'ECONNRESET' || code === 'EPIPE') && isPartOfRestart(this.permit.breaker, socket, true);
  }
}

/** Not where an answer comes in: a closure there would cost every call its context. Node parses headers when one is asked for. */
function headersOf(res: http.IncomingMessage): HeaderReader {
  return (name) => res.headers[name] as string | undefined;
}

/** Whether the other side closed the connection before the answer was complete: Node then destroys it with this error. */
function isCutOff(res: http.IncomingMessage): boolean {
  const error: NodeJS.ErrnoException | null = res.errored;
  return error?.code === 'ECONNRESET' && error.message === 'aborted';
}
