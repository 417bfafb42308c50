import type { BreakerConfig } from '../breaker/config.js';
import type { Permit } from '../breaker/permit.js';
import type { Verdict } from '../breaker/verdict.js';
import {
  errorOfGrpcStatus,
  grpcCodeOf,
  isGivenUp,
  OK,
  verdictOfGrpcStatus,
  type GrpcStatus,
} from '../outcomes/grpc.js';
import { statusError, verdictOfStatus } from '../outcomes/http.js';
import { isAbort, isTimeout } from '../outcomes/timeouts.js';
import { verdictOfPgError } from '../outcomes/postgresql.js';
import { knownVerdictOfRedisError } from '../outcomes/redis.js';
import { classify } from '../outcomes/classify.js';
import type { System } from '../target.js';
import type { Span } from './span.js';

/** How a recorded call ended, as far as its span tells. Calls that ended in the same way share it. */
export type Ending =
  | { readonly kind: 'success' }
  /** By an answer of HTTP, of which the rules say what it means. */
  | { readonly kind: 'status'; readonly status: number; readonly retryAfterMs: number | undefined }
  | { readonly kind: 'grpc'; readonly status: GrpcStatus }
  | { readonly kind: 'error'; readonly error: RecordedError; readonly system: System }
  /** Its caller gave it up. */
  | { readonly kind: 'abandoned'; readonly error: RecordedError | undefined };

/** An error as a span has it, in the shape of the one that it was. */
export class RecordedError extends Error {
  constructor(
    override readonly name: string,
    message: string,
    readonly code: string | undefined,
    readonly syscall: string | undefined,
  ) {
    super(message);
  }
}

const SUCCESS: Ending = { kind: 'success' };
// Errors come in few kinds. Beyond so many, one more has lost its message.
const MAX_ENDINGS = 20_000;

/** All ways in which the calls of a recording ended: each is kept once, and known by a number. */
export class Endings {
  readonly #all: Ending[] = [SUCCESS];
  readonly #numbers = new Map<string, number>();

  at(number: number): Ending {
    return this.#all[number]!;
  }

  /** @returns the number of the way in which a call ended */
  of(span: Span, system: System): number {
    const grpc = system === 'grpc' ? grpcStatusOf(span) : undefined;
    if (grpc !== undefined) return grpc === OK ? 0 : this.#ofGrpc({ code: grpc, details: this.#room(detailsOf(span)) });
    const status = system === 'http' ? statusOf(span) : undefined;
    const error = errorOf(span, status);
    if (error === undefined) {
      if (status === undefined) return system === 'http' ? this.#number('abandoned', () => ABANDONED) : 0;
      const retryAfterMs = askedWait(span);
      return this.#number(`${status} ${retryAfterMs}`, () => ({ kind: 'status', status, retryAfterMs }));
    }
    const { name, code = '', syscall = '' } = error;
    const message = this.#room(error.message);
    return this.#number(`${system} ${name} ${code} ${syscall} ${message}`, () =>
      isAbort(error) ? { kind: 'abandoned', error } : { kind: 'error', error, system },
    );
  }

  #ofGrpc(status: GrpcStatus): number {
    return this.#number(`grpc ${status.code} ${status.details}`, () => ({ kind: 'grpc', status }));
  }

  /** A message may hold an address or a number that no other has. */
  #room(message: string): string {
    return this.#all.length < MAX_ENDINGS ? message : '';
  }

  #number(key: string, make: () => Ending): number {
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#all.push(make()) - 1;
      this.#numbers.set(key, number);
    }
    return number;
  }
}

const ABANDONED: Ending = { kind: 'abandoned', error: undefined };

/** What an ending says of its target under such options: that of a call that nobody rejected. */
export function verdictOf(ending: Ending, config: BreakerConfig): Verdict {
  switch (ending.kind) {
    case 'success':
      return 'success';
    case 'abandoned':
      return 'ignored';
    case 'status':
      return verdictOfStatus(config, ending.status);
    case 'grpc':
      return counted(verdictOfGrpcStatus(ending.status), config);
    case 'error':
      return counted(verdictOfError(ending.error, ending.system, config), config);
  }
}

function counted(verdict: Verdict, { countTimeouts }: BreakerConfig): Verdict {
  return verdict === 'timeout' && !countTimeouts ? 'ignored' : verdict;
}

/** Settles the permit of a replayed call as its instrumentation would have. */
export function settle(permit: Permit, ending: Ending): void {
  const { config } = permit.breaker;
  switch (ending.kind) {
    case 'success':
      return permit.success();
    case 'abandoned':
      return permit.abandon(ending.error);
    case 'status': {
      const { status, retryAfterMs } = ending;
      if (config.honorRetryAfter && retryAfterMs !== undefined && (status === 429 || status === 503)) {
        return permit.failure(statusError(status), retryAfterMs);
      }
      return permit.settle(verdictOfStatus(config, status), statusError(status));
    }
    case 'grpc': {
      const error = errorOfGrpcStatus(ending.status);
      return isGivenUp(ending.status)
        ? permit.abandon(error)
        : permit.settle(verdictOfGrpcStatus(ending.status), error);
    }
    case 'error':
      return permit.settle(verdictOfError(ending.error, ending.system, config), ending.error);
  }
}

