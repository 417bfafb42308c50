import { commandKinds, hasBlockOption, type LongKind } from '../redis-commands.js';

/** A command of ioredis 5 or 6, with what its types do not say. */
export interface Command {
  readonly name: string;
  readonly args: readonly unknown[];
  readonly promise: Promise<unknown>;
  readonly inTransaction: boolean;
  resolve: (value: unknown) => unknown;
  reject: (error: Error) => void;
  /** What `resolve` asks to make of the reply what its caller gets. */
  transformReply: (reply: unknown) => unknown;
  /** Set once a blocking command has a client-side limit, and stays. */
  readonly _blockingDeadline?: number;
  /** The timer of that limit; gone by the time it resolves the command. */
  readonly _blockingTimeoutTimer?: unknown;
}

export type CommandConstructor = new (name: string, args: readonly unknown[], options: object) => Command;

export interface QueuedCommand {
  readonly command: Command;
}

/** A pipeline, and a MULTI that is sent as one. */
export interface Pipeline {
  resolve: (results: [Error | null, unknown?][]) => void;
  reject: (error: Error) => void;
  sendCommand(command: Command): unknown;
}

/** What there is to know of a command before it is sent; of most, nothing. */
export type CommandKind =
  /** Belongs to the connection rather than to a caller: always passes. */
  | 'connection'
  /**
   * What the server is. It passes while the connection is not ready: ioredis asks for it to learn whether it is. Later it is
   * counted, and never rejected: queues such as BullMQ ask once for each connection, and with no answer they never recover.
   */
  | 'server-info'
  /** The same with the arguments that keep the session's field sets. */
  | 'field-set'
  | 'sentinel'
  | 'subscribe'
  /** What follows it, up to an EXEC, is a transaction. */
  | 'watch'
  | 'unwatch'
  | 'multi'
  /** Ends a MULTI, and what is watched. */
  | 'end-of-multi'
  | LongKind;

const KINDS = commandKinds<Exclude<CommandKind, LongKind>>({
  connection:
    'auth hello select client readonly readwrite asking quit monitor cluster role command ' +
    'psubscribe ssubscribe unsubscribe punsubscribe sunsubscribe',
  subscribe: 'subscribe',
  sentinel: 'sentinel',
  'server-info': 'info',
  'field-set': 'himport',
  watch: 'watch',
  unwatch: 'unwatch',
  multi: 'multi',
  'end-of-multi': 'exec discard reset',
});

const ORDINARY = '';
// As their callers write them: `redis.call('GET')` keeps the case. A program has few names, strangers could bring many.
const KINDS_AS_WRITTEN = new Map<string, CommandKind | typeof ORDINARY>();
const MAX_NAMES = 1_000;

export function kindOf({ name }: Command): CommandKind | undefined {
  const known = KINDS_AS_WRITTEN.get(name);
  if (known !== undefined) return known === ORDINARY ? undefined : known;
  const found = KINDS.get(name.toLowerCase());
  if (KINDS_AS_WRITTEN.size < MAX_NAMES) KINDS_AS_WRITTEN.set(name, found ?? ORDINARY);
  return found;
}

/** Whether a command takes long by design; inside a transaction none does. */
export function isBlocking(command: Command, kind = kindOf(command)): boolean {
  if (kind !== 'blocking' && kind !== 'block-option') return false;
  return !command.inTransaction && (kind === 'blocking' || hasBlockOption(command.args));
}

/** Whether a sentinel is asked for something; what it then is, no ordinary call goes to. */
export function asksSentinel({ args }: Command, kind: CommandKind): boolean {
  return kind === 'sentinel' || (kind === 'subscribe' && args[0] === '+switch-master');
}

/** Whether the command keeps the field sets of a session, as ioredis does when it connects. */
export function keepsFieldSets({ args }: Command): boolean {
  return String(args[0]).toUpperCase() !== 'SET';
}

/** Whether a blocking command has just resolved by the client's own limit, without a word from the server. */
export function ranIntoOwnLimit(command: Command, value: unknown): boolean {
  return value === null && command._blockingDeadline !== undefined && command._blockingTimeoutTimer === undefined;
}
