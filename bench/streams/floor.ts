/**
 * The least that a breaker can do around a call: a record that is found again at its end, however it ends, two looks at the
 * clock, a count. Patched in where otel-breaker is. No window, no rules, no spans; one target.
 *
 * What no breaker can leave out is here, also where the calls that are measured do not need it: a seam that only sees calls
 * end well would leave those for ever in flight that fail, or are given up.
 */
import type { StreamClient } from './clients.js';

const now = performance.now.bind(performance);
const RECORD = Symbol('floor');

interface Recorded {
  [RECORD]?: CallRecord;
}

class CallRecord {
  readonly startedAt = now();
  settled = false;
}

export const counts = { good: 0, bad: 0, ms: 0 };

function end(record: CallRecord | undefined, good: boolean): void {
  if (record === undefined || record.settled) return;
  record.settled = true;
  if (good) counts.good++;
  else counts.bad++;
  counts.ms += now() - record.startedAt;
}

type AnyFunction = (this: Recorded, ...args: never[]) => unknown;

function around(owner: object, key: string, make: (original: AnyFunction) => unknown): void {
  const methods = owner as Record<string, unknown>;
  methods[key] = make(methods[key] as AnyFunction);
}

export const INSTALL_FLOOR: Readonly<Record<StreamClient, (sample?: unknown) => void>> = {
  http: () => {
    const http = require('node:http') as typeof import('node:http');
    around(
      http.Agent.prototype,
      'addRequest',
      (addRequest) =>
        function (this: Recorded, request: Recorded, options: never) {
          request[RECORD] = new CallRecord();
          return addRequest.call(this, request as never, options);
        },
    );
    around(
      http.IncomingMessage.prototype,
      'push',
      (push) =>
        function (this: Recorded & { req?: Recorded; statusCode: number }, chunk: unknown, encoding: never) {
          if (chunk === null) end(this.req?.[RECORD], this.statusCode < 500);
          return push.call(this, chunk as never, encoding);
        },
    );
    // A request that fails or is given up says so in no other way: a listener would be seen, and would change what happens.
    around(
      http.ClientRequest.prototype,
      'emit',
      (emit) =>
        function (this: Recorded, event: string, argument?: unknown) {
          if (event === 'error' || event === 'close') end(this[RECORD], false);
          /* eslint-disable prefer-rest-params -- an array for each event would be one object too many */
          if (arguments.length === 1) return emit.call(this, event as never);
          if (arguments.length === 2) return emit.call(this, event as never, argument as never);
          return Reflect.apply(emit, this, arguments) as unknown;
          /* eslint-enable prefer-rest-params */
        },
    );
  },
  pg: () => {
    const { Query } = require('pg') as typeof import('pg');
    around(
      Query.prototype,
      'submit',
      (submit) =>
        function (this: Recorded, connection: never) {
          this[RECORD] = new CallRecord();
          return submit.call(this, connection);
        },
    );
    around(
      Query.prototype,
      'handleReadyForQuery',
      (handleReadyForQuery) =>
        function (this: Recorded, connection: never) {
          end(this[RECORD], true);
          return handleReadyForQuery.call(this, connection);
        },
    );
    // Of the server, or of a connection that is lost, after which it is never ready again.
    around(
      Query.prototype,
      'handleError',
      (handleError) =>
        function (this: Recorded, error: never, connection: never) {
          end(this[RECORD], false);
          return handleError.call(this, error, connection);
        },
    );
  },
  ioredis: () => {
    const { Command, Redis } = require('ioredis') as typeof import('ioredis');
    // Whoever resolves a command, it then asks its own class what to make of the reply.
    around(
      Command.prototype,
      'transformReply',
      (transformReply) =>
        function (this: Recorded, reply: never) {
          end(this[RECORD], true);
          return transformReply.call(this, reply);
        },
    );
    around(
      Redis.prototype,
      'sendCommand',
      (sendCommand) =>
        function (this: Recorded, command: Recorded & { reject: (error: unknown) => unknown }, stream: never) {
          const record = new CallRecord();
          command[RECORD] = record;
          // Error replies, time-outs and lost connections come here and nowhere else that they share.
          const { reject } = command;
          command.reject = (error) => {
            end(record, false);
            return reject.call(command, error);
          };
          return sendCommand.call(this, command as never, stream);
        },
    );
  },
  undici: () => {
    const { Pool } = require('undici') as typeof import('undici');
    floorOfDispatchers(Object.getPrototypeOf(Pool.prototype) as object);
  },
  fetch: (dispatcher) => floorOfDispatchers(dispatcher as object),
};

interface Handler {
  onConnect(abort: (reason?: unknown) => void, context?: unknown): unknown;
  onHeaders(status: number, headers: unknown, resume: unknown, statusText: string): unknown;
  onData(chunk: unknown): unknown;
  onComplete(trailers: unknown): unknown;
  onError(error: unknown): unknown;
  onBodySent?(chunk: unknown): unknown;
  onRequestSent?(): unknown;
  onResponseStarted?(): unknown;
}

/** The record itself: an object of its own for that would be one too many. */
class Watch extends CallRecord implements Handler {
  good = false;
  abort: ((reason?: unknown) => void) | undefined = undefined;
  constructor(readonly handler: Handler) {
    super();
  }

  onConnect(abort: (reason?: unknown) => void, context?: unknown): unknown {
    this.abort = abort;
    // Its caller may give it up, with any error: what then comes to `onError` looks like one of the target.
    return this.handler.onConnect(leave.bind(this), context);
  }
  onHeaders(status: number, headers: unknown, resume: unknown, statusText: string): unknown {
    this.good = status < 500;
    return this.handler.onHeaders(status, headers, resume, statusText);
  }
  onData(chunk: unknown): unknown {
    return this.handler.onData(chunk);
  }
  onComplete(trailers: unknown): unknown {
    end(this, this.good);
    return this.handler.onComplete(trailers);
  }
  onError(error: unknown): unknown {
    end(this, false);
    return this.handler.onError(error);
  }
  onBodySent(chunk: unknown): unknown {
    return this.handler.onBodySent?.(chunk);
  }
  onRequestSent(): unknown {
    return this.handler.onRequestSent?.();
  }
  onResponseStarted(): unknown {
    return this.handler.onResponseStarted?.();
  }
}

/** No outcome: its caller had its own reasons. */
function leave(this: Watch, reason?: unknown): void {
  this.settled = true;
  this.abort?.(reason);
}

function floorOfDispatchers(prototype: object): void {
  let owner = prototype;
  while (!Object.hasOwn(owner, 'dispatch')) owner = Object.getPrototypeOf(owner) as object;
  around(
    owner,
    'dispatch',
    (dispatch) =>
      function (this: Recorded, options: never, handler: Watch | Handler) {
        return dispatch.call(this, options, (handler instanceof Watch ? handler : new Watch(handler)) as never);
      },
  );
}
