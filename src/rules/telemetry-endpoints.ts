import type { Target } from '../target.js';

/** Hosts that take telemetry and nothing else: what agents of observability vendors upload to. With their subdomains. */
const HOSTS: readonly string[] = [
  // AppSignal, Axiom, Better Stack, Bugsnag
  'push.appsignal.com',
  'api.axiom.co',
  'logs.betterstack.com',
  'notify.bugsnag.com',
  'sessions.bugsnag.com',
  // Datadog
  'agent.datadoghq.com',
  'agent.datadoghq.eu',
  'browser-intake-datadoghq.com',
  'browser-intake-datadoghq.eu',
  'http-intake.logs.datadoghq.com',
  'http-intake.logs.datadoghq.eu',
  'instrumentation-telemetry-intake.datadoghq.com',
  // Dynatrace
  'live.dynatrace.com',
  // Google Cloud
  'cloudtrace.googleapis.com',
  'telemetry.googleapis.com',
  // Honeycomb, Instana, Lightstep
  'api.honeycomb.io',
  'api.eu1.honeycomb.io',
  'instana.io',
  'ingest.lightstep.com',
  // Azure Monitor
  'applicationinsights.azure.com',
  'dc.services.visualstudio.com',
  'livediagnostics.monitor.azure.com',
  // New Relic
  'collector.newrelic.com',
  'nr-data.net',
  // Rollbar, Sentry
  'api.rollbar.com',
  'sentry.io',
  // Splunk
  'observability.splunkcloud.com',
  'signalfx.com',
  // Uptrace
  'otlp.uptrace.dev',
];

// Elastic Cloud, Grafana Cloud, AWS X-Ray: a region or the name of a deployment stands in the middle.
const HOST_PATTERNS: readonly RegExp[] = [
  /\.apm\.[\w-]+(?:\.[\w-]+)?\.(?:cloud\.es|elastic-cloud)\.(?:io|com)$/,
  /^otlp-gateway-[\w-]+\.grafana\.net$/,
  /^xray\.[\w-]+\.amazonaws\.com(?:\.cn)?$/,
];

/** Ports of agents and collectors: Datadog, OTLP (gRPC, HTTP), Zipkin, Jaeger. None of those that systems give out by chance. */
const PORTS: ReadonlySet<number> = new Set([8126, 4317, 4318, 9411, 14268]);
const SYSTEMS: ReadonlySet<string> = new Set(['http', 'grpc']);

/** Headers that only agents send: Datadog, Sentry. Elastic's agents are known by their user agent. */
const HEADERS: readonly string[] = ['datadog-meta-lang', 'dd-client-library-language', 'x-sentry-auth'];
const USER_AGENTS = /^(?:apm-agent-|elasticapm-|newrelic-|sentry\.javascript|OTel-OTLP-Exporter)/i;

/**
 * Whether telemetry is sent there: calls of agents, which are none of the application's. Their circuits reject nothing
 * and say nothing of the application's health, unless a rule is written for them.
 */
export function isTelemetryEndpoint({ system, host, port }: Target): boolean {
  if (!SYSTEMS.has(system)) return false;
  return PORTS.has(port) || HOSTS.some((known) => isWithin(host, known)) || HOST_PATTERNS.some((one) => one.test(host));
}

function isWithin(host: string, domain: string): boolean {
  return host.endsWith(domain) && (host.length === domain.length || host.at(-domain.length - 1) === '.');
}

/** Whether a request is one of an agent that sends telemetry, wherever it goes. */
export function isTelemetryRequest(header: (name: string) => unknown): boolean {
  return HEADERS.some((name) => header(name) !== undefined) || USER_AGENTS.test(String(header('user-agent')));
}
