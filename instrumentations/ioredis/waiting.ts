import { withoutStack } from '../../src/breaker/errors.js';
import type { CircuitOpenError } from '../../src/guard/guard.js';
import type { Attachment } from '../attachment.js';
import type { Client, CommandQueue } from './client.js';
import { kindOf } from './command.js';
import { connectionOf } from './connection.js';
import { callOf } from './redis-call.js';

/**
 * Whether the commands of a client without a connection may wait for one, whatever the circuit says: the client would still
 * answer them by itself. That ends with the client's own patience, `maxRetriesPerRequest`; a rule may end it earlier.
 */
export function mayWait(attachment: Attachment, client: Client): boolean {
  const { gaveUpWith, target } = connectionOf(client);
  return gaveUpWith === undefined && client.options.enableOfflineQueue !== false && attachment.letsWait(target);
}

/**
 * What a command of a client without a connection is rejected with. A client that has given up has an error of its own for
 * that, which its callers know; ours is the cause of it.
 */
export function errorFor(client: Client, rejection: CircuitOpenError): Error {
  const { gaveUpWith } = connectionOf(client);
  if (gaveUpWith === undefined) return rejection;
  const MaxRetriesPerRequestError = gaveUpWith.constructor as new (limit: unknown) => Error;
  const error = withoutStack(() => new MaxRetriesPerRequestError(client.options.maxRetriesPerRequest));
  return Object.defineProperty(error, 'cause', { value: rejection, configurable: true, writable: true });
}

/** The circuit is open and no connection could be made: whoever waits for one gets the reason now. */
export function rejectWaiting(client: Client, rejection: CircuitOpenError): void {
  // Made before any command is taken out: one that is out must end. One for all of them, as the client's own is.
  const error = errorFor(client, rejection);
  for (const queue of queuesOf(client)) {
    for (let left = queue.length; left > 0; left--) {
      const item = queue.shift()!;
      // What never was a call stays; so does a MULTI, since what follows it would be executed without it.
      const call = callOf(item.command);
      if (call === undefined || kindOf(item.command) === 'multi') {
        queue.push(item);
      } else {
        call.refuse(rejection);
        item.command.reject(error);
      }
    }
  }
}

/** The application has given up what waits for a connection: its calls have no outcome, or they would be under way for ever. */
export function forgoWaiting(client: Client): void {
  for (const queue of queuesOf(client)) {
    for (let index = 0; index < queue.length; index++) {
      const call = callOf(queue.peekAt(index)!.command);
      call?.giveBackReject();
      call?.forgo();
    }
  }
}

function queuesOf({ offlineQueue, commandQueue, prevCommandQueue }: Client): CommandQueue[] {
  return [offlineQueue, commandQueue, prevCommandQueue].filter((queue) => queue !== undefined && queue !== null);
}
