import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer as createWebServer, type IncomingMessage } from 'node:http';
import { createServer as createHttp2Server, type Http2ServerRequest } from 'node:http2';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const HOST = '127.0.0.1';

/** What stands at the other end of calls, on a port of its own. */
export interface FarEnd {
  readonly port: number;
  stop(): Promise<void>;
}

// In the form of every service whose SDK is among the clients.
const ANSWER = JSON.stringify({ id: 'answer', choices: [], content: [], usage: {} });
const LAST_EVENT = JSON.stringify({ type: 'message_stop', id: 'DONE', choices: [] });
const SIZE_OF_UNREAD = 2_000_000;
const RESETS_AFTER_MS = 200;
/** How long the answers of a server take at which callers wait for news. */
const POLL_MS = 1_500;

/** What answers of both versions have in common. */
interface Response {
  setHeader(name: string, value: string): unknown;
  writeHead(status: number, headers: Readonly<Record<string, string | number>>): unknown;
  write(text: string, done?: () => void): unknown;
  end(text: string): unknown;
}

type Answer = (socket: Socket, response: Response, nth: Nth) => void;

/** How many requests there were before, from all callers and on the same connection. */
interface Nth {
  readonly ofAll: number;
  readonly onConnection: number;
}

const good: Answer = (_, response) => {
  response.setHeader('content-type', 'application/json');
  response.end(ANSWER);
};

const answersFirst: Answer = (socket, response, nth) => {
  if (nth.ofAll === 0) good(socket, response, nth);
};

/** What web servers do to calls, by the name of what happens. */
const WEB: Readonly<Record<string, Answer>> = {
  warm: good,
  silent: answersFirst,
  timeout: answersFirst,
  cancel: answersFirst,
  reset: (socket) => void sleep(RESETS_AFTER_MS).then(() => socket.resetAndDestroy()),
  stale: (socket, response, nth) => {
    if (nth.onConnection === 0) good(socket, response, nth);
    else socket.resetAndDestroy();
  },
  unread: (_, response) => {
    response.writeHead(200, { 'content-length': SIZE_OF_UNREAD });
    response.write('x'.repeat(SIZE_OF_UNREAD));
  },
  cut: (socket, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': 1_000 });
    response.write(ANSWER, () => socket.end());
  },
  events: (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(`event: message_stop\ndata: ${LAST_EVENT}\n\n`);
  },
  poll: (socket, response, nth) => {
    if (nth.ofAll === 0) void sleep(POLL_MS).then(() => good(socket, response, nth));
  },
};

/** A web server that does one thing to its calls. */
export async function serveWeb(happening: string): Promise<FarEnd> {
  const answer = answering(happening);
  return listening(
    createWebServer((request: IncomingMessage, response) => {
      request.resume();
      answer(request.socket, response);
    }),
  );
}

/** The same by HTTP/2, without TLS. */
export async function serveHttp2(happening: string): Promise<FarEnd> {
  const answer = answering(happening);
  // What requests call their socket is one that cannot be reset.
  const sockets = new Map<number | undefined, Socket>();
  const server = createHttp2Server((request: Http2ServerRequest, response) => {
    request.on('error', () => {}).resume();
    response.stream.on('error', () => {});
    answer(sockets.get(request.socket.remotePort)!, response);
  });
  server.on('connection', (socket: Socket) => sockets.set(socket.remotePort, socket));
  server.on('session', (session) => session.on('error', () => {}));
  return listening(server);
}

function answering(happening: string): (socket: Socket, response: Response) => void {
  const answer = WEB[happening]!;
  const onConnection = new WeakMap<Socket, number>();
  let ofAll = 0;
  return (socket, response) => {
    const before = onConnection.get(socket) ?? 0;
    onConnection.set(socket, before + 1);
    answer(socket, response, { ofAll: ofAll++, onConnection: before });
  };
}

/** Takes connections, and whatever is said there, and never says anything. */
export function serveSilence(): Promise<FarEnd> {
  return listening(createServer((socket) => socket.resume()));
}

/** Ports where no connection can be made: the queue of a process that accepts none is full, so that SYNs are dropped. */
export async function serveNobody(ports: number): Promise<readonly FarEnd[]> {
  const backlog = 1;
  const source = `
    const { createServer } = require('node:net');
    const servers = Array.from({ length: ${ports} }, () =>
      createServer().listen({ port: 0, host: '${HOST}', backlog: ${backlog} }),
    );
    setTimeout(() => {
      require('node:fs').writeSync(1, JSON.stringify(servers.map((server) => server.address().port)));
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    }, 10);`;
  const child = spawn(process.execPath, ['--eval', source], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const [text] = (await once(child.stdout, 'data')) as [Buffer];
  return Promise.all(
    (JSON.parse(String(text)) as number[]).map(async (port): Promise<FarEnd> => {
      const waiting = Array.from({ length: backlog + 1 }, () => connect(port, HOST));
      await Promise.all(waiting.map((socket) => once(socket, 'connect')));
      return {
        port,
        stop: async () => {
          for (const socket of waiting) socket.on('error', () => {}).destroy();
          child.kill('SIGKILL');
          await exited;
        },
      };
    }),
  );
}

/** Whatever a client asks that has this word in it meets with what happens; everything else goes through. */
export const MARK = 'verdict';

/**
 * Stands before a real server and does one thing to each call that has the mark.
 *
 * @param half of an answer
 */
export function serveProxy(upstreamPort: number, happening: string, half: Buffer): Promise<FarEnd> {
  let marked = 0;
  const server = createServer((client) => {
    const upstream = connect(upstreamPort, HOST);
    const bothEnd = () => {
      client.destroy();
      upstream.destroy();
    };
    client.on('error', bothEnd).on('close', bothEnd);
    upstream.on('error', bothEnd).on('close', bothEnd);
    client.on('data', (chunk) => {
      if (!chunk.includes(MARK)) return void upstream.write(chunk);
      const nth = marked++;
      if (happening === 'reset') void sleep(RESETS_AFTER_MS).then(() => client.resetAndDestroy());
      else if (happening === 'stale' && nth === 0) client.resetAndDestroy();
      else if (happening === 'cut') client.end(half);
      else if (happening === 'stale') upstream.write(chunk);
    });
    upstream.on('data', (chunk) => void (client.writable && client.write(chunk)));
  });
  return listening(server);
}

async function listening(server: Server): Promise<FarEnd> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  });
  server.listen(0, HOST);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    stop: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
