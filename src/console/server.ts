import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

export interface ConsoleServer {
  /** Where it listens, as an URL without a path. */
  readonly url: string;
  close(): Promise<void>;
}

/**
 * A small read-only server for people and scrapers. It never keeps the process alive.
 *
 * @param routes handlers by path
 * @throws the error of `listen`, where the address cannot be had
 */
export function startConsole(
  host: string,
  port: number,
  routes: Readonly<Record<string, Handler>>,
): Promise<ConsoleServer> {
  const server = createServer((request, response) => {
    const path = (request.url ?? '/').split('?', 1)[0]!;
    const handler = Object.hasOwn(routes, path) ? routes[path] : undefined;
    if (handler === undefined) respond(response, 404, `Not found. Here are: ${Object.keys(routes).join(', ')}\n`);
    else if (request.method !== 'GET' && request.method !== 'HEAD') respond(response, 405, 'Read only\n');
    else handler(request, response);
  });
  server.on('connection', (socket) => socket.unref());
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // Exclusive: a cluster worker would otherwise ask its primary for the port, which the application sees as an event.
    server.listen({ port, host, exclusive: true }, () => {
      const address = server.address() as AddressInfo;
      const authority = address.family === 'IPv6' ? `[${address.address}]` : address.address;
      resolve({
        url: `http://${authority}:${address.port}`,
        close: () =>
          new Promise((closed) => {
            server.close(() => closed());
            server.closeAllConnections();
          }),
      });
    });
    server.unref();
  });
}

function respond(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' });
  response.end(text);
}
