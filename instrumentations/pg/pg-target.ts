import { LastingTarget, type Target } from '../../src/target.js';
import { OnAnother } from '../hidden-property.js';

/** Where a client connects to, as pg makes it of options, connection strings and the environment. */
export interface Address {
  readonly host: string;
  readonly port: number;
  readonly database: string | undefined;
}

class TargetOf extends OnAnother {
  #target: LastingTarget | undefined;

  static client(client: Address): LastingTarget {
    if (!(#target in client)) new TargetOf(client).#target = LastingTarget.of(toTarget(client));
    return (client as unknown as TargetOf).#target!;
  }
}

/** Where a client connects to. */
export function targetOf(client: Address): Target {
  return TargetOf.client(client);
}

export function toTarget({ host, port, database }: Address): Target {
  const system = 'postgresql';
  // As pg tells a directory with a socket from a host name.
  return host?.startsWith('/')
    ? { system, scheme: 'unix', host: `${host}/.s.PGSQL.${port}`, port: 0, database }
    : { system, scheme: system, host: String(host).toLowerCase(), port, database };
}
