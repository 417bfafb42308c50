import type { Target } from '../src/target.js';

/** Where a call to a URL goes. */
export function targetOfUrl({ protocol, hostname, port }: URL): Target {
  const scheme = protocol.slice(0, -1);
  // URLs have brackets around IPv6 addresses, options of requests have none.
  const host = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  return { system: 'http', scheme, host, port: Number(port) || (scheme === 'https' ? 443 : 80) };
}
