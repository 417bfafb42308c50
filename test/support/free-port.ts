import { createServer } from 'node:net';

const FIRST_PORT = 15_000;
const LAST_PORT = 32_000;

/**
 * A port below those that the system gives to outgoing connections: one of these takes the port of a server that is down for
 * a moment, or a client connects to itself there.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT));
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
