import type { IncomingMessage, ServerResponse } from 'node:http';
import { PACKAGE } from '../version.js';
import { Attempts } from './attempts.js';
import { hasToken, isSameOrigin } from './access.js';
import { JSON_TYPE, send, sendJson, sendShared, sendText } from './respond.js';
import { jsonList, SharedAnswer } from './shared-answer.js';
import { ACTIONS, type BreakerDetail, type BreakerView, type TraceView } from './api.js';
import { countStates } from '../breaker/registry.js';
import { LiveEvents } from './event-stream.js';
import { otlpPieces } from './otlp.js';
import { LimitedLog } from './limited-log.js';
import type { Workers } from './overview.js';
import { PageFiles } from './page-files.js';
import type { Console } from './server.js';
import { viewTrace } from './serialize.js';
import type { Question, ThreadConsole, ThreadSource } from './thread-console.js';

/** What the console shows. */
export interface ConsoleParts {
  readonly source: ThreadSource;
  /** This thread's own part. */
  readonly own: ThreadConsole;
  /** The other threads, and the workers of a cluster. */
  readonly workers: Workers;
}

export interface ConsoleSource extends ConsoleParts {
  /** What the process calls itself. */
  readonly service: string;
  /** Without it, the console is read-only. */
  readonly adminToken: string | undefined;
  /** Clients that have been patched so far. */
  readonly attachedClients: ReadonlySet<string>;
}

const BREAKERS = '/breakers/';
const PAGE = '/page/';
const INDEX = ['/', '/metrics', '/breakers', '/breakers/{name}', '/healthz', '/traces', '/traces/otlp', '/events'];
const MAX_REASON = 200;

