import type { BlockList, SocketAddress } from 'node:net';
import { domainToASCII } from 'node:url';
import { normalizePath, originName, type Target } from '../target.js';
import { pathTest, type PathTest } from './path.js';
import type { PatternProblem } from './problem.js';
import type { RuleMatch } from './rule.js';

/** What the wildcards of a pattern stand for; `undefined` where it does not fit. */
type Test = (text: string) => readonly string[] | undefined;

interface Pattern {
  readonly test: Test;
  /** How many wildcards it has. */
  readonly captures: number;
  /** The one text that fits; `undefined` where several do. */
  readonly exact?: string;
  /** Every text that fits ends with this, after a dot. */
  readonly suffix?: string;
}

/** What the hosts of a rule are: names and globs, and all ranges of addresses together. */
interface Hosts {
  readonly patterns: readonly Pattern[];
  readonly networks: BlockList | undefined;
}

// Loaded for the first network in a rule: requiring that module would have OpenTelemetry instrument it, in applications
// that never asked for it.
let net: typeof import('node:net') | undefined;

const NO_CAPTURES: readonly string[] = [];
// Each further one makes a long name more work to fit.
const MAX_WILDCARDS = 4;
const MAX_TEXT = 512;
const NOWHERE = 1;

/** Host names as they are compared: in small letters, addresses in their one canonical form, without brackets. */
export function normalizeHost(host: string): string {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
  if (bare.includes(':')) return canonicalAddress(bare);
  const lower = bare.toLowerCase();
  return lower.length > 1 && lower.endsWith('.') ? lower.slice(0, -1) : lower;
}

function canonicalAddress(address: string): string {
  // A zone (fe80::1%eth0) is no part of a URL; such an address is compared as it is written.
  const url = `http://[${address}]`;
  return URL.canParse(url) ? new URL(url).hostname.slice(1, -1) : address.toLowerCase();
}

/** What is wrong with a host pattern, or `undefined` where nothing is. */
export function checkHostPattern(pattern: string): PatternProblem | undefined {
  if (pattern === '' || /\s/.test(pattern)) {
    return {
      consequence: 'no host has such a name',
      allowed: 'Use a host name, a glob like "*.example.com" or a CIDR range.',
    };
  }
  if (pattern.includes('://')) {
    const host = URL.canParse(pattern) ? new URL(pattern).hostname : undefined;
    return {
      consequence: 'it is a URL, which no host would ever be equal to',
      allowed: host ? `Write the host alone: "${host}".` : 'Write the host alone.',
    };
  }
  const [, name, port] = /^([^:[\]]+|\[[^\]]+\]):(\d+)$/.exec(pattern) ?? [];
  if (name !== undefined) {
    return {
      consequence: 'it has a port, which no host would ever be equal to',
      allowed: `Write them apart: host: "${name}", port: ${port!}.`,
    };
  }
  if (pattern.includes('/') && !pattern.startsWith('/') && parseNetwork(pattern) === undefined) {
    return {
      consequence: 'it is no range of addresses and no host has a slash in its name',
      allowed: 'Use a host name, or a CIDR range like "10.0.0.0/8" or "fd00::/8".',
    };
  }
  return checkGlob(pattern);
}

/** What is wrong with a glob, or `undefined` where nothing is. */
export function checkGlob(pattern: string): PatternProblem | undefined {
  if (pattern === '') return { consequence: 'nothing has an empty name', allowed: 'Use a name or a glob.' };
  if (pattern.includes('***')) {
    return {
      consequence: 'three stars mean nothing',
      allowed: 'Use * for characters of one label, or ** for any characters.',
    };
  }
  if (countCaptures(pattern) > MAX_WILDCARDS || pattern.split('**').length > 2) {
    return {
      consequence: 'a long name could keep the process busy with looking for ways to fit it',
      allowed: `Use at most ${MAX_WILDCARDS} wildcards, of which one may be **.`,
    };
  }
  return undefined;
}

/** How many wildcards a host pattern has, and so how many captures. */
export function countCaptures(pattern: string): number {
  return pattern.match(/\*+/g)?.length ?? 0;
}

function parseNetwork(pattern: string, list?: BlockList): BlockList | undefined {
  const [address, prefix, ...rest] = pattern.split('/');
  net ??= require('node:net') as typeof import('node:net');
  const family = net.isIP(address!);
  if (family === 0 || rest.length > 0 || !/^\d{1,3}$/.test(prefix!)) return undefined;
  if (Number(prefix) > (family === 4 ? 32 : 128)) return undefined;
  const into = list ?? new net.BlockList();
  into.addSubnet(address!, Number(prefix), family === 4 ? 'ipv4' : 'ipv6');
  return into;
}

