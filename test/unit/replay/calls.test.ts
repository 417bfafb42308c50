import { expect } from 'chai';
import { resolveConfig } from '../../../src/breaker/config.js';
import { installOutcomes } from '../../../src/outcomes/classify.js';
import { Calls } from '../../../src/replay/calls.js';
import { verdictOf } from '../../../src/replay/ending.js';
import { shareKept } from '../../../src/replay/read-spans.js';
import { readSpan } from '../../../src/replay/span.js';
import { targetName } from '../../../src/target.js';

type Values = Readonly<Record<string, unknown>>;

interface Made {
  readonly attributes?: Values;
  readonly events?: readonly { readonly name: string; readonly attributes: Values }[];
  readonly failed?: boolean;
  readonly message?: string;
  readonly name?: string;
  readonly kind?: unknown;
}

const value = (of: unknown) =>
  typeof of === 'number' ? { intValue: String(of) } : typeof of === 'boolean' ? { boolValue: of } : { stringValue: of };
const otlpValues = (values: Values) => Object.entries(values).map(([key, of]) => ({ key, value: value(of) }));

function otlp({ attributes = {}, events = [], failed = false, message = '', name = 'GET', kind = 3 }: Made): unknown {
  return {
    traceId: 'a',
    spanId: 'b',
    name,
    kind,
    startTimeUnixNano: '1700000000000500000',
    endTimeUnixNano: '1700000000002000000',
    attributes: otlpValues(attributes),
    events: events.map((event) => ({ name: event.name, attributes: otlpValues(event.attributes) })),
    status: failed ? { code: 2, message } : {},
  };
}

const tags = (values: Values) => Object.entries(values).map(([key, of]) => ({ key, type: typeof of, value: of }));

function jaeger({ attributes = {}, events = [], failed = false, message = '', name = 'GET' }: Made): unknown {
  return {
    traceID: 'a',
    spanID: 'b',
    operationName: name,
    startTime: 1_700_000_000_000_500,
    duration: 1_500,
    tags: tags({
      ...attributes,
      'span.kind': 'client',
      ...(failed && { error: true, 'otel.status_code': 'ERROR', 'otel.status_description': message }),
    }),
    logs: events.map((event) => ({ timestamp: 1, fields: tags({ event: event.name, ...event.attributes }) })),
  };
}

const CONFIG = resolveConfig({ preset: 'httpApi' });

/** What a span is taken for, by both formats: `https://api.example.com: failure`, or why it is left out. */
function readingOf(made: Made): string {
  const readings = [otlp(made), jaeger(made)].map((raw) => {
    const calls = new Calls();
    const span = readSpan(raw)!;
    expect(span.startMs).to.be.closeTo(1_700_000_000_000.5, 0.001);
    expect(span.durationMs).to.be.closeTo(1.5, 0.001);
    const reason = calls.read(span);
    if (reason !== undefined) return reason;
    return `${targetName(calls.targets[calls.target]!)}: ${verdictOf(calls.endings.at(calls.ending), CONFIG)}`;
  });
  expect(readings[0]).to.equal(readings[1]);
  return readings[0]!;
}

const HTTP = { 'http.request.method': 'GET', 'server.address': 'Api.Example.com', 'server.port': 443 };
const exception = (type: string, message: string) => [
  { name: 'exception', attributes: { 'exception.type': type, 'exception.message': message } },
];