/** Everything that people see at the port of the preload, besides metrics. */
export function createConsole({ source, own, workers, adminToken, ...about }: ConsoleSource): Console {
  const { registry, history } = source;
  const files = new PageFiles();
  const attempts = new Attempts();
  const wrongTokens = new LimitedLog('warn');
  const live = new LiveEvents(own, workers, history.transitions, {
    service: about.service,
    version: PACKAGE.version,
    admin: adminToken !== undefined,
  });

  const breakers = new SharedAnswer(async () => {
    const [others, silent] = await askAll<readonly BreakerView[]>({ ask: 'breakers' });
    const theirs = others.flatMap(({ worker, answer }) => answer.map((view) => ({ ...view, worker })));
    const head = {
      now: new Date().toISOString(),
      service: about.service,
      guarding: [...about.attachedClients],
      ...countStates([...registry, ...theirs]),
      // Only where there are such: they stand still, and what they have is not in the list.
      ...(silent.length > 0 && { silent }),
    };
    // All there are now: they may change while this is written.
    const views = [...Array.from(registry, (breaker) => () => own.view(breaker)), ...theirs.map((view) => () => view)];
    return jsonList(head, 'breakers', views, (view) => view());
  });
  const latestTraces = new SharedAnswer(async () => {
    const [others] = await askAll<readonly TraceView[]>({ ask: 'traces' });
    const theirs = others.flatMap(({ worker, answer }) => answer.map((trace) => ({ ...trace, worker })));
    return jsonList(
      {},
      'traces',
      [...own.traces.map((trace) => () => viewTrace(trace)), ...theirs.map((trace) => () => trace)],
      (trace) => trace(),
    );
  });

  const download = new SharedAnswer(() => otlpPieces(own.traces));

  /** What workers answer, and those that do not. */
  async function askAll<T>(
    question: Question,
    only?: string,
  ): Promise<readonly [answers: readonly { worker: string; answer: T }[], silent: readonly string[]]> {
    const answers: { worker: string; answer: T }[] = [];
    const silent: string[] = [];
    for (const { worker, answer } of await workers.ask(question, only)) {
      if (answer === undefined) silent.push(worker);
      else if (answer !== null) answers.push({ worker, answer: answer as T });
    }
    return [answers, silent];
  }

  const routes: Readonly<Record<string, (request: IncomingMessage, response: ServerResponse, url: URL) => void>> = {
    '/': (_, response) => sendFile(response, 'index.html'),
    '/breakers': (_, response) => sendShared(response, 'The list of breakers', JSON_TYPE, breakers),
    '/events': (request, response) => live.serve(request, response),
    '/traces': (_, response) => sendShared(response, 'The list of traces', JSON_TYPE, latestTraces),
    '/traces/otlp': (_, response, url) => {
      const traceId = url.searchParams.get('trace');
      const one = own.traces.filter((trace) => trace.traceId === traceId);
      const answer = traceId === null ? download : new SharedAnswer(() => otlpPieces(one));
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
    if (path.startsWith(BREAKERS)) return sendDetail(decoded(path.slice(BREAKERS.length)), workerIn(url), response);
    notFound(response);
  }

  function sendDetail(name: string | undefined, only: string | undefined, response: ServerResponse): void {
    const detail = name === undefined || (only ?? '') !== '' ? null : own.detail(name);
    if (detail !== null) return sendJson(response, 200, detail);
    if (name === undefined || only === '') return noSuchBreaker(response);
    void reply(response, async () => {
      const [[first]] = await askAll<BreakerDetail>({ ask: 'detail', name }, only);
      if (first === undefined) return noSuchBreaker(response);
      const { worker, answer } = first;
      const transitions = answer.transitions.map((transition) => ({ ...transition, worker }));
      sendJson(response, 200, { ...answer, worker, transitions });
    });
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
    const reason = new URL(request.url!, 'http://localhost').searchParams.get('reason')?.trim() ?? '';
    if (reason.length > MAX_REASON || /[\p{Cc}\p{Cf}\u2028\u2029]/u.test(reason)) {
      return sendText(
        response,
        400,
        `The reason has ${MAX_REASON} characters at most, and none that controls a terminal\n`,
      );
    }
    const name = decoded(path.slice(BREAKERS.length, slash));
    if (name === undefined) return noSuchBreaker(response);
    const only = workerIn(request.url!);
    void reply(response, async () => {
      const isMeant = (only ?? '') === '';
      const mine = isMeant ? own.act(name, action, reason) : null;
      const [others, silent] =
        only === '' ? [[], []] : await askAll<BreakerView>({ ask: 'act', name, action, reason }, only);
      const first = mine ?? (others[0] && { ...others[0].answer, worker: others[0].worker });
      if (first === undefined && silent.length === 0) return noSuchBreaker(response);
      // Whoever opens a circuit by hand wants calls to be rejected.
      const mode = [mine, ...others.map(({ answer }) => answer)].find((view) => view && view.mode !== 'enforce')?.mode;
      const note = `The circuit is open, and rejects no call: its mode is ${mode}`;
      sendJson(response, 200, {
        ...first,
        ...(action === 'open' && mode !== undefined && { note }),
        ...(others.length > 0 && { workers: others.map(({ worker }) => worker) }),
        // They have been told, and do it once they listen again.
        ...(silent.length > 0 && { silent }),
      });
    });
  }

  async function reply(response: ServerResponse, answer: () => Promise<void>): Promise<void> {
    try {
      await answer();
    } catch (error) {
      failures.write('the console failed to answer', error);
      if (response.headersSent) response.destroy();
      else sendText(response, 500, 'The console failed to answer. The log says why.\n');
    }
  }

  function sendFile(response: ServerResponse, name: string): void {
    const file = files.get(name);
    if (file === undefined) notFound(response);
    else send(response, 200, file.type, file.body);
  }

  return { handle, close: () => live.close() };
}

const failures = new LimitedLog('error');

/** @returns `undefined` for a malformed escape: no name */
function decoded(encoded: string): string | undefined {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return undefined;
  }
}

/** The worker that a request is about; empty for the process that has the port, `undefined` for any. */
function workerIn(url: string): string | undefined {
  return new URL(url, 'http://localhost').searchParams.get('worker') ?? undefined;
}

function noSuchBreaker(response: ServerResponse): void {
  sendText(response, 404, 'There is no such breaker. /breakers lists them\n');
}

function notFound(response: ServerResponse): void {
  sendText(response, 404, `Not found. Here are: ${INDEX.join(', ')}\n`);
}
