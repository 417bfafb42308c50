// Which attributes the events of breakers have, found out by having some.
import { context, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { CircuitBreakerRegistry } from '../src/breaker/registry.js';
import { readEnvironment } from '../src/environment.js';
import { createRuntime } from '../src/runtime.js';

/** The attributes of a circuit that opens and of a call that it rejects, by the name of the event. */
export async function eventAttributes(): Promise<Map<string, readonly string[]>> {
  const exporter = new InMemorySpanExporter();
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  const runtime = createRuntime(new CircuitBreakerRegistry(), readEnvironment({ OTEL_BREAKER_METRICS: 'off' }));
  try {
    const breaker = runtime.registry.getOrCreate('target');
    await trace.getTracer('reference').startActiveSpan('call', async (span) => {
      while (breaker.state === 'closed') await fails(breaker.call(() => Promise.reject(new Error('down'))));
      await fails(breaker.call(() => 1));
      span.end();
    });
  } finally {
    await runtime.stop();
    trace.disable();
    context.disable();
  }
  const events = exporter.getFinishedSpans().flatMap((span) => span.events);
  return new Map(events.map(({ name, attributes = {} }) => [name, Object.keys(attributes)]));
}

async function fails(call: Promise<unknown>): Promise<void> {
  await call.then(
    () => {
      throw new Error('A call succeeded that should not have.');
    },
    () => undefined,
  );
}
