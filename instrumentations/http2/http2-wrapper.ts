import { deferRejection } from '../../src/breaker/pacing.js';
import { isObject } from '../../src/breaker/values.js';
import { harmless } from '../harmless.js';
import { hiddenProperty } from '../hidden-property.js';
import type { OpenAnswer } from '../open-answer.js';
import type { Patches } from '../patches.js';
import type { Headers, Http2Call, Stream } from './http2-call.js';
import { RefusedStream } from './refused-stream.js';

/** An agent of http2-wrapper, which got makes its requests with: it keeps them until there is a session for them. */
export interface WaitingAgent {
  request(this: WaitingAgent, origin: URL, options: unknown, headers: Headers, ...rest: unknown[]): Promise<Stream>;
}

export interface WaitingRequest {
  flushHeaders(this: WaitingRequest): unknown;
  _destroy(this: WaitingRequest, error: unknown, ...rest: unknown[]): unknown;
}

/** Asks for a call. @returns what its caller gets where it must not be made */
export type Ask = (headers: Headers, origin: URL) => Http2Call | Error | OpenAnswer;

const GUARDING_FAILED = 'Guarding a request that waits for its session failed';

// By the headers, which the agent hands to the session as they are. `null` once it has been handed on.
const waiting = hiddenProperty<Http2Call | null>();
const callOf = hiddenProperty<Http2Call>();
/** The request that is asking its agent just now. */
let asking: WaitingRequest | undefined;

/** The call that a request of a session has been, while it waited; nothing where it has not. */
export function handedOn(headers: Headers): Http2Call | undefined {
  const call = isObject(headers) ? waiting.get(headers) : undefined;
  if (call) waiting.set(headers as object, null);
  return call ?? undefined;
}

/** Guards requests from the moment at which they ask their agent: one whose connection cannot be made never has a stream. */
export function guardAgent(patches: Patches, agent: WaitingAgent, ask: Ask): void {
  /** @returns the call, or what its caller gets in the place of a stream */
  const begin = harmless(GUARDING_FAILED, (headers: Headers, origin: URL): Http2Call | Promise<Stream> => {
    const answer = ask(headers, origin);
    if (answer instanceof Error) return new Promise((_, reject) => deferRejection(() => reject(answer)));
    if (!('enter' in answer)) return Promise.resolve(new RefusedStream(undefined, headers, answer, undefined));
    if (isObject(headers)) waiting.set(headers, answer);
    if (asking !== undefined) callOf.set(asking, answer);
    return answer;
  });

  const noteStream = harmless(GUARDING_FAILED, (call: Http2Call) => {
    // Its headers were used for another request as well, which took its place.
    if (!call.isSent) call.forgo();
  });
  const noteError = harmless(
    GUARDING_FAILED,
    (call: Http2Call, error: unknown) => call.onError(error),
    (call) => call.forgo(),
  );
  const watched = async (call: Http2Call, promise: Promise<Stream>): Promise<Stream> => {
    try {
      const stream = await promise;
      noteStream(call);
      return stream;
    } catch (error) {
      noteError(call, error);
      throw error;
    }
  };

  patches.replace(
    agent,
    'request',
    (request) =>
      function (this: WaitingAgent, ...args) {
        const call = begin(args[2], args[0]);
        if (call instanceof Promise) return call;
        const promise = request.apply(this, args);
        return call === undefined || call.isOver ? promise : watched(call, promise);
      },
  );
}

/** Hears of it when the caller of a request leaves that still waits: nobody else would tell, however long that takes. */
export function guardWaitingRequests(patches: Patches, request: WaitingRequest): void {
  const enter = harmless(GUARDING_FAILED, (asks: WaitingRequest) => {
    const before = asking;
    asking = asks;
    return before;
  });
  const leave = harmless(GUARDING_FAILED, (waits: WaitingRequest, error: unknown) => {
    const call = callOf.get(waits);
    if (call !== undefined && !call.isOver && !call.isSent) call.leave(error);
  });
  patches.replace(
    request,
    'flushHeaders',
    (flushHeaders) =>
      function (this: WaitingRequest) {
        const before = enter(this);
        try {
          return flushHeaders.call(this);
        } finally {
          asking = before;
        }
      },
  );
  patches.replace(
    request,
    '_destroy',
    (destroy) =>
      function (this: WaitingRequest, ...args) {
        leave(this, args[0]);
        return destroy.apply(this, args);
      },
  );
}

export function agentOf(exports: unknown): WaitingAgent | undefined {
  const { Agent } = (exports ?? {}) as { Agent?: { prototype?: Partial<WaitingAgent> } };
  return typeof Agent?.prototype?.request === 'function' ? (Agent.prototype as WaitingAgent) : undefined;
}

export function requestOf(exports: unknown): WaitingRequest | undefined {
  const { prototype } = (exports ?? {}) as { prototype?: Partial<WaitingRequest> };
  const isOne = typeof prototype?.flushHeaders === 'function' && typeof prototype._destroy === 'function';
  return isOne ? (prototype as WaitingRequest) : undefined;
}
