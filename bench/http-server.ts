/** Answers every request with a hundred bytes, and tells its port to its parent. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const BODY = Buffer.alloc(100, 'x');
const server = createServer((_, response) => response.writeHead(200, { 'content-length': BODY.length }).end(BODY));
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => process.send!((server.address() as AddressInfo).port));
