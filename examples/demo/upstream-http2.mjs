// As upstream.mjs, over HTTP/2.
import { createServer } from 'node:http2';

const server = createServer((_, answer) => answer.end('in stock'));
server.on('sessionError', () => {});
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => console.log(server.address().port));
