import { ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { BasicTracerProvider, type SpanProcessor } from '@opentelemetry/sdk-trace-base';
import { expect } from 'chai';
import { createTraceRing, type TraceRing, type TraceRingOptions } from '../../src/console/history/trace-ring.js';
import { otlpPieces } from '../../src/console/otlp.js';
import { SharedAnswer } from '../../src/console/shared-answer.js';
import { viewTrace } from '../../src/console/serialize.js';

const TRANSITION = 'circuit_breaker.state_transition';
const REJECTED = 'circuit_breaker.rejected';

function setUp(options?: TraceRingOptions) {
  const ring = createTraceRing(options);
  // The compiler checks that it takes the SDK's spans.
  const processor: SpanProcessor = { ...ring, forceFlush: () => Promise.resolve(), shutdown: () => Promise.resolve() };
  const tracer = new BasicTracerProvider({ spanProcessors: [processor] }).getTracer('test', '1');
  const record = (name: string, ...events: string[]) => {
    const span = tracer.startSpan(name);
    for (const event of events) span.addEvent(event, { 'circuit_breaker.name': 'payments' });
    span.end();
    return span.spanContext().traceId;
  };
  return { ring, tracer, record };
}

function names(ring: TraceRing): string[] {
  return ring
    .traces()
    .flatMap(({ spans }) => spans.map(({ name }) => name))
    .sort();
}

describe('trace ring', () => {
  it('keeps a whole trace once one of its spans carries an event of a breaker', () => {
    const { ring, tracer } = setUp();
    const root = tracer.startSpan('root');
    const inRoot = trace.setSpan(ROOT_CONTEXT, root);
    tracer.startSpan('before', {}, inRoot).end();
    const call = tracer.startSpan('call', {}, inRoot);
    call.addEvent(TRANSITION);
    call.end();
    tracer.startSpan('after', {}, inRoot).end();
    root.end();
    expect(names(ring)).to.deep.equal(['after', 'before', 'call', 'root']);
  });

  it('forgets a trace without such an event when its last span has ended', () => {
    const { ring, record } = setUp({ maxUnderWay: 2 });
    const heard: string[] = [];
    ring.onChange((traceId) => heard.push(traceId));
    record('plain');
    record('other event', 'exception');
    expect(ring.traces()).to.deep.equal([]);
    expect(heard).to.deep.equal([]);
  });

  it('keeps the call that opened a circuit, however many are rejected after it', () => {
    const { ring, record } = setUp({ maxRejectionTraces: 3 });
    const opener = record('opener', TRANSITION);
    for (let call = 0; call < 1_000; call++) record(`rejected ${call}`, REJECTED);
    expect(names(ring)).to.deep.equal(['opener', 'rejected 997', 'rejected 998', 'rejected 999']);
    expect(ring.get(opener)?.spans).to.have.length(1);
  });

  it('keeps it while probes fail for hours, and how the outage ended as well', () => {
    const { ring, tracer } = setUp({ maxProbeTraces: 2 });
    const change = (name: string, ...states: [from: string, to: string][]) => {
      const span = tracer.startSpan(name);
      for (const [from, to] of states) {
        span.addEvent(TRANSITION, { 'circuit_breaker.state.from': from, 'circuit_breaker.state.to': to });
      }
      span.end();
    };
    change('opener', ['closed', 'open']);
    const probing = (probe: number) => change(`probe ${probe}`, ['open', 'half_open'], ['half_open', 'open']);
    for (let probe = 0; probe < 100; probe++) probing(probe);
    change('closer', ['open', 'half_open'], ['half_open', 'closed']);
    for (let probe = 100; probe < 200; probe++) probing(probe);
    expect(names(ring)).to.deep.equal(['closer', 'opener', 'probe 198', 'probe 199']);
  });

  it('stays within its limits when traces never end', () => {
    const { ring, tracer } = setUp({ maxUnderWay: 10 });
    const spans = Array.from({ length: 100 }, () => tracer.startSpan('endless'));
    for (const span of spans) {
      span.addEvent(TRANSITION);
      span.end();
    }
    // Those that were pushed out before they ended are gone, whatever they carry.
    expect(ring.traces()).to.have.length(10);
  });

  it('counts the spans that are too many, and keeps the one with the event', () => {
    const { ring, tracer } = setUp({ maxSpans: 5 });
    const root = tracer.startSpan('root');
    const inRoot = trace.setSpan(ROOT_CONTEXT, root);
    for (let child = 0; child < 8; child++) tracer.startSpan(`child ${child}`, {}, inRoot).end();
    const call = tracer.startSpan('call', {}, inRoot);
    call.addEvent(TRANSITION);
    call.end();
    root.end();
    const [kept] = ring.traces();
    expect(kept!.spans).to.have.length(5);
    expect(kept!.spans.map(({ name }) => name)).to.include('call');
    expect(kept!.droppedSpans).to.equal(5);
  });

  it('draws a trace in the order of its spans, with milliseconds from its start', () => {
    const { ring, tracer } = setUp();
    const start = 1_700_000_000_000;
    const root = tracer.startSpan('root', { startTime: start });
    const child = tracer.startSpan('child', { startTime: start + 10 }, trace.setSpan(ROOT_CONTEXT, root));
    child.addEvent(REJECTED, { 'circuit_breaker.name': 'payments' }, start + 15);
    child.end(start + 30);
    root.end(start + 50);
    const view = viewTrace(ring.traces()[0]!);
    expect(view).to.include({ name: 'root', durationMs: 50, start: new Date(start).toISOString(), droppedSpans: 0 });
    expect(view.spans.map(({ name, startMs, durationMs }) => [name, startMs, durationMs])).to.deep.equal([
      ['root', 0, 50],
      ['child', 10, 20],
    ]);
    expect(view.spans[1]!.parentSpanId).to.equal(view.spans[0]!.spanId);
    expect(view.spans[1]!.events).to.deep.equal([
      { name: REJECTED, atMs: 15, attributes: { 'circuit_breaker.name': 'payments' } },
    ]);
  });

  it('exports OTLP/JSON as the protocol has it', async () => {
    const { ring, tracer } = setUp();
    const start = 1_700_000_000_000;
    const span = tracer.startSpan('call', {
      kind: 2,
      startTime: start,
      attributes: { text: 'a', whole: 3, part: 0.5, yes: true, many: ['a', 'b'] },
    });
    span.addEvent(REJECTED, { 'circuit_breaker.enforced': true }, start + 1);
    span.setStatus({ code: 2, message: 'no' });
    span.end(start + 2);
    const text = String(await new SharedAnswer(() => otlpPieces(ring.traces())).bytes());
    const { resourceSpans } = JSON.parse(text) as {
      resourceSpans: { scopeSpans: { scope: object; spans: object[] }[] }[];
    };
    const { scope, spans } = resourceSpans[0]!.scopeSpans[0]!;
    expect(scope).to.deep.equal({ name: 'test', version: '1' });
    const { traceId, spanId } = span.spanContext();
    expect(spans).to.deep.equal([
      {
        traceId,
        spanId,
        flags: 1,
        name: 'call',
        kind: 3,
        startTimeUnixNano: '1700000000000000000',
        endTimeUnixNano: '1700000000002000000',
        attributes: [
          { key: 'text', value: { stringValue: 'a' } },
          { key: 'whole', value: { intValue: '3' } },
          { key: 'part', value: { doubleValue: 0.5 } },
          { key: 'yes', value: { boolValue: true } },
          { key: 'many', value: { arrayValue: { values: [{ stringValue: 'a' }, { stringValue: 'b' }] } } },
        ],
        events: [
          {
            timeUnixNano: '1700000000001000000',
            name: REJECTED,
            attributes: [{ key: 'circuit_breaker.enforced', value: { boolValue: true } }],
          },
        ],
        links: [],
        status: { code: 2, message: 'no' },
      },
    ]);
  });
});
