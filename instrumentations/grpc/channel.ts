import type { Target } from '../../src/target.js';
import { hiddenProperty } from '../hidden-property.js';

/** What we need of a channel: one deployment, whatever balances its calls over backends. */
export interface Channel {
  getTarget(): string;
  getConnectivityState(tryToConnect: boolean): number;
  getOptions?(): Readonly<Record<string, unknown>>;
}

/** Of grpc-js: the state of a channel with a connection that calls can use. */
export const READY = 2;

// As grpc-js has it, where a target names no port.
const DEFAULT_PORT = 443;

const targets = hiddenProperty<{ readonly target: Target | undefined }>();

/** Where the calls of a channel go; `undefined` where nobody can tell. */
export function targetOf(channel: Channel): Target | undefined {
  const known = targets.get(channel);
  if (known !== undefined) return known.target;
  // Through a proxy, the target of the channel is the proxy.
  const tunnelled = channel.getOptions?.()['grpc.http_connect_target'];
  const target = parse(typeof tunnelled === 'string' ? tunnelled : channel.getTarget());
  targets.set(channel, { target });
  return target;
}

/** A name as gRPC has them: `dns:host:port`, `dns://server/host`, `ipv4:1.2.3.4:50,5.6.7.8:50`, `unix:/path`, `xds:///service`. */
function parse(name: string): Target | undefined {
  const [, scheme, authority, path = ''] = /^(?:([a-z0-9+.-]+):)?(?:\/\/([^/]*)\/)?(.+)$/i.exec(name) ?? [];
  if (scheme === 'unix') {
    const host = authority === undefined || path.startsWith('/') ? path : `/${path}`;
    return { system: 'grpc', scheme: 'unix', host, port: 0 };
  }
  // Several addresses are one deployment.
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:,]+))(?::(\d+))?(?:,|$)/.exec(path) ?? [];
  const host = (bracketed ?? plain ?? (/^[0-9a-f:.]+$/i.test(path) ? path : undefined))?.toLowerCase();
  if (host === undefined) return undefined;
  return { system: 'grpc', scheme: 'grpc', host, port: Number(port ?? DEFAULT_PORT) };
}
