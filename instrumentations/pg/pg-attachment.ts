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
    const patched = new WeakSet<object>();
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
      return prototype !== null && (patched.has(prototype) || isGuarded(Object.getPrototypeOf(prototype) as object));
    }

    patches.onModule('/pg/lib/connection-parameters.js', (exports) => {
      if (typeof exports === 'function') parameters = exports as ConnectionParameters;
    });
    patches.onModule('/pg/lib/client.js', (exports) => {
      if (!isClientClass(exports)) return leaveAlone('pg');
      if (patched.has(exports.prototype)) return;
      patched.add(exports.prototype);
      patchClient(patches, exports, this);
    });
    patches.onModule('/pg-pool/index.js', (exports) => {
      if (!isPoolClass(exports)) return leaveAlone('pg-pool');
      if (patched.has(exports.prototype)) return;
      patched.add(exports.prototype);
      patchPool(patches, exports, this, resolve);
    });
  }
}

function leaveAlone(library: string): void {
  log.warn(`this version of ${library} is not built as otel-breaker knows it, its calls are not guarded`);
}
