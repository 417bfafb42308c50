import type { BreakerOptions, PresetName } from './breaker/options.js';

/** What kind of thing a call goes to; a label of its metrics and a match of rules. */
export type System = 'http' | 'grpc' | 'redis' | 'postgresql' | 'mysql' | 'mongodb' | 'smtp';

/** What a call asks its target for, as far as rules look at it. */
export type CallPart = 'method' | 'path';

/** One kind of thing that calls go to. */
interface SystemRow {
  /** The preset of its breakers where no rule says otherwise. */
  readonly preset: PresetName;
  /** What its breakers have beside that. */
  readonly options?: Pick<BreakerOptions, 'countTimeouts'>;
  /** What of its calls rules can tell apart. */
  readonly calls?: readonly CallPart[];
  /** A rejected call can get an answer that rules have made. */
  readonly answers?: true;
  readonly schemes: Readonly<Record<string, SchemeRow>>;
  /** Which package of OpenTelemetry makes the spans of which client of ours, by which class. */
  readonly instrumentations: Readonly<Record<string, readonly [packageName: string, className: string]>>;
}

interface SchemeRow {
  readonly port: number;
  /** What it is called in names of breakers, where that is another scheme. */
  readonly as?: string;
  /** The port is left out of names. Other systems have default ports as well, but nobody knows them by a URL without one. */
  readonly unwritten?: true;
  /** The path of a URL names a database, or what takes its place. */
  readonly database?: true;
}

/**
 * The one table of systems: rules, the schema, the CLI, stand-alone tracing and the claims of spans are made from it. A new
 * system is a word of the type above and a row, which the compiler asks for.
 */
const TABLE: Readonly<Record<System, SystemRow>> = {
  http: {
    preset: 'httpApi',
    calls: ['method', 'path'],
    answers: true,
    schemes: { http: { port: 80, unwritten: true }, https: { port: 443, unwritten: true } },
    instrumentations: {
      http: ['@opentelemetry/instrumentation-http', 'HttpInstrumentation'],
      undici: ['@opentelemetry/instrumentation-undici', 'UndiciInstrumentation'],
    },
  },
  grpc: {
    preset: 'httpApi',
    calls: ['path'],
    schemes: { grpc: { port: 443 } },
    instrumentations: { grpc: ['@opentelemetry/instrumentation-grpc', 'GrpcInstrumentation'] },
  },
  redis: {
    preset: 'cache',
    schemes: {
      redis: { port: 6379 },
      rediss: { port: 6379, as: 'redis' },
      'redis+cluster': { port: 6379 },
      'redis+sentinel': { port: 26379, database: true },
    },
    instrumentations: {
      ioredis: ['@opentelemetry/instrumentation-ioredis', 'IORedisInstrumentation'],
      'node-redis': ['@opentelemetry/instrumentation-redis', 'RedisInstrumentation'],
    },
  },
  postgresql: {
    preset: 'database',
    schemes: { postgresql: { port: 5432, database: true }, postgres: { port: 5432, as: 'postgresql', database: true } },
    instrumentations: { pg: ['@opentelemetry/instrumentation-pg', 'PgInstrumentation'] },
  },
  mysql: {
    preset: 'database',
    schemes: { mysql: { port: 3306, database: true }, mariadb: { port: 3306, as: 'mysql', database: true } },
    instrumentations: { mysql2: ['@opentelemetry/instrumentation-mysql2', 'MySQL2Instrumentation'] },
  },
  mongodb: {
    preset: 'database',
    schemes: { mongodb: { port: 27017 }, 'mongodb+srv': { port: 27017, as: 'mongodb' } },
    instrumentations: { mongodb: ['@opentelemetry/instrumentation-mongodb', 'MongoDBInstrumentation'] },
  },
  smtp: {
    preset: 'notifications',
    // A mail server that hangs is in trouble, other than one of the push services that the preset is made for.
    options: { countTimeouts: true },
    schemes: { smtp: { port: 587 }, smtps: { port: 465, as: 'smtp' } },
    instrumentations: {},
  },
};

const ROWS: readonly (readonly [System, SystemRow])[] = Object.entries(TABLE) as [System, SystemRow][];

export const SYSTEMS: readonly System[] = ROWS.map(([system]) => system);

/** The preset of a system's breakers where no rule says otherwise. */
export function presetOf(system: System): PresetName {
  return TABLE[system].preset;
}

/** What a system's breakers have beside that preset where no rule says otherwise. */
export function ownOptionsOf(system: System): BreakerOptions {
  return TABLE[system].options ?? {};
}

/** Whether rejected calls to a system can get an answer that rules have made. */
export function takesAnswers(system: System): boolean {
  return TABLE[system].answers === true;
}

/** The systems whose calls have such a part. */
export function systemsWith(part: CallPart): readonly System[] {
  return SYSTEMS.filter((system) => TABLE[system].calls?.includes(part));
}

const SCHEME_ROWS: ReadonlyMap<string, SchemeRow & { readonly system: System }> = new Map(
  ROWS.flatMap(([system, { schemes }]) =>
    Object.entries(schemes).map(([scheme, row]) => [scheme, { ...row, system }] as const),
  ),
);

/** The schemes of URLs that name a target, `unix` for a socket among them. */
export const SCHEMES: readonly string[] = [...SCHEME_ROWS.keys(), 'unix'];

/** The port of a scheme whose URLs name none. */
export function defaultPort(scheme: string): number | undefined {
  return SCHEME_ROWS.get(scheme)?.port;
}

