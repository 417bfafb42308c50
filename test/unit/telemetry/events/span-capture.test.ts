import { SpanKind, trace } from '@opentelemetry/api';
import {
  AlwaysOffSampler,
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { expect } from 'chai';
import { captureDiagnostics } from '../../../support/diagnostics.js';
import { SpanCapture } from '../../../../src/telemetry/events/span-capture.js';

describe('span capture', () => {
  let capture: SpanCapture;
  let exporter: InMemorySpanExporter;
  beforeEach(() => {
    capture = new SpanCapture();
    exporter = new InMemorySpanExporter();
    trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
  });
  afterEach(() => capture.stop());

  /** Feeds what it is given into a list, and records a span. */
  function setUp(onEnd?: () => never) {
    const fed: string[] = [];
    const unfeed = capture.feed({
      onStart: () => fed.push('start'),
      onEnd: onEnd ?? (({ name, endTime }) => fed.push(`${name} ended ${endTime[0] > 0}`)),
    });
    const record = () => trace.getTracer('test').startActiveSpan('call', (span) => (span.end(), span));
    return { fed, unfeed, record };
  }

  it('claims the client span of the tracer that is asked for, once', () => {
    capture.watch();
    const span = trace.getTracer('@opentelemetry/instrumentation-pg').startSpan('query', { kind: SpanKind.CLIENT });
    expect(capture.claim('@opentelemetry/instrumentation-ioredis')).to.equal(undefined);
    expect(capture.claim('@opentelemetry/instrumentation-pg')).to.equal(span);
    expect(capture.claim('@opentelemetry/instrumentation-pg')).to.equal(undefined);
  });

  for (const [what, name] of [
    ['has no name', undefined],
    ['has another kind of name', 7],
  ]) {
    it(`claims nothing of a tracer that ${what}`, () => {
      capture.watch();
      trace.getTracer(name as string).startSpan('open', { kind: SpanKind.CLIENT });
      expect(capture.claim('@opentelemetry/instrumentation-pg')).to.equal(undefined);
      expect(capture.claim(undefined)).to.equal(undefined);
    });
  }

  it('feeds spans to a processor of ours, each end once, beside those of the application', () => {
    const { fed, record } = setUp();
    record().end();
    expect(fed).to.deep.equal(['start', 'call ended true']);
    expect(exporter.getFinishedSpans()).to.have.length(1);
  });

  it('feeds none that are not recorded', () => {
    trace.disable();
    trace.setGlobalTracerProvider(new BasicTracerProvider({ sampler: new AlwaysOffSampler() }));
    const { fed, record } = setUp();
    record();
    expect(fed).to.deep.equal([]);
  });

  it('leaves spans as they were when it stops, and when nobody is fed any more', () => {
    const { record } = setUp();
    const spanClass = Object.getPrototypeOf(record()) as object;
    capture.stop();
    const { end: untouched } = spanClass as { end: unknown };
    for (const undo of ['stop', 'unfeed']) {
      const { fed, unfeed, record: recordAgain } = setUp();
      recordAgain();
      expect(spanClass).to.have.property('end').that.does.not.equal(untouched);
      if (undo === 'stop') capture.stop();
      else unfeed();
      expect(spanClass).to.have.property('end', untouched);
      recordAgain();
      expect(fed).to.have.length(2);
    }
  });

  it('keeps a fault of ours from whoever ends a span', () => {
    const reports = captureDiagnostics();
    const { record } = setUp(() => {
      throw new Error('a fault of ours');
    });
    expect(record().isRecording()).to.be.false;
    record();
    expect(exporter.getFinishedSpans()).to.have.length(2);
    expect(reports.map(([message]) => message)).to.deep.equal(['The console gets no more traces']);
  });
});
