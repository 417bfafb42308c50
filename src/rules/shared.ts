import { hostname } from 'node:os';
import type { BreakerConfig } from '../breaker/options.js';

/** A breaker, or what the rules say of one. */
interface Shareable {
  readonly config: Pick<BreakerConfig, 'fleet'>;
  /** Those of its metrics: what all of its targets have in common. */
  readonly labels: Readonly<Record<string, string | number>>;
}

/**
 * Whether a fleet shares a breaker: what `fleet` of its options says, else where the guard made it for a target that is the
 * same for all: a host that means another one on each machine is nobody else's.
 */
export function isShared({ config, labels }: Shareable): boolean {
  if (config.fleet !== undefined) return config.fleet;
  const { system, server_address: address } = labels;
  if (system === undefined) return false;
  return address === undefined || !isOfThisMachine(String(address));
}

function isOfThisMachine(host: string): boolean {
  const name = host.toLowerCase().replace(/\.$/, '');
  return (
    /^(?:localhost|.*\.localhost|host\.docker\.internal|0\.0\.0\.0|::|::1)$/.test(name) ||
    /^(?:::ffff:)?(?:127|169\.254)\./.test(name) ||
    /^fe[89ab][0-9a-f]:/.test(name) ||
    // The path of a socket.
    /^[/\\]/.test(name) ||
    name === hostname().toLowerCase()
  );
}