/** Which package of OpenTelemetry makes the spans of a client, by which class. Its tracer has the name of the package. */
export const INSTRUMENTATION_SCOPES: ReadonlyMap<string, readonly [packageName: string, className: string]> = new Map(
  ROWS.flatMap(([, { instrumentations }]) => Object.entries(instrumentations)),
);

/** Where a call goes. */
export interface Target {
  readonly system: System;
  /** First part of the name: `http`, `https`, `grpc`, `redis`, `redis+cluster`, `postgresql`, `mysql`, `mongodb`, `smtp`, or `unix` for a socket. */
  readonly scheme: string;
  /** Host name or address, without brackets; the path of a unix socket. */
  readonly host: string;
  /** 0 for a unix socket. */
  readonly port: number;
  /** Of PostgreSQL and MySQL; the group behind sentinels of Redis. */
  readonly database?: string | undefined;
  /** The plain proxy that the call goes through, named as a target: `http://proxy:3128`. A tunnel is none. */
  readonly via?: string | undefined;
}

/** A target that stands for more than one call, and for which the guard remembers what it found. */
export class LastingTarget implements Target {
  /** @internal What was found. */
  found: unknown = undefined;
  /** @internal By whom, and in which state of its rules and breakers: it says nothing to anybody else. */
  foundBy: object | undefined = undefined;

  constructor(
    readonly system: System,
    readonly scheme: string,
    readonly host: string,
    readonly port: number,
    readonly database?: string | undefined,
    readonly via?: string | undefined,
  ) {}

  static of({ system, scheme, host, port, database, via }: Target): LastingTarget {
    return new LastingTarget(system, scheme, host, port, database, via);
  }
}

/** The name of a target's breaker where no rule gives one: its origin, and the plain proxy on the way. */
export function targetName(target: Target): string {
  return throughProxy(originName(target), target);
}

/** A plain proxy is a part of the way that can fail on its own: who goes through it has another breaker. */
export function throughProxy(name: string, { via }: Target): string {
  return via === undefined ? name : `${name} via ${via}`;
}

/** What a target goes by in rules: a URL origin, without credentials, the default port left out. */
export function originName({ scheme, host, port, database }: Target): string {
  const path = database === undefined ? '' : `/${database}`;
  if (scheme === 'unix') return `unix:${host}${path}`;
  const authority = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
  const row = SCHEME_ROWS.get(scheme);
  return row?.unwritten && port === row.port
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

/** The target that a URL leads to, as its client would have it; `undefined` where no client of ours takes such a URL. */
export function parseTarget(url: string): Target | undefined {
  if (url.startsWith('unix:/')) return { system: 'http', scheme: 'unix', host: url.slice('unix:'.length), port: 0 };
  if (!URL.canParse(url)) return undefined;
  const { protocol, hostname, port, pathname } = new URL(url);
  const scheme = protocol.slice(0, -1);
  const row = SCHEME_ROWS.get(scheme);
  if (row === undefined || hostname === '') return undefined;
  const database = decodeURIComponent(pathname.slice(1));
  return {
    system: row.system,
    scheme: row.as ?? scheme,
    host: withoutBrackets(hostname),
    port: Number(port) || row.port,
    ...(row.database && database !== '' && { database }),
  };
}

/** Where an http call to a URL goes. */
export function targetOfUrl({ protocol, hostname, port }: URL): Target {
  const scheme = protocol.slice(0, -1);
  return { system: 'http', scheme, host: withoutBrackets(hostname), port: Number(port) || (defaultPort(scheme) ?? 80) };
}

/** URLs have brackets around IPv6 addresses, options of requests have none. */
function withoutBrackets(hostname: string): string {
  return hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
}

// An absolute form, as plain proxies get it: what follows the origin is the path.
const ORIGIN = /^[a-z][a-z\d+.-]*:\/\/[^/]*/i;
const UNUSUAL = /^[^/]|^$|%|\/\.{1,2}(?:\/|$)|[^\x21-\x7e]/;
const ENCODED = /%[\da-f]{2}/gi;
const UNRESERVED = /[\w.~-]/;

/**
 * The path of a request as rules compare it (RFC 3986, 6.2.2): without query, dot segments removed, unreserved characters
 * decoded; whatever else is encoded stays so, in capital letters.
 */
export function normalizePath(target: string): string {
  const end = target.search(/[?#]/);
  const path = end < 0 ? target : target.slice(0, end);
  return UNUSUAL.test(path) ? normalizeUnusual(path) : path;
}

function normalizeUnusual(text: string): string {
  const path = text
    .replace(ORIGIN, '')
    .replace(/[^\x21-\x7e]+/g, encode)
    .replace(ENCODED, decodeUnreserved);
  return path === '' ? '/' : path.startsWith('/') ? withoutDotSegments(path) : path;
}

function encode(text: string): string {
  return Array.from(Buffer.from(text), (byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
}

function decodeUnreserved(encoded: string): string {
  const character = String.fromCharCode(Number.parseInt(encoded.slice(1), 16));
  return UNRESERVED.test(character) ? character : encoded.toUpperCase();
}

function withoutDotSegments(path: string): string {
  const kept: string[] = [];
  const segments = path.split('/').slice(1);
  for (const segment of segments) {
    if (segment === '..') kept.pop();
    else if (segment !== '.') kept.push(segment);
  }
  const last = segments.at(-1);
  if (last === '.' || last === '..') kept.push('');
  return `/${kept.join('/')}`;
}
