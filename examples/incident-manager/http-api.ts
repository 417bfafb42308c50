import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { CircuitBreakerRegistry } from 'otel-breaker';
import type { IncidentFilter, IncidentReport, Page } from './domain.js';
import type { IncidentService } from './service.js';

/**
 * `POST /incidents` · `GET /incidents/:id` · `GET /incidents?severity=&status=&source=&offset=&limit=` ·
 * `POST /announcements` · `GET /health`
 */
export function createHttpApi(service: IncidentService, registry: CircuitBreakerRegistry): Server {
  return createServer((request, response) => {
    answer(request, service, registry).then(
      ({ status, body }) => respond(response, status, body),
      (error: unknown) => respond(response, error instanceof SyntaxError ? 400 : 500, { error: String(error) }),
    );
  });
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

async function answer(
  request: IncomingMessage,
  service: IncidentService,
  registry: CircuitBreakerRegistry,
): Promise<Answer> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
  const route = `${request.method} ${pathname}`;
  if (route === 'GET /health') return { status: 200, body: health(registry) };
  if (route === 'POST /incidents') {
    const report = await readReport(request);
    if (report === undefined) return { status: 400, body: { error: 'Needs title, description and source' } };
    const { value, degraded } = await service.report(report);
    return { status: value.occurrences === 1 ? 201 : 200, body: { incident: value, degraded } };
  }
  if (route === 'POST /announcements') {
    const { degraded } = await service.announce(await readText(request));
    return { status: 202, body: { degraded } };
  }
  if (route === 'GET /incidents') {
    const { value, degraded } = await service.list(filterOf(searchParams), pageOf(searchParams));
    return { status: 200, body: { ...value, degraded } };
  }
  const id = /^GET \/incidents\/([^/]+)$/.exec(route)?.[1];
  if (id === undefined) return { status: 404, body: { error: 'No such page' } };
  const { value, degraded } = await service.get(id);
  if (value === undefined) return { status: 404, body: { error: 'No such incident', degraded } };
  return { status: 200, body: { incident: value, degraded } };
}

/**
 * An open circuit is no reason to restart the service: it still answers, with less. So the status is 200, and monitoring
 * reads `healthy`.
 */
function health(registry: CircuitBreakerRegistry): object {
  const circuits = registry.getAllStats().map(({ name, state, calls }) => ({ name, state, ...calls }));
  return { ...registry.healthCheck(), circuits };
}

async function readText(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += chunk;
  return text;
}

async function readReport(request: IncomingMessage): Promise<IncidentReport | undefined> {
  const report = JSON.parse(await readText(request)) as Partial<IncidentReport> | null;
  const { title, description, source } = report ?? {};
  const complete = typeof title === 'string' && typeof description === 'string' && typeof source === 'string';
  return complete ? { title, description, source } : undefined;
}

function filterOf(query: URLSearchParams): IncidentFilter {
  const given = ['severity', 'status', 'source'].filter((key) => query.has(key));
  return Object.fromEntries(given.map((key) => [key, query.get(key)]));
}

function pageOf(query: URLSearchParams): Page {
  const given = ['offset', 'limit'].filter((key) => /^\d+$/.test(query.get(key) ?? ''));
  return Object.fromEntries(given.map((key) => [key, Number(query.get(key))]));
}

function respond(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
