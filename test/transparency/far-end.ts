import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';

type Answer = (req: IncomingMessage, res: ServerResponse) => unknown;

/** Faults and forms of answers, by path. */
const ANSWERS: Readonly<Record<string, Answer>> = {
  '/silence': () => {},
  '/silence-after-headers': (_, res) => res.flushHeaders(),
  '/slow': (_, res) => delay(60).then(() => res.end('slow')),
  '/hang-up': (req) => req.socket.destroy(),
  '/reset': (req, res) => {
    res.writeHead(200, { 'content-length': 9 }).write('cut', () => req.socket.resetAndDestroy());
  },
  '/half-headers': (req) => req.socket.end('HTTP/1.1 200 OK\r\ncontent-le'),
  '/cut': (req, res) => {
    res.writeHead(200, { 'content-length': 9 }).write('cut', () => req.socket.end());
  },
  '/garbage': (req) => req.socket.end('SSH-2.0-OpenSSH_9.6\r\n'),
  '/many-headers': (_, res) => res.writeHead(200, { x: 'x'.repeat(20_000) }).end(),
  '/two-lengths': (req) =>
    req.socket.end(
      'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n',
    ),
  '/hints': (_, res) => {
    res.writeEarlyHints({ link: '</style.css>; rel=preload' });
    res.end('hinted');
  },
  '/trailers': (_, res) => {
    res.writeHead(200, { trailer: 'x-sum' }).write('a');
    res.addTrailers({ 'x-sum': '1' });
    res.end();
  },
  '/pieces': async (_, res) => {
    for (const piece of ['one ', 'two ', 'three']) {
      res.write(piece);
      await delay(15);
    }
    res.end();
  },
  '/cookies': (_, res) => res.writeHead(200, { 'set-cookie': ['a=1', 'b=2'], 'x-two': ['1', '2'] }).end('cookies'),
  '/json': (_, res) => res.writeHead(200, { 'content-type': 'application/json' }).end('{"a":[1,2]}'),
  '/bad-json': (_, res) => res.writeHead(200, { 'content-type': 'application/json' }).end('{"a":'),
  '/form': (_, res) => res.writeHead(200, { 'content-type': 'application/x-www-form-urlencoded' }).end('a=1&b=2'),
  '/large': (_, res) => res.end(Buffer.alloc(20_000, 'l')),
  '/events': (_, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' }).write('id: 1\ndata: one\n\n');
    res.end('event: mine\ndata: two\n\n');
  },
  '/echo': async (req, res) => {
    const body = await text(req);
    res.writeHead(200, { 'x-method': req.method, 'x-trailer': req.trailers['x-sum'] ?? '' }).end(body);
  },
  '/count': async (req, res) => res.end(String((await text(req)).length)),
};

/** An answer without the one header that would differ by itself. */
function steady(res: ServerResponse): ServerResponse {
  res.sendDate = false;
  return res;
}

function answer(req: IncomingMessage, res: ServerResponse): void {
  steady(res);
  // A request cut off is the client's to tell.
  req.on('error', () => {});
  const { pathname } = new URL(req.url!, 'http://far');
  const [, status, where] = /^\/status\/(\d+)(?:\/(.*))?/.exec(pathname) ?? [];
  if (status !== undefined) {
    const headers = {
      ...(where !== undefined && { location: `/${where}` }),
      ...(status === '503' && { 'retry-after': '1' }),
    };
    res.writeHead(Number(status), headers).end(`status ${status}`);
    return;
  }
  Promise.resolve(ANSWERS[pathname]?.(req, res) ?? (pathname in ANSWERS ? undefined : res.end('ok'))).catch(() => {});
}

function upgrade(req: IncomingMessage, socket: Duplex): void {
  socket.on('error', () => {});
  const key = req.headers['sec-websocket-key'];
  const accept =
    key === undefined
      ? ''
      : `Sec-WebSocket-Accept: ${createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')}\r\n`;
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ${req.headers.upgrade}\r\n${accept}\r\n`,
  );
  // A frame that says "hello", and one that says goodbye.
  if (key !== undefined) socket.end(Buffer.from('810568656c6c6f880203e8', 'hex'));
  else socket.pipe(socket);
}

/** A server of http with every fault that clients are probed with. */
export function farEnd(): Server {
  const server = createServer({ keepAliveTimeout: 60_000 }, answer);
  server.on('checkExpectation', (_req, res: ServerResponse) => steady(res).writeHead(417).end());
  server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => {
    if (req.url === '/refuses') return void steady(res).writeHead(417).end();
    res.writeContinue();
    answer(req, res);
  });
  server.on('upgrade', upgrade);
  server.on('connect', (_req, socket: Duplex) => {
    socket.on('error', () => {});
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
    socket.pipe(socket);
  });
  server.on('clientError', (_error, socket: Duplex) => socket.destroy());
  return server;
}
