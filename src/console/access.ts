import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';

/** Whether an address is this machine's own. */
export function isLoopback(address: string | undefined): boolean {
  if (address === undefined) return false;
  const v4 = address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address;
  return v4 === '::1' || (isIP(v4) === 4 && v4.startsWith('127.'));
}

// By these a proxy says for whom it asks, or that it does.
const PROXY_HEADERS: ReadonlySet<string> = new Set([
  'forwarded',
  'via',
  'x-real-ip',
  'x-client-ip',
  'x-cluster-client-ip',
  'true-client-ip',
  'cf-connecting-ip',
  'fastly-client-ip',
]);
const PROXY_PREFIXES = ['x-forwarded', 'x-original-forwarded', 'x-envoy-'] as const;

/**
 * Whether a request came from this machine.
 *
 * A proxy on this machine says in a header for whom it asks; then it is not known where the request came from.
 */
export function isFromThisMachine({ socket, headers }: IncomingMessage): boolean {
  for (const name of Object.keys(headers)) {
    if (PROXY_HEADERS.has(name) || PROXY_PREFIXES.some((prefix) => name.startsWith(prefix))) return false;
  }
  return isLoopback(socket.remoteAddress);
}

/**
 * Whether a request asks for this machine by the name that a machine has for itself.
 *
 * A proxy that passes bytes on, such as the sidecar of a mesh, adds no header, and its connection comes from this machine
 * too. Who sent the bytes knew another name.
 */
export function namesThisMachine({ headers }: IncomingMessage): boolean {
  const name = hostName(headers.host ?? '');
  return isLocalName(name) || isLoopback(name);
}

/**
 * Whether a request is meant for us, by its Host header.
 *
 * A page on the web can give its own name the address 127.0.0.1 and then read what we answer as if it were its own (DNS
 * rebinding): the name in Host is still its own. An address cannot be given away like this, nor can `localhost`.
 *
 * @param known further names that this service goes by, in lower case
 */
export function isMeantForUs(host: string | undefined, known: readonly string[]): boolean {
  if (host === undefined) return false;
  const name = hostName(host);
  return isLocalName(name) || isIP(name) !== 0 || known.includes(name);
}

/** The name in a Host header. */
function hostName(host: string): string {
  return host
    .replace(/:\d*$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '')
    .toLowerCase();
}

function isLocalName(name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost');
}

/** Whether a request was made by a page of ours, or by no page at all. A browser cannot be made to lie about this. */
export function isSameOrigin({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return false;
  const { origin, host } = headers;
  if (origin === undefined) return true;
  try {
    // Not the scheme: before a proxy that ends TLS it is another one than we see.
    return new URL(origin).host === host?.toLowerCase();
  } catch {
    return false;
  }
}

/** Whether the request carries the token. The time this takes tells nothing about the token, not even its length. */
export function hasToken({ headers }: IncomingMessage, token: string): boolean {
  const [, given] = /^bearer +(\S+) *$/i.exec(headers.authorization ?? '') ?? [];
  return timingSafeEqual(digest(given ?? ''), digest(token)) && given !== undefined;
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
