import { context, SpanKind, trace, type Span } from '@opentelemetry/api';
import { AlwaysOffSampler, type ReadableSpan } from '@opentelemetry/sdk-trace-base';
import { expect } from 'chai';
import type { CircuitBreaker } from '../../../../src/breaker/circuit-breaker.js';
import type { Permit } from '../../../../src/breaker/permit.js';
import type { CallContext } from '../../../../src/telemetry/events/call-context.js';
import { SpanCapture } from '../../../../src/telemetry/events/span-capture.js';
import { SpanEvents } from '../../../../src/telemetry/events/span-events.js';
import { breakerWithClock, fail, openCircuit, succeed, waitUntilProbe } from '../../../support/breakers.js';
import { startTracing } from '../../../support/traces.js';

function tracedBreaker(options?: Parameters<typeof breakerWithClock>[0]) {
  const made = breakerWithClock(options);
  made.breaker.observer = new SpanEvents(new SpanCapture(), { spans: true, log: undefined });
  return made;
}

/** The context of a call, as an instrumentation's record of it is one. */
class NamedCall implements CallContext {
  constructor(
    readonly span: Span | undefined,
    private readonly name: string,
  ) {}

  spanName(): string {
    return this.name;
  }
}

function startSpan(name: string): Span {
  return trace.getTracer('test').startSpan(name, { kind: SpanKind.CLIENT });
}

/** A call of which the instrumentation knows the span. */
function failOn(span: Span, breaker: CircuitBreaker, error: unknown = new Error('down')): void {
  const call = breaker.tryAcquire(new NamedCall(span, 'GET'));
  if ('failure' in call) call.failure(error);
  span.end();
}

function eventsOf(span: ReadableSpan | undefined) {
  return span!.events.map(({ name, attributes = {} }) => ({ name, attributes }));
}

function spanNamed(spans: ReadableSpan[], name: string): ReadableSpan | undefined {
  return spans.find((span) => span.name === name);
}

function formatId(span: Span): string {
  const { traceId, spanId } = span.spanContext();
  return `${traceId}/${spanId}`;
}

