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

/** What all requests of a session share. */
export interface Connection {
  readonly socket: Socket | undefined;
  /** The session has said that nothing comes, and nothing has come since. */
  timedOut: boolean;
}

/** One request and what has become of it so far. */
export class Http2Call extends HttpClientCall {
  /** What it is sent on; `undefined` while it waits for a session. */
  connection: Connection | undefined = undefined;
  /** It has a stream. */
  isSent = false;
  #timedOut = false;

  constructor(
    attachment: Attachment,
    private readonly headers: Headers,
  ) {
    super(attachment);
  }

  override spanName(): string {
    return this.method;
  }

  get method(): string {
    const method = headerOf(this.headers, ':method');
    return typeof method === 'string' ? method : 'GET';
  }

  get path(): string {
    const path = headerOf(this.headers, ':path');
    return typeof path === 'string' ? path : '/';
  }

  /** A header of the request, in whatever case it is written. */
  header(name: string): unknown {
    const { headers } = this;
    if (headers === null || headers === undefined || Array.isArray(headers)) return headerOf(headers, name);
    const key = Object.keys(headers).find((each) => each.toLowerCase() === name);
    return key && headerOf(headers, key);
  }

  onResponse(headers: Readonly<Record<string, unknown>>): void {
    const socket = this.connection?.socket;
    if (socket) noteAnswer(socket);
    this.onData();
    this.judgeHeaders(Number(headers[':status']), (name) => headers[name] as string | undefined);
    // A WebSocket over HTTP/2: as with an upgrade of HTTP/1.1, what follows is no answer.
    if (this.answeredWell && isSwitch(this.headers)) this.succeed();
  }

  onData(): void {
    this.#timedOut = false;
    if (this.connection) this.connection.timedOut = false;
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
    if (verdict === undefined) this.leave(error);
    // Node gives each stream of a connection an error of its own, with the connection's as its cause.
    else this.end(verdict, (error as Error).cause ?? error);
  }

  /** Node has no error for the streams of a connection that the other side has closed, nor for those that the caller has. */
  onClose(): void {
    if (this.isOver) return;
    if (!this.#isLost) return this.leave(undefined);
    const socket = this.connection!.socket!;
    if (restartOf(this.permit.breaker, socket) === 'further') this.forgo();
    else this.end('failure', lossOf(socket));
  }

  /** Its caller ended it: because time ran out, since it had what it wanted, or for reasons of its own. */
  leave(reason: unknown): void {
    if (this.#timedOut || this.connection?.timedOut === true || isTimeout(reason)) this.end('timeout', reason);
    else if (this.answeredWell) this.succeed();
    else this.abandon(reason);
  }

  protected override verdictOf(): Verdict {
    return 'failure';
  }

  get #isLost(): boolean {
    const socket = this.connection?.socket;
    return socket !== undefined && socket.destroyed && (socket.readableEnded || socket.errored !== null);
  }
}

/** Whether a request is to make a tunnel to another place. */
export function isTunnel(headers: Headers): boolean {
  return headerOf(headers, ':method') === 'CONNECT' && !isSwitch(headers);
}

/** Whether a request wants another protocol, and no answer (RFC 8441). */
function isSwitch(headers: Headers): boolean {
  return headerOf(headers, ':protocol') !== undefined;
}

/** @param name in lower case, as nearly everybody writes it */
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