function addressOf(host: string): SocketAddress | undefined {
  const family = net?.isIP(host) ?? 0;
  return family === 0 ? undefined : new net!.SocketAddress({ address: host, family: family === 4 ? 'ipv4' : 'ipv6' });
}

/** Thousands of ranges are asked as one. */
function hostsOf(list: readonly string[]): Hosts {
  let networks: BlockList | undefined;
  const patterns: Pattern[] = [];
  for (const pattern of list) {
    if (pattern.includes('/') && !pattern.startsWith('/')) networks = parseNetwork(pattern, networks);
    else patterns.push(hostPattern(pattern));
  }
  return { patterns, networks };
}

function hostPattern(pattern: string): Pattern {
  // Clients bring names in ASCII: an umlaut would match nothing.
  const ascii = pattern.includes('*') ? pattern : domainToASCII(pattern) || pattern;
  return glob(normalizeHost(pattern.includes(':') ? pattern : ascii));
}

/**
 * A glob of our own, in ten lines: libraries for file names take brackets, braces and a leading dot or `!` for
 * something else, and part names at slashes where hosts are parted by dots.
 */
function glob(pattern: string): Pattern {
  if (!pattern.includes('*')) {
    return { test: (text) => (text === pattern ? NO_CAPTURES : undefined), captures: 0, exact: pattern };
  }
  const pieces = pattern.match(/\*\*|\*|[^*]+/g)!;
  const afterStars = pattern.slice(pattern.lastIndexOf('*') + 1);
  const dot = afterStars.indexOf('.');
  return {
    test: (text) => (text.length <= MAX_TEXT && text.endsWith(afterStars) ? fitPieces(pieces, text) : undefined),
    captures: countCaptures(pattern),
    ...(dot >= 0 && dot < afterStars.length - 1 && { suffix: afterStars.slice(dot + 1) }),
  };
}

/**
 * What the stars stand for: the first one for as much as it can, then the next. Not by a regular expression: names come from
 * the network, and one that nearly fits would keep it busy for half a minute. Here a place that led nowhere is not tried again.
 */
function fitPieces(pieces: readonly string[], text: string): readonly string[] | undefined {
  const captures: string[] = [];
  const places = text.length + 1;
  const led = new Uint8Array(pieces.length * places);

  function fitsFrom(index: number, start: number): boolean {
    const piece = pieces[index];
    if (piece === undefined) return start === text.length;
    if (led[index * places + start] === NOWHERE) return false;
    if (!piece.startsWith('*')) {
      if (text.startsWith(piece, start) && fitsFrom(index + 1, start + piece.length)) return true;
    } else {
      const dot = piece === '*' ? text.indexOf('.', start) : -1;
      for (let end = dot < 0 ? text.length : dot; end > start; end--) {
        if (!fitsFrom(index + 1, end)) continue;
        captures.unshift(text.slice(start, end));
        return true;
      }
    }
    led[index * places + start] = NOWHERE;
    return false;
  }

  return fitsFrom(0, 0) ? captures : undefined;
}

export function listOf<T>(value: T | readonly T[] | undefined): readonly T[] | undefined {
  if (value === undefined) return undefined;
  return Array.isArray(value) ? (value as readonly T[]) : [value as T];
}

/** A match made ready to be asked. */
export class Matcher {
  /** The one host that fits; `undefined` where several may. */
  readonly host: string | undefined;
  /** The one port that fits; `undefined` where several may. */
  readonly port: number | undefined;
  /** @internal */
  readonly hosts: Hosts | undefined;
  readonly #systems: readonly string[] | undefined;
  readonly #ports: readonly number[] | undefined;
  readonly #databases: readonly Pattern[] | undefined;
  readonly #names: readonly Pattern[] | undefined;
  readonly #methods: readonly string[] | undefined;
  readonly #paths: readonly PathTest[] | undefined;

  constructor({ system, host, port, database, name, method, path }: RuleMatch) {
    this.#systems = listOf(system);
    const hosts = listOf(host);
    this.hosts = hosts && hostsOf(hosts);
    this.#ports = listOf(port);
    this.#databases = listOf(database)?.map(glob);
    this.#names = listOf(name)?.map(glob);
    this.#methods = listOf(method)?.map((one) => one.toUpperCase());
    this.#paths = listOf(path)?.map(pathTest);
    this.host = hosts?.length === 1 ? this.hosts?.patterns[0]?.exact : undefined;
    this.port = this.#ports?.length === 1 ? this.#ports[0] : undefined;
  }

