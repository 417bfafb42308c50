/** What kind of thing a call goes to; a label of its metrics and a match of rules. */
export type System = 'http' | 'redis' | 'postgresql';

/** Where a call goes. */
export interface Target {
  readonly system: System;
  /** First part of the name: `http`, `https`, `redis`, `redis+cluster`, `postgresql`, or `unix` for a socket. */
  readonly scheme: string;
  /** Host name or address; the path of a unix socket. */
  readonly host: string;
  /** 0 for a unix socket. */
  readonly port: number;
  /** PostgreSQL only. */
  readonly database?: string | undefined;
}

// Redis and PostgreSQL have default ports as well, but nobody knows those targets by a URL without one.
const UNWRITTEN_PORTS: Readonly<Record<string, number>> = { http: 80, https: 443 };

/** The name of a target's breaker: a URL origin, without credentials, the default port left out. */
export function targetName({ scheme, host, port, database }: Target): string {
  const path = database === undefined ? '' : `/${database}`;
  if (scheme === 'unix') return `unix:${host}${path}`;
  const authority = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
  return port === UNWRITTEN_PORTS[scheme]
    ? `${scheme}://${authority}${path}`
    : `${scheme}://${authority}:${port}${path}`;
}

/** What telemetry says of a target, in the words of OpenTelemetry's `server.address` and `server.port`. */
export function targetLabels({ system, scheme, host, port }: Target): Readonly<Record<string, string | number>> {
  return scheme === 'unix' ? { system, server_address: host } : { system, server_address: host, server_port: port };
}
