import type { Verdict } from '../../src/breaker/verdict.js';
import { isLostMysqlConnection, verdictOfMysqlError } from '../../src/outcomes/mysql.js';
import type { Attachment } from '../attachment.js';
import { ClientCall } from '../client-call.js';
import { noteAnswer, restartOf } from '../restart-episodes.js';
import { textOf, type Command, type Connection } from './connection.js';

/** A checkout of a pool, until the connection that is made for it takes it over. */
export class CheckoutCall extends ClientCall {
  override spanName(): string {
    return 'mysql.connect';
  }

  protected override verdictOf(): Verdict {
    return 'ignored';
  }
}

/** The making of a connection: what comes before the first statement, which takes it over. */
export class ConnectionCall extends ClientCall {
  constructor(
    attachment: Attachment,
    private readonly connection: Connection,
  ) {
    super(attachment);
  }

  override spanName(): string {
    return 'mysql.connect';
  }

  protected override verdictOf(error: unknown): Verdict {
    return verdictOnConnection(this.permit.breaker, this.connection, error);
  }
}

/** One statement: a query, the making of a prepared statement, its execution, or both together. */
export class StatementCall extends ClientCall {
  constructor(
    attachment: Attachment,
    private readonly connection: Connection,
    private readonly command: Command,
  ) {
    super(attachment);
  }

  /** As OpenTelemetry's instrumentation names it: `SELECT`. */
  override spanName(): string {
    const text = textOf(this.command);
    return typeof text === 'string' ? text.split(' ', 1)[0]! : this.command.constructor.name;
  }

  /** The server has answered to the end. */
  onAnswered(): void {
    this.succeed();
    noteAnswer(this.connection);
  }

  protected override verdictOf(error: unknown): Verdict {
    return verdictOnConnection(this.permit.breaker, this.connection, error);
  }
}

/** A restart of the server ends all its connections, and is one failure of it. */
function verdictOnConnection(target: object, connection: Connection, error: unknown): Verdict {
  if (!connection.authorized) return verdictOfMysqlError(error, true);
  return isLostMysqlConnection(error) && restartOf(target, connection, true) === 'further'
    ? 'ignored'
    : verdictOfMysqlError(error);
}