  /**
   * @param host that of the target, normalized
   * @param address the same as an address, where it is one; made once for any number of ranges
   * @returns what the wildcards of the host stand for, where the target fits
   */
  match(target: Target, host: string, address = addressOf(host)): readonly string[] | undefined {
    if (this.#systems?.includes(target.system) === false) return undefined;
    if (this.#ports?.includes(target.port) === false) return undefined;
    if (this.#databases !== undefined && !fits(this.#databases, target.database)) return undefined;
    if (this.#names !== undefined && !fits(this.#names, originName(target))) return undefined;
    if (this.hosts === undefined) return NO_CAPTURES;
    for (const pattern of this.hosts.patterns) {
      const captures = pattern.test(host);
      if (captures !== undefined) return captures;
    }
    return address !== undefined && this.hosts.networks?.check(address) === true ? NO_CAPTURES : undefined;
  }

  /** Whether it is for some calls to its targets only. */
  get isForSomeCalls(): boolean {
    return this.#methods !== undefined || this.#paths !== undefined;
  }

  /**
   * Whether a call to one of its targets fits.
   *
   * @param method in capital letters
   * @param path normalized
   */
  matchCall(method: string | undefined, path: string | undefined): boolean {
    if (this.#methods !== undefined && (method === undefined || !this.#methods.includes(method))) return false;
    return this.#paths === undefined || (path !== undefined && this.#paths.some((fits) => fits(path)));
  }
}

/** What a call asks its target for, where its client says that. */
export interface Endpoint {
  readonly method?: string | undefined;
  /** As it is sent: may have a query. */
  readonly path?: string | undefined;
}

/** The first of some rules, all of which are for the target of a call, that fits the call. */
export function firstForCall<R extends { readonly rule: Indexed }>(
  rules: readonly R[],
  { method, path }: Endpoint,
): R | undefined {
  const upper = method?.toUpperCase();
  const normalized = path === undefined ? undefined : normalizePath(path);
  return rules.find(({ rule }) => rule.matcher.matchCall(upper, normalized));
}

function fits(patterns: readonly Pattern[], text: string | undefined): boolean {
  return text !== undefined && patterns.some((pattern) => pattern.test(text) !== undefined);
}

interface Indexed {
  readonly index: number;
  readonly matcher: Matcher;
}

/** A rule that fits, and what the wildcards of its host stand for. */
export interface Found<R> {
  readonly rule: R;
  readonly captures: readonly string[];
}

/**
 * Finds the first of many rules that fits a target without asking them all: exact hosts by the host, globs by what
 * follows their last wildcard. Of the rest, every one is asked.
 */
export class MatchIndex<R extends Indexed> {
  readonly #exact = new Map<string, R[]>();
  readonly #suffix = new Map<string, R[]>();
  readonly #rest: R[] = [];

  /** @param rules in the order in which they are tried */
  constructor(rules: readonly R[]) {
    for (const rule of rules) {
      const { hosts } = rule.matcher;
      // Once, however many of its patterns have to be asked.
      let rest = hosts === undefined || hosts.networks !== undefined;
      for (const { exact, suffix } of hosts?.patterns ?? []) {
        if (exact !== undefined) push(this.#exact, exact, rule);
        else if (suffix !== undefined) push(this.#suffix, suffix, rule);
        else rest = true;
      }
      if (rest) this.#rest.push(rule);
    }
  }

  first(target: Target): Found<R> | undefined {
    const host = normalizeHost(target.host);
    const address = addressOf(host);
    let found: Found<R> | undefined;
    // A rule of many patterns can be found by several of them, and has been asked about all.
    const asked = new Set<R>();

    function look(rules: readonly R[] | undefined): void {
      for (const rule of rules ?? []) {
        if (found !== undefined && rule.index >= found.rule.index) return;
        if (asked.has(rule)) continue;
        asked.add(rule);
        const captures = rule.matcher.match(target, host, address);
        if (captures !== undefined) found = { rule, captures };
      }
    }

    look(this.#exact.get(host));
    if (this.#suffix.size > 0) {
      for (let dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.', dot + 1))
        look(this.#suffix.get(host.slice(dot + 1)));
    }
    look(this.#rest);
    return found;
  }
}

function push<R>(map: Map<string, R[]>, key: string, rule: R): void {
  const present = map.get(key);
  if (present === undefined) map.set(key, [rule]);
  else if (present.at(-1) !== rule) present.push(rule);
}
