/**
 * The least that a breaker can do around a call: a record that is found again at its end, two looks at the clock, a count.
 * Patched in where otel-breaker is, without anything that makes it right.
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

export const counts = { calls: 0, ms: 0 };

function end(record: CallRecord | undefined): void {
  if (record === undefined || record.settled) return;
  record.settled = true;
  counts.calls++;
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
        function (this: Recorded & { req?: Recorded }, chunk: unknown, encoding: never) {
          if (chunk === null) end(this.req?.[RECORD]);
          return push.call(this, chunk as never, encoding);
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
          end(this[RECORD]);
          return handleReadyForQuery.call(this, connection);
        },
    );
  },
  ioredis: () => {
    const { Redis } = require('ioredis') as typeof import('ioredis');
    around(
      Redis.prototype,
      'sendCommand',
      (sendCommand) =>
        function (this: Recorded, command: { resolve: (value: unknown) => unknown }, stream: never) {
          const record = new CallRecord();
          const { resolve } = command;
          command.resolve = (value) => {
            end(record);
            return resolve.call(command, value);
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
  onConnect(abort: unknown, context?: unknown): unknown;
  onHeaders(status: number, headers: unknown, resume: unknown, statusText: string): unknown;
  onData(chunk: unknown): unknown;
  onComplete(trailers: unknown): unknown;
  onError(error: unknown): unknown;
  onBodySent?(chunk: unknown): unknown;
  onRequestSent?(): unknown;
  onResponseStarted?(): unknown;
}

class Watch implements Handler {
  readonly record = new CallRecord();
  constructor(readonly handler: Handler) {}

  onConnect(abort: unknown, context?: unknown): unknown {
    return this.handler.onConnect(abort, context);
  }
  onHeaders(status: number, headers: unknown, resume: unknown, statusText: string): unknown {
    return this.handler.onHeaders(status, headers, resume, statusText);
  }
  onData(chunk: unknown): unknown {
    return this.handler.onData(chunk);
  }
  onComplete(trailers: unknown): unknown {
    end(this.record);
    return this.handler.onComplete(trailers);
  }
  onError(error: unknown): unknown {
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
