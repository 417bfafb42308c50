import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import {
  connect,
  createServer as createTcpServer,
  type AddressInfo,
  type Server as TcpServer,
  type Socket,
} from 'node:net';

/** A server on a port of its own, and what it has seen. */
export interface TestServer {
  /** `http://127.0.0.1:port` */
  readonly url: string;
  readonly port: number;
  /** Connections made to it so far. */
  readonly connections: () => number;
  readonly server: Server | TcpServer;
  close(): Promise<void>;
}

/** Serves HTTP. */
export function serve(listener: RequestListener): Promise<TestServer> {
  return listen(createServer(listener));
}

/** Speaks TCP, for answers that no HTTP server would give. */
export function serveRaw(onConnection: (socket: Socket) => void): Promise<TestServer> {
  return listen(createTcpServer(onConnection));
}

export async function listen(server: Server | TcpServer, scheme = 'http'): Promise<TestServer> {
  const sockets = new Set<Socket>();
  let connections = 0;
  server.on('connection', (socket: Socket) => {
    connections++;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `${scheme}://127.0.0.1:${port}`,
    port,
    connections: () => connections,
    server,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A proxy for tunnels (CONNECT) and for plain requests with an absolute path; `sawConnect` counts the first. */
export async function serveProxy(): Promise<TestServer & { readonly tunnels: () => number }> {
  let tunnels = 0;
  const server = createServer((req, res) => {
    const { hostname, port, pathname } = new URL(req.url!);
    const upstream = connect(Number(port), hostname, () => {
      upstream.write(`${req.method} ${pathname} HTTP/1.1\r\nHost: ${hostname}\r\nConnection: close\r\n\r\n`);
      upstream.pipe(res.socket!);
    });
    upstream.on('error', () => res.writeHead(502).end());
  });
  server.on('connect', (req, client: Socket) => {
    tunnels++;
    const [hostname, port] = req.url!.split(':');
    const upstream = connect(Number(port), hostname, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      upstream.pipe(client).pipe(upstream);
    });
    upstream.on('error', () => client.end('HTTP/1.1 502 Bad Gateway\r\n\r\n'));
    client.on('error', () => upstream.destroy());
  });
  return { ...(await listen(server)), tunnels: () => tunnels };
}

/** The URL of a port that nothing listens on. */
export async function deadUrl(): Promise<string> {
  const server = await serve(() => {});
  await server.close();
  return server.url;
}
