import type { Target } from '../../src/target.js';
import { hiddenProperty } from '../hidden-property.js';

/** Where a client connects to, as pg makes it of options, connection strings and the environment. */
export interface Address {
  readonly host: string;
  readonly port: number;
  readonly database: string | undefined;
}

const targets = hiddenProperty<Target>();

/** Where a client connects to. */
export function targetOf(client: Address): Target {
  let target = targets.get(client);
  if (target === undefined) targets.set(client, (target = toTarget(client)));
  return target;
}

export function toTarget({ host, port, database }: Address): Target {
  const system = 'postgresql';
  // As pg tells a directory with a socket from a host name.
  return host?.startsWith('/')
    ? { system, scheme: 'unix', host: `${host}/.s.PGSQL.${port}`, port: 0, database }
    : { system, scheme: system, host: String(host).toLowerCase(), port, database };
}
