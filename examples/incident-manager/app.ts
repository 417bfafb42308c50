/** The service itself. Addresses come from the environment; `BREAKERS=explicit` uses the wrappers in place of the preload. */
import type { AddressInfo } from 'node:net';
import { globalRegistry } from 'otel-breaker';
import { connect, connectWithBreakers, type Addresses } from './dependencies.js';
import { createHttpApi } from './http-api.js';
import { IncidentService } from './service.js';

const { PORT = '0', BREAKERS = 'preload', OPEN_DURATION, ...environment } = process.env;

const connectAll = BREAKERS === 'explicit' ? connectWithBreakers : connect;
const dependencies = connectAll(environment as NodeJS.ProcessEnv & Addresses, OPEN_DURATION);
const server = createHttpApi(new IncidentService(dependencies), globalRegistry);

server.listen(Number(PORT), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

process.once('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
  void dependencies.close();
});
