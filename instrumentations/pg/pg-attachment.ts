import type { Guard } from '../../src/guard/guard.js';
import { log } from '../../src/telemetry/log.js';
import { Attachment } from '../attachment.js';
import type { Patches } from '../patches.js';
import { isClientClass, patchClient } from './client.js';
import type { Address } from './pg-target.js';
import { isPoolClass, patchPool, type Pool } from './pool.js';

type ConnectionParameters = new (options: object) => Address;

/**
 * Guards `pg` and `pg-pool`, and with them everything built on these: cursors and streams, query builders, ORMs.
 *
 * pg-native is left alone: its calls run in C, and their ends do not pass where ours are seen.
 */
export class PgAttachment extends Attachment {
  static readonly client = 'pg';

  constructor(guard: Guard) {
    super(PgAttachment.client, guard);
  }

  protected override patch(patches: Patches): void {
    const clients = new WeakSet<object>();
    let parameters: ConnectionParameters | undefined;

    /** What pg makes of a pool's options, connection strings and environment included. */
    function resolve({ options, Client }: Pool): Address | undefined {
      if (parameters === undefined || !isGuarded(Client.prototype)) return undefined;
      try {
        return new parameters(options);
      } catch {
        // pg will say what is wrong with them.
        return undefined;
      }
    }

    function isGuarded(prototype: object | null): boolean {
      return prototype !== null && (clients.has(prototype) || isGuarded(Object.getPrototypeOf(prototype) as object));
    }

    patches.onModule('/pg/lib/connection-parameters.js', (exports) => {
      if (typeof exports === 'function') parameters = exports as ConnectionParameters;
    });
    this.onEachCopy(
      patches,
      '/pg/lib/client.js',
      (exports) => (isClientClass(exports) ? exports : leaveAlone('pg')),
      (Client) => {
        clients.add(Client.prototype);
        patchClient(patches, Client, this);
      },
    );
    this.onEachCopy(
      patches,
      '/pg-pool/index.js',
      (exports) => (isPoolClass(exports) ? exports : leaveAlone('pg-pool')),
      (Pool) => patchPool(patches, Pool, this, resolve),
    );
  }
}

function leaveAlone(library: string): undefined {
  log.warn(`this version of ${library} is not built as otel-breaker knows it, its calls are not guarded`);
  return undefined;
}
