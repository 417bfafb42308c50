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

// Of a DNS name, without the dot that may end it.
const MAX_HOST_LENGTH = 253;
// `sun_path` of the system's socket addresses; pipes of Windows have names of up to 256 characters.
const MAX_SOCKET_PATH_LENGTH = { linux: 108, win32: 256 }[process.platform as 'linux'] ?? 104;

/** Whether there can be such a target. A longer host resolves to nothing, and no socket has a longer path. */
export function canExist({ scheme, host }: Target): boolean {
  if (scheme === 'unix') return host.length <= MAX_SOCKET_PATH_LENGTH;
  return host.length <= MAX_HOST_LENGTH || (host.length === MAX_HOST_LENGTH + 1 && host.endsWith('.'));
}

const SYSTEMS_BY_SCHEME: Readonly<Record<string, { system: System; scheme: string; port: number }>> = {
  // No property that every object has.
  __proto__: null as never,
  http: { system: 'http', scheme: 'http', port: 80 },
  https: { system: 'http', scheme: 'https', port: 443 },
  redis: { system: 'redis', scheme: 'redis', port: 6379 },
  rediss: { system: 'redis', scheme: 'redis', port: 6379 },
  'redis+cluster': { system: 'redis', scheme: 'redis+cluster', port: 6379 },
  postgres: { system: 'postgresql', scheme: 'postgresql', port: 5432 },
  postgresql: { system: 'postgresql', scheme: 'postgresql', port: 5432 },
};

/** The target that a URL leads to, as its client would have it; `undefined` where no client of ours takes such a URL. */
export function parseTarget(url: string): Target | undefined {
  if (url.startsWith('unix:/')) return { system: 'http', scheme: 'unix', host: url.slice('unix:'.length), port: 0 };
  if (!URL.canParse(url)) return undefined;
  const { protocol, hostname, port, pathname } = new URL(url);
  const known = SYSTEMS_BY_SCHEME[protocol.slice(0, -1)];
  if (known === undefined || hostname === '') return undefined;
  const database = decodeURIComponent(pathname.slice(1));
  return {
    system: known.system,
    scheme: known.scheme,
    host: hostname,
    port: Number(port) || known.port,
    ...(known.system === 'postgresql' && database !== '' && { database }),
  };
}
