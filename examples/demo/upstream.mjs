// The service that the app depends on. The demo kills it and brings it back.
import { createServer } from 'node:http';

const server = createServer((_, answer) => answer.end('in stock'));
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => console.log(server.address().port));