describe('SpanEvents', () => {
  it('stand on the span of the call that caused them', () => {
    const { spans } = startTracing();
    const { breaker } = tracedBreaker({ failureThreshold: 2 });
    const [first, second] = [startSpan('first'), startSpan('second')];
    context.with(trace.setSpan(context.active(), startSpan('around')), () => {
      failOn(first, breaker);
      failOn(second, breaker, Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }));
    });
    expect(eventsOf(spanNamed(spans(), 'first'))).to.deep.equal([]);
    expect(eventsOf(spanNamed(spans(), 'second'))).to.deep.equal([
      {
        name: 'circuit_breaker.state_transition',
        attributes: {
          'circuit_breaker.name': 'target',
          'circuit_breaker.state.from': 'closed',
          'circuit_breaker.state.to': 'open',
          'circuit_breaker.reason': '2 consecutive failures (threshold 2)',
          'circuit_breaker.failure_rate': 1,
          'circuit_breaker.retry_after_ms': 60_000,
          'circuit_breaker.failures': [first, second].map(formatId),
          'error.type': 'ECONNREFUSED',
        },
      },
    ]);
  });

  it('tell of panic on the span of the call that brought it about', () => {
    const { spans } = startTracing();
    const { breaker } = tracedBreaker();
    const span = startSpan('call');
    const reason = '3 of 5 unrelated targets became unreachable within 10 s (threshold 50 %)';
    const events = breaker.observer as SpanEvents;
    events.onPanic({ active: true, reason, breaker }, new NamedCall(span, 'GET'));
    span.end();
    events.onPanic({ active: false, reason: 'over', breaker }, undefined);
    const attributes = (active: boolean, why: string) => ({
      'circuit_breaker.name': 'target',
      'circuit_breaker.panic': active,
      'circuit_breaker.reason': why,
    });
    expect(eventsOf(spanNamed(spans(), 'call'))).to.deep.equal([
      { name: 'circuit_breaker.panic', attributes: attributes(true, reason) },
    ]);
    expect(eventsOf(spanNamed(spans(), 'circuit_breaker.panic'))).to.deep.equal([
      { name: 'circuit_breaker.panic', attributes: attributes(false, 'over') },
    ]);
  });

  it('stand on the active span where the call has none, or one that has ended', () => {
    const { spans } = startTracing();
    const { breaker } = tracedBreaker({ failureThreshold: 1 });
    const active = startSpan('active');
    const ended = startSpan('ended');
    ended.end();
    context.with(trace.setSpan(context.active(), active), () => {
      fail(breaker);
      breaker.tryAcquire(ended);
    });
    active.end();
    expect(eventsOf(spanNamed(spans(), 'active')).map(({ name }) => name)).to.deep.equal([
      'circuit_breaker.state_transition',
      'circuit_breaker.rejected',
    ]);
  });

  it('stand on a short span of our own where there is none, so that no transition is missing', () => {
    const { spans } = startTracing();
    const { breaker, clock } = tracedBreaker({ successThreshold: 1 });
    openCircuit(breaker);
    waitUntilProbe(breaker, clock);
    succeed(breaker);
    const changes = spans().map((span) => [
      span.name,
      span.kind,
      eventsOf(span)[0]!.attributes['circuit_breaker.state.to'],
    ]);
    expect(changes).to.deep.equal(
      ['open', 'half_open', 'closed'].map((to) => ['circuit_breaker.state_transition', SpanKind.INTERNAL, to]),
    );
  });

  it('name the trace that opened the circuit on each rejection, while open and while half-open', () => {
    const { spans } = startTracing();
    const { breaker, clock } = tracedBreaker({ failureThreshold: 1, halfOpenMaxCalls: 1 });
    const opener = startSpan('opener');
    failOn(opener, breaker);
    const whileOpen = startSpan('while open');
    breaker.tryAcquire(new NamedCall(whileOpen, 'GET'));
    waitUntilProbe(breaker, clock);
    breaker.tryAcquire(new NamedCall(startSpan('probe'), 'GET'));
    const whileHalfOpen = startSpan('while half-open');
    breaker.tryAcquire(new NamedCall(whileHalfOpen, 'GET'));
    for (const span of [whileOpen, whileHalfOpen]) span.end();
    const openedBy = {
      'circuit_breaker.opened_by.trace_id': opener.spanContext().traceId,
      'circuit_breaker.opened_by.span_id': opener.spanContext().spanId,
    };
    expect(eventsOf(spanNamed(spans(), 'while open'))).to.deep.equal([
      {
        name: 'circuit_breaker.rejected',
        attributes: {
          'circuit_breaker.name': 'target',
          'circuit_breaker.state.from': 'open',
          'circuit_breaker.state.to': 'open',
          'circuit_breaker.failure_rate': 1,
          'circuit_breaker.reason': '1 consecutive failures (threshold 1)',
          'circuit_breaker.retry_after_ms': 60_000,
          'circuit_breaker.enforced': true,
          'error.type': 'ERR_CIRCUIT_OPEN',
          ...openedBy,
        },
      },
    ]);
    expect(eventsOf(spanNamed(spans(), 'while half-open'))[0]!.attributes).to.include({
      'circuit_breaker.state.from': 'half_open',
      ...openedBy,
    });
  });

  it('do not stand on what happens to be active, where the call is of another trace and its span has ended', () => {
    const { spans } = startTracing();
    const { breaker } = tracedBreaker({ failureThreshold: 1 });
    const ended = startSpan('ended');
    const somebodys = startSpan('who opened the connection');
    context.with(trace.setSpan(context.active(), somebodys), () => {
      const call = breaker.tryAcquire(new NamedCall(ended, 'GET'));
      ended.end();
      if ('failure' in call) call.failure(new Error('down'));
      breaker.tryAcquire(new NamedCall(undefined, 'GET'));
    });
    somebodys.end();
    expect(spanNamed(spans(), 'who opened the connection')!.events).to.deep.equal([]);
    expect(spanNamed(spans(), 'circuit_breaker.state_transition')!.parentSpanContext).to.include({
      spanId: ended.spanContext().spanId,
    });
    expect(spanNamed(spans(), 'GET')!.events).to.have.length(1);
  });

  it('mark client spans with the circuit and its state, while it is not closed', () => {
    const { spans } = startTracing();
    const { breaker, clock } = tracedBreaker({ failureThreshold: 2, successThreshold: 1 });
    const call = (name: string) => {
      const span = startSpan(name);
      const admission = breaker.tryAcquire(new NamedCall(span, 'GET'));
      return (outcome: 'success' | 'failure' | 'none') => {
        if (outcome !== 'none' && outcome in admission) (admission as Permit)[outcome]();
        span.end();
      };
    };
    call('healthy')('success');
    call('failing')('failure');
    call('tripping')('failure');
    call('rejected')('none');
    waitUntilProbe(breaker, clock);
    call('probe')('success');
    call('healthy again')('success');
    const marks = spans()
      .filter(({ kind }) => kind === SpanKind.CLIENT)
      .map(({ name, attributes }) => [name, attributes['circuit_breaker.name'], attributes['circuit_breaker.state']]);
    expect(marks).to.deep.equal([
      ['healthy', undefined, undefined],
      ['failing', undefined, undefined],
      ['tripping', 'target', 'open'],
      ['rejected', 'target', 'open'],
      ['probe', 'target', 'half_open'],
      ['healthy again', undefined, undefined],
    ]);
  });

  it('do not mark spans that are not of one call', () => {
    const { spans } = startTracing();
    const { breaker } = tracedBreaker({ failureThreshold: 1 });
    const request = trace.getTracer('test').startSpan('request', { kind: SpanKind.SERVER });
    context.with(trace.setSpan(context.active(), request), () => fail(breaker));
    request.end();
    expect(spans()[0]!.events).to.have.length(1);
    expect(spans()[0]!.attributes).to.deep.equal({});
  });

  it('link a rejected span of our own to the span that opened the circuit', () => {
    const { spans } = startTracing();
    const { breaker } = tracedBreaker({ failureThreshold: 1 });
    const opener = startSpan('opener');
    failOn(opener, breaker);
    breaker.tryAcquire(new NamedCall(undefined, 'GET'));
    const rejected = spanNamed(spans(), 'GET')!;
    expect(rejected.kind).to.equal(SpanKind.CLIENT);
    expect(rejected.links.map((link) => link.context)).to.deep.equal([opener.spanContext()]);
  });

  it('name no trace once the circuit has closed and was opened by one that nothing recorded', () => {
    const { breaker } = tracedBreaker({ failureThreshold: 1 });
    const { spans } = startTracing();
    failOn(startSpan('opener'), breaker);
    breaker.reset();
    trace.disable();
    fail(breaker);
    const later = startTracing();
    breaker.tryAcquire();
    expect(spans()).not.to.have.length(0);
    expect(eventsOf(later.spans()[0])[0]!.attributes).not.to.have.any.keys('circuit_breaker.opened_by.trace_id');
  });

  it('say that mode observe let a call through', () => {
    const { spans } = startTracing();
    const { breaker } = tracedBreaker({ mode: 'observe', failureThreshold: 1 });
    fail(breaker);
    breaker.tryAcquire();
    expect(eventsOf(spans()[1])[0]!.attributes).to.include({ 'circuit_breaker.enforced': false });
  });

  for (const [what, error, type] of [
    ['code', Object.assign(new Error('x'), { code: 'ECONNRESET' }), 'ECONNRESET'],
    ['class', new TypeError('x'), 'TypeError'],
    ['class where its code is a number', Object.assign(new Error('x'), { code: 500 }), 'Error'],
    ['nothing of null', null, '_OTHER'],
    ['nothing of a string', 'down', '_OTHER'],
  ] as const) {
    it(`take the type of an error from its ${what}`, () => {
      const { spans } = startTracing();
      const { breaker } = tracedBreaker({ failureThreshold: 1 });
      failOn(startSpan('call'), breaker, error);
      expect(eventsOf(spanNamed(spans(), 'call'))[0]!.attributes['error.type']).to.equal(type);
    });
  }

  it('have no type of an error and no wait where the circuit was opened by hand', () => {
    const { spans } = startTracing();
    const { breaker } = tracedBreaker();
    breaker.forceOpen();
    expect(eventsOf(spans()[0])[0]!.attributes).not.to.have.any.keys('error.type', 'circuit_breaker.retry_after_ms');
  });

  it('are nowhere where nothing records', () => {
    const { spans } = startTracing(new AlwaysOffSampler());
    const { breaker } = tracedBreaker({ failureThreshold: 1 });
    failOn(startSpan('call'), breaker);
    breaker.tryAcquire(startSpan('rejected'));
    expect(breaker.state).to.equal('open');
    expect(spans()).to.deep.equal([]);
  });

  it('take whatever a call was acquired with', () => {
    const { spans } = startTracing();
    const { breaker } = tracedBreaker({ failureThreshold: 1 });
    for (const context of [undefined, null, 'span', {}, { isRecording: true }]) {
      const call = breaker.tryAcquire(context);
      if ('failure' in call) call.failure(new Error('down'));
      breaker.reset();
    }
    expect(spans()).to.have.length(10);
  });

  describe('of a fleet', () => {
    const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
    const fleetBreaker = () => {
      const made = breakerWithClock({ failureThreshold: 1 });
      const word = () => ({ failing: 12, against: 1, hosts: 50, trace: traceparent });
      made.breaker.observer = new SpanEvents(new SpanCapture(), { spans: true, log: undefined }, word);
      return made;
    };

    it('say who changed the circuit', () => {
      const { spans } = startTracing();
      const { breaker } = fleetBreaker();
      failOn(startSpan('call'), breaker);
      expect(eventsOf(spans()[0])[0]!.attributes).to.include({ 'circuit_breaker.by': 'self' });
      expect(eventsOf(spans()[0])[0]!.attributes).not.to.have.any.keys('circuit_breaker.fleet.failing');
    });

    it('make no span of their own for what the fleet does, and lead to the call on another replica', () => {
      const { spans } = startTracing();
      const { breaker } = fleetBreaker();
      breaker.openAdvised(10_000, 'the fleet opened it: 12 of 50 replicas saw it fail');
      expect(spans()).to.deep.equal([]);
      const rejected = startSpan('rejected');
      breaker.tryAcquire(new NamedCall(rejected, 'GET'));
      rejected.end();
      expect(eventsOf(spans()[0])[0]!.attributes).to.include({
        'circuit_breaker.reason': 'the fleet opened it: 12 of 50 replicas saw it fail',
        'circuit_breaker.opened_by.trace_id': 'a'.repeat(32),
        'circuit_breaker.opened_by.span_id': 'b'.repeat(16),
      });
    });

    it('have the votes where a span records what the fleet does', () => {
      const { spans } = startTracing();
      const { breaker } = fleetBreaker();
      const around = startSpan('around');
      context.with(trace.setSpan(context.active(), around), () => breaker.openAdvised(10_000, 'the fleet opened it'));
      around.end();
      expect(eventsOf(spans()[0])[0]!.attributes).to.include({
        'circuit_breaker.by': 'fleet',
        'circuit_breaker.fleet.failing': 12,
        'circuit_breaker.fleet.replicas': 50,
        'circuit_breaker.fleet.against': 1,
      });
    });
  });
});
