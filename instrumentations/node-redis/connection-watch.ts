import { verdictOfNodeRedisConnection } from '../../src/outcomes/redis.js';
import type { Attachment } from '../attachment.js';
import type { Client } from './client.js';
import { connectionOf } from './connection.js';
import type { Gate } from './gate.js';

/**
 * A client of node-redis tells of its connection by events, which its own `emit` sees without being a listener. It connects
 * and reconnects by itself: that it cannot is evidence.
 */
export function onClientEvent(
  attachment: Attachment,
  gate: Gate,
  client: Client,
  event: unknown,
  error: unknown,
): void {
  if (event === 'ready') return gate.onReady(client);
  if (event !== 'error') return;
  const connection = connectionOf(client);
  // An error of a connection that is still there; or one that was told before, as version 5 does.
  if (client.isReady || error === connection.lastError) return;
  const wasReady = connection.isReady;
  connection.isReady = connection.inMulti = false;
  connection.lastError = error;
  const verdict = verdictOfNodeRedisConnection(error);
  // The loss of a connection that was there: what becomes of the attempts to have another one will tell.
  if (connection.internal || verdict === 'ignored' || (wasReady && verdict !== 'timeout')) return;
  attachment.evidence(connection.target).settle(verdict, error);
  gate.rejectWaiting(client);
}
