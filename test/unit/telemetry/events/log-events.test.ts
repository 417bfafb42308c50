import { context, SpanKind, trace } from '@opentelemetry/api';
import { logs } from '@opentelemetry/api-logs';
import {
  InMemoryLogRecordExporter,
  LoggerProvider,
  SimpleLogRecordProcessor,
  type ReadableLogRecord,
} from '@opentelemetry/sdk-logs';
import { expect } from 'chai';
import { CircuitBreakerRegistry } from '../../../../src/breaker/registry.js';
import { readEnvironment } from '../../../../src/environment.js';
import { createRuntime, type Runtime } from '../../../../src/runtime.js';
import { startTracing } from '../../../support/traces.js';

const EVENTS = ['circuit_breaker.state_transition', 'circuit_breaker.rejected'];

describe('OTEL_BREAKER_EVENTS', () => {
  let runtime: Runtime | undefined;

  afterEach(async () => {
    await runtime?.stop();
    logs.disable();
  });

  /** A call that opens its circuit and one that is rejected, within a client span. */
  function tellTheStory(events: string | undefined) {
    const exporter = new InMemoryLogRecordExporter();
    const registry = new CircuitBreakerRegistry();
    runtime = createRuntime(registry, readEnvironment({ OTEL_BREAKER_METRICS: 'off', OTEL_BREAKER_EVENTS: events }));
    // Later than us, as where we are preloaded.
    logs.setGlobalLoggerProvider(new LoggerProvider({ processors: [new SimpleLogRecordProcessor({ exporter })] }));
    const { spans } = startTracing();
    const breaker = registry.getOrCreate('target', { failureThreshold: 1 });
    const span = trace.getTracer('test').startSpan('GET', { kind: SpanKind.CLIENT });
    context.with(trace.setSpan(context.active(), span), () => {
      breaker.acquire().failure(new TypeError('down'));
      expect(() => breaker.acquire()).to.throw('is open');
    });
    span.end();
    return {
      span: span.spanContext(),
      records: exporter.getFinishedLogRecords(),
      onSpan: spans().flatMap((finished) => finished.events.map(({ name }) => name)),
    };
  }

  const nameOf = ({ eventName }: ReadableLogRecord) => eventName;

  for (const [events, onSpan, logged] of [
    [undefined, EVENTS, []],
    ['span', EVENTS, []],
    ['log', [], EVENTS],
    ['both', EVENTS, EVENTS],
  ] as const) {
    const where = [onSpan.length > 0 && 'on spans', logged.length > 0 && 'as log records']
      .filter(Boolean)
      .join(' and ');
    it(`${events ?? 'not set'}: ${where}`, () => {
      const found = tellTheStory(events);
      expect(found.onSpan).to.deep.equal(onSpan);
      expect(found.records.map(nameOf)).to.deep.equal(logged);
    });
  }

  it('log records have the attributes of the events and stand in the context of the span', () => {
    const { records, span } = tellTheStory('both');
    const [transition, rejection] = records;
    expect(transition!.attributes).to.include({
      'circuit_breaker.name': 'target',
      'circuit_breaker.state.from': 'closed',
      'circuit_breaker.state.to': 'open',
      'error.type': 'TypeError',
    });
    expect(transition!.body).to.equal('1 consecutive failures (threshold 1)');
    expect(transition!.severityText).to.equal('WARN');
    expect(rejection!.attributes).to.include({
      'circuit_breaker.opened_by.trace_id': span.traceId,
      'circuit_breaker.opened_by.span_id': span.spanId,
    });
    for (const { spanContext } of records) expect(spanContext?.spanId).to.equal(span.spanId);
  });
});
