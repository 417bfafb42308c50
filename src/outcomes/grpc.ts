// What a status of gRPC says of its target.
import { withoutStack } from '../breaker/errors.js';
import { read, readText } from '../breaker/values.js';
import type { Verdict } from '../breaker/verdict.js';
import { meaningOfCode } from './network-codes.js';

/** How a call of gRPC ended, as the server or the client itself has it. */
export interface GrpcStatus {
  readonly code: number;
  readonly details: string;
  readonly metadata?: unknown;
}

export const OK = 0;
export const CANCELLED = 1;
export const DEADLINE_EXCEEDED = 4;
export const FAILED_PRECONDITION = 9;
export const UNAVAILABLE = 14;

/** The codes of gRPC by their numbers, and what each says. All but these few are answers of a server that is well. */
const CODES: readonly (readonly [name: string, verdict: Verdict])[] = [
  ['OK', 'success'],
  ['CANCELLED', 'ignored'],
  ['UNKNOWN', 'failure'],
  ['INVALID_ARGUMENT', 'success'],
  ['DEADLINE_EXCEEDED', 'timeout'],
  ['NOT_FOUND', 'success'],
  ['ALREADY_EXISTS', 'success'],
  ['PERMISSION_DENIED', 'ignored'],
  ['RESOURCE_EXHAUSTED', 'ignored'],
  ['FAILED_PRECONDITION', 'success'],
  ['ABORTED', 'ignored'],
  ['OUT_OF_RANGE', 'success'],
  ['UNIMPLEMENTED', 'success'],
  ['INTERNAL', 'failure'],
  ['UNAVAILABLE', 'failure'],
  ['DATA_LOSS', 'failure'],
  ['UNAUTHENTICATED', 'ignored'],
];

/** The number of a code by its name; -1 where there is no such code. */
export function grpcCodeOf(name: string): number {
  return CODES.findIndex(([known]) => known === name);
}

// What the client says in the place of a server, of calls that it has not made: wrong input, credentials that could not be
// had, a channel that the application closed. A refused stream was not begun, and is tried again.
const NOT_MADE =
  /^(Request message serialization failure: |"authorization" metadata |Getting metadata from plugin failed |Channel closed before call started$|Stream refused by server$)/;
const UNREACHED = /^(No connection established|Name resolution failed for target |Failed to connect to )/;
// The message of a socket's error stands for itself.
const LOST = /^(Connection dropped$|(read|write) E[A-Z]+$)/;
const GIVEN_UP: ReadonlySet<string> = new Set(['Cancelled on client', 'Cancelled by parent call']);

/** What the status of a call says of its server. */
export function verdictOfGrpcStatus({ code, details }: GrpcStatus): Verdict {
  const verdict = CODES[code]?.[1] ?? 'failure';
  return verdict === 'failure' && (NOT_MADE.test(details) || isOwnTrouble(details)) ? 'ignored' : verdict;
}

/** Whether our own machine could not connect: an error of the system is within the text alone. */
function isOwnTrouble(details: string): boolean {
  const code = UNREACHED.test(details) ? /\bE[A-Z]{4,}\b/.exec(details)?.[0] : undefined;
  return code !== undefined && meaningOfCode({ code }) === 'own_trouble';
}

/** Whether it was the caller that ended the call. */
export function isGivenUp({ code, details }: GrpcStatus): boolean {
  return code === CANCELLED && GIVEN_UP.has(details);
}

/** Whether a status stands for a connection that could not be made, or for the loss of one: an event that many calls see. */
export function isAboutConnection({ code, details }: GrpcStatus): 'unreached' | 'lost' | undefined {
  if (code !== UNAVAILABLE) return undefined;
  if (UNREACHED.test(details)) return 'unreached';
  return LOST.test(details) ? 'lost' : undefined;
}

/** What the error of a client of gRPC says; `undefined` where it is none: those have a status with a number. */
export function verdictOfGrpcError(error: object): Verdict | undefined {
  const code = read(error, 'code');
  const isOurs = typeof code === 'number' && typeof read(error, 'details') === 'string' && CODES[code] !== undefined;
  return isOurs && 'metadata' in error ? verdictOfGrpcStatus({ code, details: readText(error, 'details') }) : undefined;
}

/** The error that stands for a status, as the caller gets it. */
export function errorOfGrpcStatus({ code, details, metadata }: GrpcStatus): Error {
  const message = `${code} ${CODES[code]?.[0] ?? 'UNKNOWN'}: ${details}`;
  return withoutStack(() => Object.assign(new Error(message), { code, details, metadata }));
}
