import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ListeningServer {
  readonly url: string;
  readonly server: Server;
  close(): Promise<void>;
}

/** A real HTTP server on a free port. */
export async function listen(handler: RequestListener | Server): Promise<ListeningServer> {
  const server = typeof handler === 'function' ? createServer(handler) : handler;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve());
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    server,
    close: () =>
      new Promise((closed) => {
        server.close(() => closed());
        server.closeAllConnections();
      }),
  };
}

/** Keeps what a test has started, and ends it all after each test. */
export function closeAfterEach(): <T extends { close(): Promise<unknown> }>(resource: T) => T {
  const resources: { close(): Promise<unknown> }[] = [];
  afterEach(async () => {
    for (const resource of resources.splice(0).reverse()) await resource.close();
  });
  return (resource) => {
    resources.push(resource);
    return resource;
  };
}

/** The error that a promise rejects with; an error where it does not. */
export async function rejectionOf(promise: PromiseLike<unknown>): Promise<unknown> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`Expected a rejection, got ${String(value)}`);
}
