import { ATTRIBUTE, EVENT } from '../telemetry/names.js';
import { parseTarget, SYSTEMS, targetName, type System, type Target } from '../target.js';
import { Endings } from './ending.js';
import type { LeftOut } from './report.js';
import type { Span, Values } from './span.js';

/** Reads the calls of spans, and knows their targets and endings by numbers. */
export class Calls {
  readonly endings = new Endings();
  readonly targets: Target[] = [];
  readonly #numbers = new Map<string, number>();
  // What was read last.
  target = 0;
  ending = 0;
  /** Slow by design, like a blocking command of Redis. */
  longRunning = false;

  /** Reads a span into `target` and `ending`. @returns why it is no call to replay; nothing where it is one */
  read(span: Span): LeftOut | undefined {
    if (!span.isClient) return 'other';
    const { attributes } = span;
    const system = systemOf(attributes);
    if (system === undefined || isNoCall(span, system)) return 'other';
    if (span.startMs === undefined || span.durationMs === undefined) return 'withoutTime';
    if (wasRejected(span)) return 'rejected';
    const target = this.#numberOf(system, attributes);
    if (target === undefined) return 'withoutTarget';
    this.target = target;
    this.ending = this.endings.of(span, system);
    this.longRunning = system === 'redis' && BLOCKING.test(operationOf(span));
    return undefined;
  }

  /** By what the conventions say where they say all of it: to take a URL apart takes as long as all the rest. */
  #numberOf(system: System, attributes: Values): number | undefined {
    const url = text(attributes['url.full'] ?? attributes['http.url'] ?? attributes['db.connection_string']);
    const host = text(
      attributes[ATTRIBUTE.serverAddress] ?? attributes['net.peer.name'] ?? attributes['net.sock.peer.addr'],
    );
    const port = Number(
      attributes[ATTRIBUTE.serverPort] ?? attributes['net.peer.port'] ?? attributes['net.sock.peer.port'],
    );
    const scheme = system === 'http' ? schemeOf(attributes, url, port) : system;
    const database = text(attributes['db.namespace'] ?? attributes['db.name']);
    const key = host === '' ? `${system} ${url}` : `${scheme} ${host} ${port} ${database}`;
    const known = this.#numbers.get(key);
    if (known !== undefined) return known < 0 ? undefined : known;
    const number = this.#add(host === '' ? targetOfText(url, system) : targetAt(scheme, host, port, database));
    this.#numbers.set(key, number);
    return number < 0 ? undefined : number;
  }

  /** @returns its number; -1 where there is none */
  #add(target: Target | undefined): number {
    if (target === undefined) return -1;
    const name = targetName(target);
    const known = this.targets.findIndex((other) => targetName(other) === name);
    return known < 0 ? this.targets.push(target) - 1 : known;
  }
}

// Values of `db.system.name`, `db.system` and `rpc.system` that are not the names of ours.
const ALIASES: Readonly<Record<string, string>> = { postgres: 'postgresql', mariadb: 'mysql', valkey: 'redis' };

function systemOf(attributes: Values): System | undefined {
  const said =
    attributes['db.system.name'] ??
    attributes['db.system'] ??
    attributes['rpc.system.name'] ??
    attributes['rpc.system'];
  if (typeof said === 'string') {
    const name = ALIASES[said] ?? said;
    return SYSTEMS.find((system) => system === name && system !== 'http');
  }
  return METHODS.some((key) => typeof attributes[key] === 'string') ? 'http' : undefined;
}

const METHODS = ['http.request.method', 'http.method'] as const;

/** Spans of clients that are about no call of their own: what is within them is counted. */
function isNoCall(span: Span, system: System): boolean {
  if (system === 'http') return METHODS.some((key) => span.attributes[key] === 'CONNECT');
  if (system === 'redis') return operationOf(span) === 'connect';
  // A pool's span has the one of its client within it, and that one is news where it failed: no statement follows.
  if (system === 'postgresql') return span.name === 'pg-pool.connect' || (span.name === 'pg.connect' && !span.failed);
  return false;
}

const BLOCKING = /^(?:b(?:l|r|z)\w+|wait|waitaof)$/i;

function operationOf({ name, attributes }: Span): string {
  return text(attributes['db.operation.name'] ?? attributes['db.operation']) || name;
}

function wasRejected({ events }: Span): boolean {
  return events.some(({ name, attributes }) => name === EVENT.rejected && attributes[ATTRIBUTE.enforced] !== false);
}

function schemeOf(attributes: Values, url: string, port: number): string {
  const said = text(attributes['url.scheme'] ?? attributes['http.scheme']);
  if (said !== '') return said;
  const end = url.indexOf(':');
  return end > 0 ? url.slice(0, end) : port === 443 ? 'https' : 'http';
}

function targetAt(scheme: string, host: string, port: number, database: string): Target | undefined {
  if (host.startsWith('/')) {
    const base = parseTarget(`${scheme}://localhost`);
    return base && { ...base, scheme: 'unix', host, port: 0, ...(database !== '' && { database }) };
  }
  const authority = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
  const target = parseTarget(`${scheme}://${authority}${port > 0 ? `:${port}` : ''}/${encodeURIComponent(database)}`);
  return target && { ...target, host: target.host.toLowerCase() };
}

function targetOfText(url: string, system: System): Target | undefined {
  const target = parseTarget(url);
  return target?.system === system ? target : undefined;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
