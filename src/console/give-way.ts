// Leaves our ports to an application that is to listen there itself.
import { isIP, Server } from 'node:net';
import { reportOnce } from '../breaker/diagnostics.js';

/** A port of ours that is open. */
export interface OwnPort {
  /** The address that it is bound to. */
  readonly address: string;
  readonly port: number;
  /** Closes it by the time that this returns. */
  close(): void;
}

type Listen = (this: Server, ...args: unknown[]) => Server;

const ours = new Set<OwnPort>();
let unpatch: () => void = () => {};

/**
 * Closes a port of ours where the application asks for it: its own server may come late, after secrets were fetched or a
 * database has answered, and a port that is taken would end it.
 *
 * @returns a function that ends this
 */
export function giveWay(own: OwnPort): () => void {
  if (ours.size === 0) unpatch = patch();
  ours.add(own);
  return () => {
    if (ours.delete(own) && ours.size === 0) unpatch();
  };
}

function patch(): () => void {
  const owner = Server.prototype as { listen: Listen };
  const { listen } = owner;
  const replacement: Listen = function (this: Server, ...args) {
    closeWhatIsAskedFor(args);
    return Reflect.apply(listen, this, args);
  };
  Object.defineProperty(replacement, 'name', { value: listen.name, configurable: true });
  owner.listen = replacement;
  return () => {
    // Wrapped by somebody else meanwhile, ours stays, and has no port left to close.
    if (owner.listen === replacement) owner.listen = listen;
  };
}

function closeWhatIsAskedFor(args: readonly unknown[]): void {
  try {
    const asked = askedFor(args);
    for (const own of [...ours]) if (excludes(own, asked)) own.close();
  } catch (error) {
    reportOnce('Leaving our port to the application failed', error, 'it may find it taken');
  }
}

interface Asked {
  readonly port?: unknown;
  readonly host?: unknown;
}

/** As `server.listen` takes it: options, or a port and perhaps a host. */
function askedFor([first, second]: readonly unknown[]): Asked {
  if (typeof first === 'object' && first !== null) return first;
  return { port: first, host: typeof second === 'string' ? second : undefined };
}

/** Whether nobody else can listen there as long as ours is open. A name may mean any address. */
function excludes({ address, port }: OwnPort, asked: Asked): boolean {
  if (asked.port === undefined || asked.port === null || Number(asked.port) !== port) return false;
  const { host } = asked;
  return typeof host !== 'string' || isIP(host) === 0 || [host, address].some(isEveryAddress) || host === address;
}

function isEveryAddress(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}
