import { withoutStack } from '../../src/breaker/errors.js';
import type { CircuitOpenError } from '../../src/guard/guard.js';
import type { Target } from '../../src/target.js';
import { hiddenProperty } from '../hidden-property.js';

export type Callback = (error?: unknown, ...results: unknown[]) => unknown;

/** What nodemailer makes its connections by. */
export interface Options {
  readonly host?: string;
  readonly port?: number | string;
  readonly secure?: boolean;
  /** It is there already: where it leads to, nobody says. */
  readonly connection?: unknown;
}

/** A message on its way through nodemailer. */
export type Mail = object;

/** An `SMTPTransport` or an `SMTPPool` of nodemailer 6 to 10, with what its types do not say. */
export interface Transport {
  readonly options: Options;
  send(mail: Mail, callback: Callback): unknown;
  verify(callback?: Callback): unknown;
  /** Of a pool. */
  readonly _closed?: boolean;
  readonly _rateLimit?: { counter: number };
}

/** One connection of a pool, and what it is to send next. */
export interface PoolResource {
  readonly pool: Transport;
  available: boolean;
  send(mail: Mail, callback: Callback): unknown;
  emit(event: string, ...args: unknown[]): boolean;
}

export interface Connection {
  readonly options: Options;
  /** Where a transport of version 10 has made it. */
  readonly _connectStartedAt?: number;
  connect(callback?: Callback): unknown;
  send(envelope: unknown, message: unknown, done: Callback): unknown;
  emit(event: string | symbol, ...args: unknown[]): boolean;
  _onError(error: Error, type: string, data: false, command: string): unknown;
}

const targets = hiddenProperty<Target>();

/** Where a connection with such options leads to; a proxy on the way is a tunnel. */
export function targetOf(options: Options): Target {
  let target = targets.get(options);
  if (target === undefined) targets.set(options, (target = toTarget(options)));
  return target;
}

function toTarget({ host, port, secure }: Options): Target {
  const system = 'smtp';
  return {
    system,
    scheme: system,
    host: (host || 'localhost').toLowerCase(),
    port: Number(port) || (secure ? 465 : 587),
  };
}

const owned = hiddenProperty<true>();

/** A transport makes its connections with its own options: their calls are the ones of the transport. */
export function own({ options }: Transport): void {
  owned.set(options, true);
}

/** Whether a connection is no transport's, and made by itself. */
export function isOnItsOwn({ options, _connectStartedAt }: Connection): boolean {
  return !options.connection && _connectStartedAt === undefined && owned.get(options) !== true;
}

/** What callers of nodemailer get when a connection cannot be made. */
export function errorFor(rejection: CircuitOpenError): Error {
  const error = withoutStack(() => new Error(rejection.message, { cause: rejection }));
  return Object.assign(error, { code: 'ECONNECTION', command: 'CONN' });
}