function verdictOfError(error: RecordedError, system: System, config: BreakerConfig): Verdict {
  if (system === 'redis') return knownVerdictOfRedisError(error) ?? classify(error, config);
  if (system === 'postgresql') {
    const said = verdictOfPgError(error);
    // What is no trouble of a connection came as an answer, whose SQLSTATE the span has left out.
    return said === 'ignored' && error.code === undefined && !isTimeout(error) ? 'success' : said;
  }
  return system === 'http' && TIMEOUT_WORDS.test(error.message) ? 'timeout' : classify(error, config);
}

// Clients of HTTP end a request that took too long by an error of their own words.
const TIMEOUT_WORDS = /\btime(?:d )?-?out\b/i;

function statusOf({ attributes }: Span): number | undefined {
  const status = Number(attributes['http.response.status_code'] ?? attributes['http.status_code']);
  return Number.isInteger(status) && status >= 100 && status <= 599 ? status : undefined;
}

/** By its number, or by its name as the conventions of today have it. */
function grpcStatusOf({ attributes }: Span): number | undefined {
  const said = attributes['rpc.grpc.status_code'] ?? attributes['rpc.response.status_code'];
  const code = typeof said === 'string' && !/^\d+$/.test(said) ? grpcCodeOf(said) : Number(said);
  return Number.isInteger(code) && code >= 0 ? code : undefined;
}

function detailsOf({ attributes, failure }: Span): string {
  return (text(attributes['grpc.error_message']) || failure).replace(/^\d+ [A-Z_]+: /, '');
}

/** The error that a call ended with; `undefined` where an answer says it all. */
function errorOf(span: Span, status: number | undefined): RecordedError | undefined {
  const exception = span.events.findLast(({ name }) => name === 'exception')?.attributes;
  const type = text(exception?.['exception.type']) || text(span.attributes['error.type']);
  if (exception === undefined && !span.failed && type === '') return undefined;
  const said = text(exception?.['exception.message']);
  // OpenTelemetry's pg writes this in place of the message, which the status has.
  const message =
    (SANITIZED.test(said) ? span.failure : said) || text(span.attributes['http.error_message']) || span.failure;
  // Of an answer with a bad status, conventions make an error as well: its type is the status.
  if (exception === undefined && status !== undefined && (status >= 400 || message === '')) return undefined;
  const [syscall, code] = SYSTEM_ERROR.exec(message)?.slice(1) ?? [];
  const sanitized = SANITIZED.exec(said)?.[1];
  const known = [type, sanitized ?? ''].find((one) => CODE.test(one)) ?? code ?? codeInWords(message);
  const name = CODE.test(type) || type === '' ? text(span.attributes['http.error_name']) || 'Error' : type;
  return new RecordedError(name, message, known, syscall);
}

const SANITIZED = /^PostgreSQL error of type .* occurred \(code: (\w+)\)$/;

// "connect ECONNREFUSED 127.0.0.1:80", "getaddrinfo ENOTFOUND api.example.com", as Node says it.
const SYSTEM_ERROR = /\b(connect|read|write|getaddrinfo|bind) (E[A-Z_]{2,})\b/;
// Of Node, undici and PostgreSQL, rather than the name of a class.
const CODE = /^(?:[A-Z][A-Z\d]*_[A-Z\d_]+|E[A-Z]{3,}|\d[\dA-Z]{4}|[A-Z]\d[\dA-Z]{3}|[A-Z]{2}\d{3})$/;

/** What servers and clients say whose codes instrumentations leave out. */
const CODES: readonly (readonly [words: RegExp, code: string])[] = [
  [/^socket hang up$/, 'ECONNRESET'],
  [/^the database system is (?:shutting down|starting up|in recovery mode|not (?:yet )?accepting)/, '57P03'],
  [/^terminating connection due to administrator command/, '57P01'],
  [/^terminating connection because of crash/, '57P02'],
  [/^(?:sorry, too many clients already|remaining connection slots are reserved|too many connections)/, '53300'],
  [/^canceling statement due to/, '57014'],
  [/^out of (?:shared )?memory/, '53200'],
];

function codeInWords(message: string): string | undefined {
  return CODES.find(([words]) => words.test(message))?.[1];
}

/** How long an answer asked to be left alone, where the span has that header. */
function askedWait({ attributes }: Span): number | undefined {
  const header = attributes['http.response.header.retry-after'];
  const seconds = Number(Array.isArray(header) ? header[0] : header);
  return seconds > 0 ? seconds * 1_000 : undefined;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
