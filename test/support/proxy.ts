import { createServer } from 'node:http';
import { connect, type Socket } from 'node:net';
import { start, type Upstream } from './servers.js';

export interface Proxy extends Upstream {
  /** Tunnels asked for so far. */
  readonly tunnels: () => number;
}

/** A proxy for tunnels (CONNECT) and for plain requests whose path is a URL. */
export async function serveProxy(): Promise<Proxy> {
  let tunnels = 0;
  const server = createServer((req, res) => {
    const { hostname, port, host, pathname } = new URL(req.url!);
    const upstream = connect(Number(port), hostname, () => {
      upstream.write(`${req.method} ${pathname} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      upstream.pipe(res.socket!);
    });
    upstream.on('error', () => res.writeHead(502).end());
  });
  server.on('connect', (req, client: Socket) => {
    tunnels++;
    const { hostname, port } = new URL(`http://${req.url}`);
    const upstream = connect(Number(port), hostname, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      upstream.pipe(client).pipe(upstream);
    });
    upstream.on('error', () => client.end('HTTP/1.1 502 Bad Gateway\r\n\r\n'));
    client.on('error', () => upstream.destroy());
  });
  return Object.assign(await start(server, 'http'), { tunnels: () => tunnels });
}
