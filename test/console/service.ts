import { context, SpanKind, SpanStatusCode, trace, type Tracer } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider } from '@opentelemetry/sdk-trace-base';
import type { CircuitBreaker } from '../../src/breaker/circuit-breaker.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { CircuitBreakerRegistry } from '../../src/breaker/registry.js';
import { readEnvironment } from '../../src/environment.js';
import { createRuntime, openOwnExporter, type Runtime } from '../../src/runtime.js';

/** A service in this process: a real runtime with its console, and real spans that reach the console's ring. */
export interface Service {
  readonly url: string;
  readonly runtime: Runtime;
  readonly tracer: Tracer;
  breaker(name: string, options?: BreakerOptions): CircuitBreaker;
  stop(): Promise<void>;
}

export async function startService(env: NodeJS.ProcessEnv = {}): Promise<Service> {
  const environment = readEnvironment({ OTEL_EXPORTER_PROMETHEUS_PORT: '0', ...env });
  const runtime = createRuntime(new CircuitBreakerRegistry(), environment);
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'shop' }),
  });
  trace.setGlobalTracerProvider(provider);
  context.setGlobalContextManager(new AsyncLocalStorageContextManager());
  const exporter = await openOwnExporter(environment, runtime, () => {});
  if (exporter === undefined) throw new Error('The console could not listen.');
  return {
    url: exporter.url,
    runtime,
    tracer: trace.getTracer('shop', '1.2.0'),
    breaker: (name, options) => runtime.registry.getOrCreate(name, options),
    stop: async () => {
      runtime.registry.clear();
      await Promise.all([runtime.stop(), exporter.stop(), provider.shutdown()]);
      trace.disable();
      context.disable();
    },
  };
}

/** One request to the service, which calls a target through its breaker: two spans, as instrumentations make them. */
export async function handleRequest(
  { tracer }: Service,
  route: string,
  breaker: CircuitBreaker,
  target: () => Promise<unknown>,
  kind = SpanKind.SERVER,
): Promise<void> {
  await tracer.startActiveSpan(route, { kind }, async (server) => {
    const attributes = { 'server.address': breaker.name, 'http.request.method': 'GET' };
    await tracer.startActiveSpan(`GET ${breaker.name}`, { kind: SpanKind.CLIENT, attributes }, async (client) => {
      try {
        await breaker.call(target);
      } catch (error) {
        client.setStatus({ code: SpanStatusCode.ERROR, message: (error as Error).message });
        server.setStatus({ code: SpanStatusCode.ERROR });
      }
      client.end();
    });
    server.end();
  });
}

export function refuse(): Promise<never> {
  return Promise.reject(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }));
}
