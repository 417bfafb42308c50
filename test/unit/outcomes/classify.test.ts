import { expect } from 'chai';
import { resolveConfig } from '../../../src/breaker/config.js';
import { CircuitOpenError } from '../../../src/breaker/errors.js';
import type { Verdict } from '../../../src/breaker/verdict.js';
import { askedWaitOf, classify } from '../../../src/outcomes/classify.js';

const error = (properties: object, message = 'on purpose') => Object.assign(new Error(message), properties);
const config = resolveConfig({ preset: 'httpApi' });

/** An error of which nothing can be read. */
const hostile = new Proxy(new Error('x'), {
  get() {
    throw new Error('a getter');
  },
});

describe('classify', () => {
  // Such an error takes a way of its own; one with a property that no table knows takes the long one.
  for (const [message, verdict] of [
    ['on purpose', 'failure'],
    ['Command timed out', 'timeout'],
    ['Connection is closed.', 'failure'],
    ['Too many Cluster redirections. Last error: ReplyError: MOVED 1 host:1', 'ignored'],
    ['timeout expired', 'timeout'],
    ['received invalid response: 48', 'failure'],
  ] as const) {
    it(`says by its message alone what an error is that has nothing else: ${message}`, () => {
      const database = resolveConfig({ preset: 'database' });
      expect(classify(new Error(message), config)).to.equal(verdict);
      expect(classify(error({ type: 'of no table' }, message), config)).to.equal(verdict);
      expect(classify(new Error(message), database)).to.equal(verdict);
      expect(classify(error({ type: 'of no table' }, message), database)).to.equal(verdict);
      expect(classify(new Error(message), config, AbortSignal.abort())).to.equal('ignored');
    });
  }

  const verdicts: Record<Verdict, readonly unknown[]> = {
    failure: [
      error({ status: 500 }),
      error({ statusCode: 503 }),
      error({ response: { status: 502 } }),
      error({ $metadata: { httpStatusCode: 500 } }),
      error({ code: 'ECONNREFUSED' }),
      error({ code: 'ERR_HTTP2_STREAM_ERROR' }, 'Stream closed with error code NGHTTP2_INTERNAL_ERROR'),
      error({ code: 'ERR_HTTP2_SESSION_ERROR' }, 'Session closed with error code 2'),
      new TypeError('fetch failed', { cause: error({ code: 'ECONNRESET' }) }),
      new Error('anything else'),
      'a string',
      undefined,
      hostile,
      Object.create(null),
      error({ name: 'ReplyError' }, 'LOADING Redis is loading'),
      error({ code: 'ER_CON_COUNT_ERROR', errno: 1040, sqlState: '08004' }),
      error({ code: 'PROTOCOL_CONNECTION_LOST' }),
      error({ name: 'error', code: '57P01', constructor: { name: 'DatabaseError' } }),
      // Exit codes of processes, and a good answer that could not be read, are no answers of a server in trouble.
      error({ status: 127 }),
      error({ response: { status: 200 } }),
    ],
    timeout: [
      new DOMException('x', 'TimeoutError'),
      error({ code: 'ECONNABORTED' }),
      error({ code: 'PROTOCOL_SEQUENCE_TIMEOUT' }),
      error({ type: 'request-timeout', name: 'FetchError' }),
      new Error('x', { cause: error({ code: 'UND_ERR_HEADERS_TIMEOUT' }) }),
      new (class APIConnectionTimeoutError extends Error {})('x'),
    ],
    ignored: [
      error({ status: 429 }),
      error({ response: { status: 408 } }),
      error({ name: 'SlowDown', $metadata: { httpStatusCode: 503 } }),
      error({ status: 503, headers: { 'x-amzn-errortype': 'ThrottlingException' } }),
      new DOMException('x', 'AbortError'),
      error({ name: 'CanceledError', code: 'ERR_CANCELED' }),
      new (class APIUserAbortError extends Error {})('x'),
      error({ code: 'ERR_INVALID_URL' }),
      error({ code: 'EMFILE' }),
      new CircuitOpenError('elsewhere', 'open', 0, 'down', error({ code: 'ECONNREFUSED' })),
      error({ name: 'ReplyError' }, 'READONLY a replica'),
      error({ code: 'ER_LOCK_DEADLOCK', errno: 1213 }),
      error({ code: 'ERR_HTTP2_STREAM_ERROR' }, 'Stream closed with error code NGHTTP2_REFUSED_STREAM'),
      error({ code: 'ERR_HTTP2_SESSION_ERROR' }, 'Session closed with error code 11'),
      new Error('x', { cause: error({ code: 'ERR_HTTP2_GOAWAY_SESSION' }) }),
    ],
    success: [
      error({ status: 400 }),
      error({ response: { statusCode: 404 } }),
      error({ status: 501 }),
      error({ name: 'ReplyError' }, 'WRONGTYPE Operation'),
      error({ code: 'ER_DUP_ENTRY', errno: 1062 }),
      error({ code: '23505', constructor: { name: 'DatabaseError' } }),
    ],
  };
  for (const [verdict, errors] of Object.entries(verdicts)) {
    errors.forEach((thrown, index) => {
      it(`is ${verdict}, ${index + 1}: ${thrown === hostile ? 'nothing can be read' : JSON.stringify(thrown)}`, () => {
        expect(classify(thrown, config)).to.equal(verdict);
      });
    });
  }

  it('takes failureStatuses from the options', () => {
    const strict = resolveConfig({ failureStatuses: ['5xx', 429] });
    expect(classify(error({ status: 429 }), strict)).to.equal('failure');
    expect(classify(error({ status: 404 }), strict)).to.equal('success');
  });

  it('takes the end of a call that its caller gave up for that, whatever the error', () => {
    const controller = new AbortController();
    const reset = error({ code: 'ECONNRESET' });
    expect(classify(reset, config, controller.signal)).to.equal('failure');
    controller.abort(new Error('no longer wanted'));
    expect(classify(reset, config, controller.signal)).to.equal('ignored');
    // It had answered.
    expect(classify(error({ status: 500 }), config, controller.signal)).to.equal('failure');
    expect(classify(reset, config, AbortSignal.abort(new DOMException('x', 'TimeoutError')))).to.equal('timeout');
  });

  it('finds the wait that an answer asked for, where the breaker honours it', () => {
    const honours = resolveConfig({ preset: 'llmService' });
    const plain = error({ status: 429, headers: { 'retry-after': '7' } });
    for (const thrown of [
      plain,
      error({ status: 429, headers: new Headers({ 'retry-after': '7' }) }),
      error({ response: { status: 503, headers: { 'retry-after': '7' } } }),
      error({ $metadata: { httpStatusCode: 503 }, $response: { headers: { 'retry-after': '7' } } }),
      new Error('wrapped', { cause: plain }),
    ]) {
      expect(askedWaitOf(thrown, honours)).to.equal(7_000);
    }
    expect(askedWaitOf(plain, config)).to.equal(undefined);
    expect(askedWaitOf(error({ status: 500, headers: { 'retry-after': '7' } }), honours)).to.equal(undefined);
    expect(askedWaitOf(hostile, honours)).to.equal(undefined);
  });
});
