import type { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import type { Verdict } from '../../src/breaker/verdict.js';
import { verdictOfHttp2Error } from '../../src/outcomes/http2.js';
import { isTimeout } from '../../src/outcomes/timeouts.js';
import type { Attachment } from '../attachment.js';
import { HttpClientCall } from '../http-client-call.js';
import { hiddenProperty } from '../hidden-property.js';
import { noteAnswer, restartOf } from '../restart-episodes.js';

/** A request of HTTP/2, in headers by name or in pairs. */
export type Headers = Readonly<Record<string, unknown>> | readonly unknown[] | null | undefined;

export interface Stream extends Duplex {
  readonly rstCode: number | undefined;
}

/** One request and what has become of it so far. */
export class Http2Call extends HttpClientCall {
  #timedOut = false;

  constructor(
    attachment: Attachment,
    private readonly headers: Headers,
    private readonly socket: Socket | undefined,
  ) {
    super(attachment);
  }

  override spanName(): string {
    return this.method;
  }

  get method(): string {
    const method = this.header(':method');
    return typeof method === 'string' ? method : 'GET';
  }

  get path(): string {
    const path = this.header(':path');
    return typeof path === 'string' ? path : '/';
  }

  header(name: string): unknown {
    return headerOf(this.headers, name);
  }

  onResponse(headers: Readonly<Record<string, unknown>>): void {
    if (this.socket) noteAnswer(this.socket);
    this.#timedOut = false;
    this.judgeHeaders(Number(headers[':status']), (name) => headers[name] as string | undefined);
  }

  onData(): void {
    this.#timedOut = false;
  }

  onTimeout(): void {
    this.#timedOut = true;
  }

  /** The body is over: for good, or since the stream is. A caller that makes its calls in turn begins the next one here. */
  onEnd({ rstCode }: Stream): void {
    if (this.answeredWell && !rstCode && !this.#isLost) this.succeed();
  }

  onError(error: unknown): void {
    if (this.isOver) return;
    const verdict = verdictOfHttp2Error(error);
    if (verdict === undefined) this.#leave(error);
    // Node gives each stream of a connection an error of its own, with the connection's as its cause.
    else this.end(verdict, (error as Error).cause ?? error);
  }

  /** Node has no error for the streams of a connection that the other side has closed, nor for those that the caller has. */
  onClose(): void {
    if (this.isOver) return;
    if (!this.#isLost) return this.#leave(undefined);
    const socket = this.socket!;
    if (restartOf(this.permit.breaker, socket) === 'further') this.forgo();
    else this.end('failure', lossOf(socket));
  }

  protected override verdictOf(): Verdict {
    return 'failure';
  }

  get #isLost(): boolean {
    const { socket } = this;
    return socket !== undefined && socket.destroyed && (socket.readableEnded || socket.errored !== null);
  }

  /** Its caller ended it: because time ran out, since it had what it wanted, or for reasons of its own. */
  #leave(reason: unknown): void {
    if (this.#timedOut || isTimeout(reason)) this.end('timeout', reason);
    else if (this.answeredWell) this.succeed();
    else this.abandon(reason);
  }
}

export function headerOf(headers: Headers, name: string): unknown {
  if (!Array.isArray(headers)) return (headers as Readonly<Record<string, unknown>> | null | undefined)?.[name];
  for (let at = 0; at < headers.length; at += 2) {
    if (String(headers[at]).toLowerCase() === name) return headers[at + 1] as unknown;
  }
  return undefined;
}

const losses = hiddenProperty<Error>();

/** What all the streams of a connection that was lost have failed with: one event. */
function lossOf(socket: Socket): Error {
  let loss: Error | undefined = socket.errored ?? losses.get(socket);
  if (loss === undefined) {
    loss = Object.assign(new Error('the server closed the connection'), { code: 'ECONNRESET' });
    losses.set(socket, loss);
  }
  return loss;
}
