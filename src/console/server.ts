import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ConsoleReach } from '../environment.js';
import { Connections } from './connections.js';
import { giveWay } from './give-way.js';
import { isFromThisMachine, isLoopback, isMeantForUs, namesThisMachine } from './access.js';
import { LimitedLog } from './limited-log.js';
import type { HealthAnswers } from './health.js';
import { sendText } from './respond.js';

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** What is behind the door. */
export interface Console {
  readonly handle: Handler;
  close(): void;
}

export interface ConsoleOptions {
  readonly host: string;
  readonly port: number;
  /** Who may see more than metrics. */
  readonly reach: ConsoleReach;
  /** Names that this service goes by, besides `localhost` and its addresses; in lower case. */
  readonly hosts: readonly string[];
  /** What scrapers read; without it, the port is the console's alone. */
  readonly metrics?: Handler;
  /** Makes what judges health, when somebody asks for it for the first time. */
  readonly health: () => Pick<HealthAnswers, 'answer'>;
  /** Makes the rest, when somebody asks for it for the first time. */
  readonly open: () => Console;
  /** Where the rest is, if it is not here: then there is `/healthz` beside metrics, and nothing else. */
  readonly consoleIsAt?: number | undefined;
  /** Hears that the application listens on the port itself, for which it has been closed here. */
  readonly onGivenUp?: (port: number) => void;
  /** How long a request may take to arrive, in milliseconds; default 10,000. A connection may be idle three times as long. */
  readonly patience?: number;
}

export interface ConsoleServer {
  /** Where it listens, as an URL without a path. */
  readonly url: string;
  close(): Promise<void>;
}

const METRICS_PATH = '/metrics';
const HEALTH_PATH = '/healthz';

// A request of ours is a few hundred bytes and has no body worth waiting for.
const PATIENCE_MS = 10_000;
/**
 * A small server for people and scrapers: its door. It never keeps the process alive.
 *
 * Bound to a network, it shows `/metrics` and, without names, `/healthz` there and the rest to this machine alone, unless it is told otherwise.
 *
 * @throws the error of `listen`, where the address cannot be had
 */
export function startConsole(options: ConsoleOptions): Promise<ConsoleServer> {
  const { host, port, reach, hosts, metrics, consoleIsAt, patience = PATIENCE_MS } = options;
  let console: Console | undefined;
  let health: Pick<HealthAnswers, 'answer'> | undefined;
  let boundToLoopback = true;
  const connections = new Connections();
  const failures = new LimitedLog('error');

  const limits = {
    headersTimeout: patience,
    requestTimeout: patience,
    keepAliveTimeout: patience / 2,
    connectionsCheckingInterval: patience / 2,
  };
  const server = createServer(limits, (request, response) => {
    connections.serve(request, response, () => answer(request, response));
  });

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const path = (request.url ?? '/').split('?', 1)[0]!;
    const isForAll = path === HEALTH_PATH || (path === METRICS_PATH && metrics !== undefined);
    // Open to the network on purpose, and scrapers know a service by names that nobody has told us.
    if (isForAll && !boundToLoopback) return serveAll(path, request, response);
    if (!isMeantForUs(request.headers.host, hosts)) {
      const name = JSON.stringify(request.headers.host ?? '');
      return sendText(
        response,
        421,
        `This service does not go by the name ${name}. If it does, name it in OTEL_BREAKER_CONSOLE_HOSTS.\n`,
      );
    }
    if (isForAll) return serveAll(path, request, response);
    const open = metrics === undefined ? HEALTH_PATH : `${METRICS_PATH}, ${HEALTH_PATH}`;
    if (consoleIsAt !== undefined) {
      return sendText(
        response,
        404,
        `Not found. Here are: ${open}. The console has a port of its own: ${consoleIsAt}\n`,
      );
    }
    if (reach === 'off') return sendText(response, 404, `Not found. Here are: ${open}\n`);
    if (!maySeeConsole(request)) {
      return sendText(
        response,
        403,
        `Only ${METRICS_PATH} and ${HEALTH_PATH} are open to the network. OTEL_BREAKER_CONSOLE=network opens the console, too.\n`,
      );
    }
    orSayFailed(response, () => {
      console ??= options.open();
      console.handle(request, response);
    });
  }

  function maySeeConsole(request: IncomingMessage): boolean {
    if (reach === 'off' || !isMeantForUs(request.headers.host, hosts)) return false;
    return reach === 'network' || (isFromThisMachine(request) && (boundToLoopback || namesThisMachine(request)));
  }

  /** What is open wherever scrapers are let in: metrics and, without names for most, health. */
  function serveAll(path: string, request: IncomingMessage, response: ServerResponse): void {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return sendText(response, 405, 'Read only\n', { allow: 'GET, HEAD' });
    }
    if (path === METRICS_PATH) return metrics!(request, response);
    orSayFailed(response, () => {
      health ??= options.health();
      health.answer(request, response, maySeeConsole(request));
    });
  }

  function orSayFailed(response: ServerResponse, act: () => void): void {
    try {
      act();
    } catch (error) {
      failures.write('the console failed to answer', error);
      if (response.headersSent) response.destroy();
      else sendText(response, 500, 'The console failed to answer. The log says why.\n');
    }
  }

  // Pages are sent something every second.
  server.setTimeout(3 * patience);
  server.on('connection', (socket) => {
    socket.unref();
    connections.add(socket);
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // Exclusive: a cluster worker would otherwise ask its primary for the port, which the application sees as an event.
    server.listen({ port, host, exclusive: true }, () => {
      const address = server.address() as AddressInfo;
      boundToLoopback = isLoopback(address.address);
      const authority = address.family === 'IPv6' ? `[${address.address}]` : address.address;
      const endGivingWay = giveWay({
        ...address,
        close: () => {
          void close();
          options.onGivenUp?.(address.port);
        },
      });
      const close = () =>
        new Promise<void>((closed) => {
          endGivingWay();
          console?.close();
          server.close(() => closed());
          server.closeAllConnections();
        });
      resolve({ url: `http://${authority}:${address.port}`, close });
    });
    server.unref();
  });
}
