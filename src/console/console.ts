import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
import type { Explanation } from '../rules/rule-set.js';
import { log } from '../telemetry/log.js';
import { PACKAGE } from '../version.js';
import { Attempts } from './attempts.js';
import { hasToken, isSameOrigin } from './access.js';
import { JSON_TYPE, send, sendJson, sendShared, sendText } from './respond.js';
import { jsonList, SharedAnswer } from './shared-answer.js';
import { ACTIONS, type Action } from './api.js';
import { LiveEvents, type LiveSource } from './event-stream.js';
import { otlpPieces } from './otlp.js';
import { LimitedLog } from './limited-log.js';
import { PageFiles } from './page-files.js';
import type { Console } from './server.js';
import { viewBreaker, viewBreakerInFull, viewTrace } from './serialize.js';

export interface ConsoleSource extends LiveSource {
  /** What the process calls itself. */
  readonly service: string;
  /** Without it, the console is read-only. */
  readonly adminToken: string | undefined;
  /** Clients that have been patched so far. */
  readonly attachedClients: ReadonlySet<string>;
  /** What the rules know of a breaker. */
  readonly explain: (breaker: CircuitBreaker) => Explanation | undefined;
}

const BREAKERS = '/breakers/';
const PAGE = '/page/';
const INDEX = ['/', '/metrics', '/breakers', '/breakers/{name}', '/healthz', '/traces', '/traces/otlp', '/events'];

/** Everything that people see at the port of the preload, besides metrics. */
export function createConsole(source: ConsoleSource): Console {
  const { registry, transitions, traces, adminToken } = source;
  const files = new PageFiles();
  const attempts = new Attempts();
  const wrongTokens = new LimitedLog('warn');
  const live = new LiveEvents(source, {
    service: source.service,
    version: PACKAGE.version,
    admin: adminToken !== undefined,
  });

  const breakers = new SharedAnswer(() =>
    jsonList(
      {
        now: new Date().toISOString(),
        service: source.service,
        guarding: [...source.attachedClients],
        ...registry.stateCounts(),
      },
      'breakers',
      // All there are now: they may change while this is written.
      Array.from(registry),
      viewBreaker,
    ),
  );
  const latestTraces = new SharedAnswer(() => jsonList({}, 'traces', traces.traces(), viewTrace));
  const download = new SharedAnswer(() => otlpPieces(traces.traces()));

  const routes: Readonly<Record<string, (request: IncomingMessage, response: ServerResponse, url: URL) => void>> = {
    '/': (_, response) => sendFile(response, 'index.html'),
    '/breakers': (_, response) => sendShared(response, 'The list of breakers', JSON_TYPE, breakers),
    '/events': (request, response) => live.serve(request, response),
    '/traces': (_, response) => sendShared(response, 'The list of traces', JSON_TYPE, latestTraces),
    '/traces/otlp': (_, response, url) => {
      const traceId = url.searchParams.get('trace');
      const one = traceId === null ? undefined : traces.get(traceId);
      const answer = traceId === null ? download : new SharedAnswer(() => otlpPieces(one === undefined ? [] : [one]));
      sendShared(response, 'The download of traces', JSON_TYPE, answer, {
        'content-disposition': 'attachment; filename="otel-breaker-traces.json"',
      });
    },
  };

  function handle(request: IncomingMessage, response: ServerResponse): void {
    // Node gives up no memory for a body that nobody asked for.
    request.resume();
    const { method, url = '/' } = request;
    const path = url.split('?', 1)[0]!;
    if (method === 'POST') return act(path, request, response);
    if (method !== 'GET' && method !== 'HEAD') {
      return sendText(response, 405, 'Read only\n', { allow: 'GET, HEAD' });
    }
    if (Object.hasOwn(routes, path)) return routes[path]!(request, response, new URL(url, 'http://localhost'));
    if (path.startsWith(PAGE)) return sendFile(response, path.slice(PAGE.length));
    if (path.startsWith(BREAKERS)) {
      const breaker = breakerNamed(path.slice(BREAKERS.length));
      if (breaker === undefined) return sendText(response, 404, 'There is no such breaker. /breakers lists them\n');
      return sendJson(response, 200, viewBreakerInFull(breaker, transitions.latest(breaker), source.explain(breaker)));
    }
    notFound(response);
  }

  function act(path: string, request: IncomingMessage, response: ServerResponse): void {
    const slash = path.lastIndexOf('/');
    const action = ACTIONS.find((known) => known === path.slice(slash + 1));
    if (!path.startsWith(BREAKERS) || slash < BREAKERS.length || action === undefined) {
      return Object.hasOwn(routes, path) || path.startsWith(BREAKERS)
        ? sendText(response, 405, 'Read only\n', { allow: 'GET, HEAD' })
        : notFound(response);
    }
    // As if there were no such thing: whoever set no token wants nobody to find it.
    if (adminToken === undefined) return notFound(response);
    if (!isSameOrigin(request)) return sendText(response, 403, 'Pages of other origins may not do this\n');
    if (!hasToken(request, adminToken)) {
      wrongTokens.write('the console refused to change a circuit: the token was missing or wrong');
      if (attempts.isTooMany(request.socket.remoteAddress ?? '')) {
        return sendText(response, 429, 'Too many wrong tokens within a minute\n', { 'retry-after': '60' });
      }
      return sendText(response, 401, 'This needs the token: Authorization: Bearer …\n', {
        'www-authenticate': `Bearer realm="${PACKAGE.name}"`,
      });
    }
    const breaker = breakerNamed(path.slice(BREAKERS.length, slash));
    if (breaker === undefined) return sendText(response, 404, 'There is no such breaker. /breakers lists them\n');
    perform(action, breaker);
    log.info(`circuit "${breaker.name}": ${action}, through the console`);
    const { mode } = breaker.config;
    // Whoever opens a circuit by hand wants calls to be rejected.
    const note = `The circuit is open, and rejects no call: its mode is ${mode}`;
    sendJson(response, 200, { ...viewBreaker(breaker), ...(action === 'open' && mode !== 'enforce' && { note }) });
  }

  function breakerNamed(encoded: string): CircuitBreaker | undefined {
    try {
      return registry.get(decodeURIComponent(encoded));
    } catch {
      // A malformed escape: no name.
      return undefined;
    }
  }

  function sendFile(response: ServerResponse, name: string): void {
    const file = files.get(name);
    if (file === undefined) notFound(response);
    else send(response, 200, file.type, file.body);
  }

  return { handle, close: () => live.close() };
}

function perform(action: Action, breaker: CircuitBreaker): void {
  if (action === 'open') breaker.forceOpen();
  else if (action === 'reset') breaker.reset();
  else breaker.reconfigure(Object.freeze({ ...breaker.config, mode: action }));
}

function notFound(response: ServerResponse): void {
  sendText(response, 404, `Not found. Here are: ${INDEX.join(', ')}\n`);
}
