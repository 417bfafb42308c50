import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net, { type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';

/** The key and the self-signed certificate of `localhost`, made for these tests only. */
export const CERTIFICATE = {
  key: readFileSync(join(__dirname, '../fixtures/localhost.key.pem')),
  cert: readFileSync(join(__dirname, '../fixtures/localhost.cert.pem')),
};

export interface Upstream<Server extends net.Server = net.Server> {
  readonly server: Server;
  readonly port: number;
  /** As a breaker is named. */
  readonly origin: string;
  /** Connections accepted so far. */
  readonly connections: () => number;
  readonly stop: () => Promise<void>;
}

const running = new Set<{ stop(): Promise<void> }>();

/** An http server on a port of its own choice. */
export function serve(handler: http.RequestListener): Promise<Upstream<http.Server>> {
  return start(http.createServer(handler), 'http');
}

/** An https server with a self-signed certificate: give clients `ca: CERTIFICATE.cert`. */
export function serveTls(handler: http.RequestListener): Promise<Upstream<https.Server>> {
  return start(https.createServer(CERTIFICATE, handler), 'https');
}

/**
 * A server that sends bytes, not answers: for faults that no http server makes.
 *
 * @param onRequest is called with each chunk that arrives, how many arrived before on this connection, and the connection's number
 */
export function serveRaw(
  onRequest: (socket: Socket, text: string, index: number, connection: number) => void,
): Promise<Upstream> {
  let connections = 0;
  const server = net.createServer((socket) => {
    const connection = connections++;
    let index = 0;
    socket.on('error', () => {});
    socket.on('data', (chunk) => onRequest(socket, chunk.toString('latin1'), index++, connection));
  });
  return start(server, 'http');
}

/** Starts a server on any free port of the loopback interface, or on the path of a unix socket. */
export async function start<Server extends net.Server>(
  server: Server,
  scheme: string,
  path?: string,
): Promise<Upstream<Server>> {
  const sockets = new Set<Socket>();
  let connections = 0;
  server.on('connection', (socket: Socket) => {
    connections++;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    if (path === undefined) server.listen(0, '127.0.0.1', resolve);
    else server.listen(path, resolve);
  });
  const port = path === undefined ? (server.address() as AddressInfo).port : 0;
  const upstream = {
    server,
    port,
    origin: path === undefined ? `${scheme}://127.0.0.1:${port}` : `unix:${path}`,
    connections: () => connections,
    stop: () =>
      new Promise<void>((resolve) => {
        running.delete(upstream);
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
  running.add(upstream);
  return upstream;
}

/** Stops every server that is still running. */
export async function stopServers(): Promise<void> {
  await Promise.all(Array.from(running, (upstream) => upstream.stop()));
}

/** A port where nothing listens: taken a moment ago and given back. */
export async function findDeadPort(): Promise<number> {
  const { port, stop } = await start(net.createServer(), 'http');
  await stop();
  return port;
}