describe('the calls of a recording', () => {
  before(installOutcomes);

  const TARGETS: Readonly<Record<string, [attributes: Values, name: string]>> = {
    'http, today': [{ ...HTTP, 'url.full': 'https://api.example.com/a' }, 'https://api.example.com'],
    'http, by its port': [{ ...HTTP, 'server.port': 8080 }, 'http://api.example.com:8080'],
    'http, yesterday': [
      { 'http.method': 'GET', 'http.scheme': 'https', 'net.peer.name': 'api.example.com', 'net.peer.port': 8443 },
      'https://api.example.com:8443',
    ],
    'http, by a URL alone': [{ 'http.method': 'GET', 'http.url': 'http://[::1]:81/x' }, 'http://[::1]:81'],
    'redis, today': [
      { 'db.system.name': 'redis', 'server.address': 'cache', 'server.port': 6380 },
      'redis://cache:6380',
    ],
    'redis, without its port': [{ 'db.system.name': 'redis', 'server.address': 'cache' }, 'redis://cache:6379'],
    'redis, yesterday': [
      { 'db.system': 'redis', 'net.peer.name': 'cache', 'net.peer.port': 6379 },
      'redis://cache:6379',
    ],
    'grpc, today': [
      {
        'rpc.system.name': 'grpc',
        'server.address': 'users',
        'server.port': 50051,
        'rpc.response.status_code': 'OK',
      },
      'grpc://users:50051',
    ],
    'grpc, yesterday': [
      { 'rpc.system': 'grpc', 'net.peer.name': 'users', 'net.peer.port': 50051, 'rpc.grpc.status_code': 0 },
      'grpc://users:50051',
    ],
    'postgresql, today': [
      { 'db.system.name': 'postgresql', 'server.address': 'db', 'server.port': 5432, 'db.namespace': 'orders' },
      'postgresql://db:5432/orders',
    ],
    'postgresql, yesterday': [
      { 'db.system': 'postgresql', 'net.peer.name': 'db', 'net.peer.port': 5432, 'db.name': 'orders' },
      'postgresql://db:5432/orders',
    ],
  };
  for (const [what, [attributes, name]] of Object.entries(TARGETS)) {
    it(`name their target: ${what}`, () => {
      const status = what.startsWith('http') ? { 'http.response.status_code': 200 } : {};
      expect(readingOf({ attributes: { ...attributes, ...status } })).to.equal(`${name}: success`);
    });
  }

  const PG = { 'db.system.name': 'postgresql', 'server.address': 'db' };
  const REDIS = { 'db.system.name': 'redis', 'server.address': 'cache' };
  const GRPC = { 'rpc.system': 'grpc', 'server.address': 'users', 'server.port': 50051 };
  const ENDINGS: Readonly<Record<string, [made: Made, verdict: string]>> = {
    'a good status': [{ attributes: { ...HTTP, 'http.response.status_code': 204 } }, 'success'],
    'a bad status': [
      { attributes: { ...HTTP, 'http.response.status_code': 503, 'error.type': '503' }, failed: true },
      'failure',
    ],
    'a status that is the caller’s fault': [
      { attributes: { ...HTTP, 'http.status_code': 404, 'error.type': '404' }, failed: true },
      'success',
    ],
    'too many requests': [{ attributes: { ...HTTP, 'http.response.status_code': 429 }, failed: true }, 'ignored'],
    'no connection': [
      { attributes: HTTP, failed: true, events: exception('ECONNREFUSED', 'connect ECONNREFUSED 127.0.0.1:443') },
      'failure',
    ],
    'an error in its status alone': [
      { attributes: HTTP, failed: true, message: 'getaddrinfo ENOTFOUND api.example.com' },
      'failure',
    ],
    'a body that was cut off': [
      {
        attributes: { ...HTTP, 'http.response.status_code': 200 },
        failed: true,
        events: exception('ECONNRESET', 'aborted'),
      },
      'failure',
    ],
    'a machine without file descriptors': [
      { attributes: HTTP, failed: true, events: exception('EMFILE', 'connect EMFILE 127.0.0.1:443') },
      'ignored',
    ],
    'an abort that a span says nothing of': [{ attributes: HTTP }, 'ignored'],
    'an abort': [
      { attributes: HTTP, failed: true, events: exception('AbortError', 'The operation was aborted') },
      'ignored',
    ],
    'a timeout': [
      { attributes: HTTP, failed: true, events: exception('TimeoutError', 'The operation timed out') },
      'timeout',
    ],
    'a timeout in words': [
      { attributes: HTTP, failed: true, events: exception('Error', 'timeout of 500 ms') },
      'timeout',
    ],
    'a status of gRPC': [
      {
        attributes: { ...GRPC, 'rpc.response.status_code': 'UNAVAILABLE' },
        failed: true,
        message: '14 UNAVAILABLE: No',
      },
      'failure',
    ],
    'a status of gRPC that is an answer': [
      { attributes: { ...GRPC, 'rpc.grpc.status_code': 5 }, failed: true },
      'success',
    ],
    'a deadline of gRPC': [{ attributes: { ...GRPC, 'rpc.grpc.status_code': 4 }, failed: true }, 'timeout'],
    'a reply of Redis': [
      { attributes: REDIS, failed: true, events: exception('ReplyError', 'WRONGTYPE Operation against a key') },
      'success',
    ],
    'a Redis that loads': [
      { attributes: REDIS, failed: true, events: exception('ReplyError', 'LOADING Redis is loading') },
      'failure',
    ],
    'a command without an answer': [
      { attributes: REDIS, failed: true, events: exception('Error', 'Command timed out') },
      'timeout',
    ],
    'an error of SQL': [
      { attributes: PG, failed: true, events: exception('Error', 'relation "x" does not exist') },
      'success',
    ],
    'a code of SQL': [{ attributes: { ...PG, 'error.type': '53300' }, failed: true, message: 'too many' }, 'failure'],
    'a server that goes down, in words': [
      { attributes: PG, failed: true, message: 'terminating connection due to administrator command' },
      'failure',
    ],
    'an error of a connection whose message OpenTelemetry has replaced': [
      {
        attributes: PG,
        name: 'pg.connect',
        failed: true,
        message: 'connect ECONNREFUSED 127.0.0.1:5432',
        events: exception('', "PostgreSQL error of type 'Error' occurred (code: ECONNREFUSED)"),
      },
      'failure',
    ],
    'a query without an answer': [{ attributes: PG, failed: true, message: 'Query read timeout' }, 'timeout'],
  };
  for (const [what, [made, verdict]] of Object.entries(ENDINGS)) {
    it(`end as their spans say: ${what}`, () => expect(readingOf(made)).to.match(new RegExp(`: ${verdict}$`)));
  }

  const OUT: Readonly<Record<string, [made: Made, reason: string]>> = {
    'a call of a system without breakers': [{ attributes: { 'messaging.system': 'kafka' } }, 'other'],
    'a tunnel': [{ attributes: { ...HTTP, 'http.request.method': 'CONNECT' } }, 'other'],
    'a checkout of a pool': [{ attributes: PG, name: 'pg-pool.connect', failed: true }, 'other'],
    'a connection that was made': [{ attributes: PG, name: 'pg.connect' }, 'other'],
    'a call without a target': [{ attributes: { 'http.request.method': 'GET' } }, 'withoutTarget'],
    'a rejected call': [
      {
        attributes: HTTP,
        events: [{ name: 'circuit_breaker.rejected', attributes: { 'circuit_breaker.enforced': true } }],
      },
      'rejected',
    ],
  };
  for (const [what, [made, reason]] of Object.entries(OUT)) {
    it(`are not: ${what}`, () => expect(readingOf(made)).to.equal(reason));
  }

  it('are those that mode observe would have rejected', () => {
    const events = [{ name: 'circuit_breaker.rejected', attributes: { 'circuit_breaker.enforced': false } }];
    const attributes = { ...HTTP, 'http.response.status_code': 200 };
    expect(readingOf({ attributes, events })).to.match(/: success$/);
  });

  it('have an end that is not guessed', () => {
    const attributes = otlpValues({ ...HTTP, 'http.response.status_code': 200 });
    const bare = { traceId: 'a', kind: 'SPAN_KIND_CLIENT', attributes };
    const times = [
      {},
      { startTimeUnixNano: '5' },
      { endTimeUnixNano: '5' },
      { startTimeUnixNano: '5', endTimeUnixNano: '4' },
      { startTimeUnixNano: '5', endTimeUnixNano: '0' },
      { startTimeUnixNano: 'x', endTimeUnixNano: '9' },
    ];
    for (const time of times) expect(new Calls().read(readSpan({ ...bare, ...time })!)).to.equal('withoutTime');
    const { tags: jaegerTags } = jaeger({ attributes: HTTP }) as { tags: object[] };
    expect(new Calls().read(readSpan({ traceID: 'a', startTime: 5, tags: jaegerTags })!)).to.equal('withoutTime');
  });

  it('say which share of them was kept', () => {
    expect(shareKept('ot=th:c')).to.equal(0.25);
    expect(shareKept('vendor=1,ot=rv:0123456789abcd;th:8')).to.equal(0.5);
    expect(shareKept('ot=th:0')).to.equal(1);
    expect(shareKept('vendor=th:8')).to.equal(1);
    expect(shareKept('ot=th:zz')).to.equal(1);
  });
});
