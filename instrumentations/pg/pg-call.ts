import type { Verdict } from '../../src/breaker/verdict.js';
import { isLostConnection, verdictOfPgError } from '../../src/outcomes/postgresql.js';
import type { Target } from '../../src/target.js';
import type { Attachment } from '../attachment.js';
import { ClientCall } from '../client-call.js';
import { restartOf } from '../restart-episodes.js';
import type { Address } from './pg-target.js';
import { textOf } from './statement.js';

/** What tells of the end of a client's calls. */
interface Client extends Address {
  readonly connection: { readonly stream?: { readonly readableEnded?: boolean } };
  readonly _connectionTimeoutMillis?: number;
}

/** What a client's statements share. */
interface Session {
  readonly client: Client;
  readonly target: Target;
}

/** A checkout from a pool, or a connection: what comes before the first statement, which takes it over. */
export class ConnectionCall extends ClientCall {
  constructor(
    attachment: Attachment,
    private readonly name: 'pg.connect' | 'pg-pool.connect',
  ) {
    super(attachment);
  }

  /** Whether it is made for a checkout. */
  get isOfPool(): boolean {
    return this.name === 'pg-pool.connect';
  }

  override spanName(): string {
    return this.name;
  }

  /** The connection could not be made. */
  onFailed(client: Client, error: unknown): void {
    if (isOutOfPatience(client, error)) this.end('timeout', error);
    else this.fail(error);
  }

  /** The connection was there, and was lost before a statement came. */
  onLost(session: object, error: unknown): void {
    if (this.isOver) return;
    this.end(verdictOnConnection(this.permit.breaker, session, error), error);
  }

  protected override verdictOf(error: unknown): Verdict {
    return verdictOfPgError(error, true);
  }
}

/** One statement, from its query to its end. */
export class StatementCall extends ClientCall {
  /** Whether pg has made a query of it, which tells how it ends. */
  isWatched = false;

  constructor(
    attachment: Attachment,
    readonly session: Session,
    private readonly statement: unknown,
  ) {
    super(attachment);
  }

  /** As OpenTelemetry's instrumentation names it: `pg.query:SELECT orders`. */
  override spanName(): string {
    const { database } = this.session.target;
    return ['pg.query', this.command].filter(Boolean).join(':') + (database === undefined ? '' : ` ${database}`);
  }

  get command(): string | undefined {
    return /^\s*(\w+)/.exec(String(textOf(this.statement)))?.[1]?.toUpperCase();
  }

  onError(error: unknown): void {
    if (isOwnEnd(error)) this.abandon(error);
    else this.fail(error);
  }

  protected override verdictOf(error: unknown): Verdict {
    return verdictOnConnection(this.permit.breaker, this.session, error);
  }
}

/** A restart of the server ends all its connections, and is one failure of it. */
function verdictOnConnection(target: object, session: object, error: unknown): Verdict {
  return isLostConnection(error) && restartOf(target, session, true) === 'further'
    ? 'ignored'
    : verdictOfPgError(error);
}

/** The application ended the client, and what was under way with it. */
function isOwnEnd(error: unknown): boolean {
  return (error as Partial<Error> | undefined)?.message === 'Connection terminated';
}

/** A pool whose patience ends just destroys the socket: no end came from the server, and no error. */
function isOutOfPatience({ _connectionTimeoutMillis, connection }: Client, error: unknown): boolean {
  return (
    Boolean(_connectionTimeoutMillis) &&
    (error as Partial<Error> | undefined)?.message === 'Connection terminated unexpectedly' &&
    connection.stream?.readableEnded === false
  );
}
