import type { CircuitOpenError } from '../src/guard/guard.js';
import type { Target } from '../src/target.js';
import type { Attachment } from './attachment.js';
import type { ClientCall, Entry } from './client-call.js';

/** What a client of SQL says of its sessions. Written once for each client, so that a statement makes no object of it. */
export interface Sessions<Session, Statement> {
  targetOf(session: Session): Target;
  /** As its server said last. */
  isInTransaction(session: Session): boolean;
  /** Whether the statement cleans up, or may belong to a transaction that a statement under way begins. */
  mustPass(session: Session, statement: Statement): boolean;
  /** Why a BEGIN was rejected whose caller cannot know yet. */
  refusedBegin(session: Session): CircuitOpenError | undefined;
}

const MUST: Entry = { must: true };
const MUST_AND_LONG: Entry = { must: true, longRunning: true };
const LONG: Entry = { longRunning: true };

/**
 * Asks for one statement. What belongs to an open transaction, or ends one, is counted and never rejected.
 *
 * @param isOpenEnded its rows are read one by one: its length is up to whoever reads them. As a probe it is as good as any
 * @returns why it must not be made; nothing where it goes ahead
 */
export function enterStatement<Session, Statement>(
  call: ClientCall,
  attachment: Attachment,
  sessions: Sessions<Session, Statement>,
  session: Session,
  statement: Statement,
  isOpenEnded: boolean,
): CircuitOpenError | undefined {
  const target = sessions.targetOf(session);
  const anyway = isOpenEnded ? MUST_AND_LONG : MUST;
  if (sessions.isInTransaction(session)) return call.enter(target, anyway);
  const closed = attachment.isClosed(target);
  if (!closed && sessions.mustPass(session, statement)) return call.enter(target, anyway);
  // Asked before there is a permit: a fault in the asking must not leave one behind.
  const refused = sessions.refusedBegin(session);
  const rejection = call.enter(target, isOpenEnded && closed ? LONG : undefined);
  // The slow-call rule opens a circuit at the very moment of asking.
  if (rejection !== undefined && closed && sessions.mustPass(session, statement)) return call.enter(target, anyway);
  if (refused === undefined) return rejection;
  // What follows a rejected BEGIN before its caller knows is rejected as well: with a slot free again just then, it would
  // run outside of any transaction, and for good.
  call.forgo();
  return rejection ?? refused;
}
