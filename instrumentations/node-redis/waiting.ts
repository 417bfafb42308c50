import { withoutStack } from '../../src/breaker/errors.js';
import type { CircuitOpenError } from '../../src/guard/guard.js';
import type { Attachment } from '../attachment.js';
import type { Client, CommandsQueue, ListNode, QueuedCommand, WaitingList } from './client.js';
import { connectionOf } from './connection.js';
import { calls } from './node-redis-call.js';

/**
 * Whether a command of a client without a connection may wait for one, whatever the circuit says: the client would still
 * answer it by itself. That ends when a command that was as patient has waited in vain; a rule may end it earlier.
 *
 * @param patienceMs for how long the command may wait; `undefined` for ever
 */
export function mayWait(attachment: Attachment, client: Client, patienceMs: number | undefined): boolean {
  if (client.options?.disableOfflineQueue === true) return false;
  const { target, gaveUpAfterMs } = connectionOf(client);
  return gaveUpAfterMs < (patienceMs || Infinity) && attachment.letsWait(target);
}

/**
 * What a command of a client without a connection is rejected with. A client that has given up has an error of its own for
 * that, which its callers know; ours is the cause of it.
 */
export function errorFor(client: Client, rejection: CircuitOpenError): Error {
  const { gaveUpWith, isReady } = connectionOf(client);
  if (gaveUpWith === undefined || isReady) return rejection;
  const TimeoutError = gaveUpWith.constructor as new (message: string, options: ErrorOptions) => Error;
  return withoutStack(() => new TimeoutError(rejection.message, { cause: rejection }));
}

/** The circuit is open and no connection could be made: whoever waits for one in vain gets the reason now. */
export function rejectWaiting(attachment: Attachment, client: Client, rejection: CircuitOpenError): void {
  const { target, gaveUpAfterMs } = connectionOf(client);
  if (gaveUpAfterMs === 0 && attachment.letsWait(target)) return;
  const queue = client._getQueue();
  // Made before any command is taken out: one that is out must end, or go back. One for all of them.
  const error = errorFor(client, rejection);
  const waitsInVain = (command: QueuedCommand) => {
    const call = calls.get(command);
    return call !== undefined && !call.staysQueued && !mayWait(attachment, client, call.patienceMs);
  };
  if (!canGiveBack(queue)) {
    const rejected = takeOut(connectionOf(client).waiting, waitsInVain);
    for (const command of rejected) {
      calls.get(command)?.refuse(rejection);
      command.reject(error);
    }
    return;
  }
  const all = queue.extractAllCommands();
  let rejected: readonly QueuedCommand[] = [];
  try {
    rejected = all.filter(waitsInVain);
  } finally {
    queue.prependCommandsToWrite(all.filter((command) => !rejected.includes(command)));
  }
  for (const command of rejected) calls.get(command)?.refuse(rejection);
  queue.rejectCommands(rejected, error);
}

/**
 * Takes commands out of the list of version 5, whose queue has no way to: its `extractAllCommands` leaves a list behind in which
 * later commands are lost.
 */
function takeOut(list: WaitingList | undefined, isWanted: (command: QueuedCommand) => boolean): QueuedCommand[] {
  if (list?.remove === undefined) return [];
  const nodes: ListNode[] = [];
  for (let node = list.head; node !== undefined; node = node.next) if (isWanted(node.value)) nodes.push(node);
  // From its end on: what follows a first one that is removed would go on pointing to that, and so would the list in the end.
  for (const node of nodes.reverse()) {
    list.remove(node);
    if (list.head !== undefined) list.head.previous = undefined;
    for (const watched of [node.value.abort, node.value.timeout]) {
      watched?.signal.removeEventListener('abort', watched.listener);
    }
  }
  return nodes.reverse().map(({ value }) => value);
}

function canGiveBack(queue: CommandsQueue): queue is Required<CommandsQueue> {
  return 'extractAllCommands' in queue && 'rejectCommands' in queue && 'prependCommandsToWrite' in queue;
}
