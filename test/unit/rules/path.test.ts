import { expect } from 'chai';
import { ConfigError } from '../../../src/breaker/errors.js';
import { checkedSection } from '../../../src/rules/live-rules.js';
import { normalizePath } from '../../../src/target.js';
import { checkPathPattern, pathTest } from '../../../src/rules/path.js';
import { parseRules } from '../../../src/rules/load.js';
import type { Rule, RuleMatch } from '../../../src/rules/rule.js';
import { RuleSet } from '../../../src/rules/rule-set.js';
import { target } from '../../support/targets.js';

describe('normalizePath', () => {
  for (const [given, expected] of [
    ['/v1/a', '/v1/a'],
    ['/v1/a?x=/y', '/v1/a'],
    ['/v1/a#x', '/v1/a'],
    ['?x=1', '/'],
    ['', '/'],
    ['*', '*'],
    ['/a//b', '/a//b'],
    ['//a', '//a'],
    ['/a/./b', '/a/b'],
    ['/a/../b', '/b'],
    ['/../../b', '/b'],
    ['/a/b/..', '/a/'],
    ['/a/.', '/a/'],
    ['/a/%2e%2E/b', '/b'],
    ['/.well-known/...', '/.well-known/...'],
    ['/%61%2Fb%7e', '/a%2Fb~'],
    ['/a%2fb', '/a%2Fb'],
    ['/100%', '/100%'],
    ['/ü', '/%C3%BC'],
    ['/%c3%bc', '/%C3%BC'],
    ['http://api.test/v1/a?b', '/v1/a'],
    ['HTTPS://api.test:8443', '/'],
  ] as const) {
    it(`makes ${expected} of ${given === '' ? 'nothing' : given}`, () =>
      expect(normalizePath(given)).to.equal(expected));
  }
});

describe('A pattern for paths', () => {
  for (const [pattern, fits, others] of [
    ['/v1/a', ['/v1/a'], ['/v1/a/', '/v1/A', '/v1']],
    ['/v1/**', ['/v1', '/v1/', '/v1/a', '/v1/a/b'], ['/v10', '/v2/v1/']],
    ['/**', ['/', '/a', '//'], ['*']],
    ['/v1/*/items', ['/v1/7/items'], ['/v1//items', '/v1/7/8/items', '/v1/items']],
    ['/v1/*', ['/v1/a'], ['/v1/', '/v1', '/v1/a/b']],
    ['/**/export', ['/export', '/a/export', '/a/b/export'], ['/a/export/b', '/aexport']],
    ['/a/**/b/*', ['/a/b/c', '/a/x/y/b/c'], ['/a/b', '/a/b/', '/b/c']],
    ['/r-*-*.csv', ['/r-a-b.csv', '/r-a-b-c.csv'], ['/r-a.csv', '/r--.csv', '/r-a-b.csvx']],
    ['/%41/../b', ['/b'], ['/A/../b']],
  ] as const) {
    it(`${pattern} fits ${fits.join(', ')} and not ${others.join(', ')}`, () => {
      expect(checkPathPattern(pattern)).to.equal(undefined);
      const test = pathTest(pattern);
      expect(fits.filter((path) => !test(path))).to.deep.equal([]);
      expect(others.filter((path) => test(path))).to.deep.equal([]);
    });
  }

  it('takes no longer for a path that nearly fits than for any other of its length', () => {
    const test = pathTest('/*a*a*a*a*a*a*a*b/**/c');
    const path = `/${'a'.repeat(200_000)}${'/a'.repeat(100_000)}`;
    const before = performance.now();
    expect(test(path)).to.equal(false);
    expect(performance.now() - before).to.be.below(2_000);
  });
});

describe('Rules for some calls', () => {
  const HOST = 'reports.internal';
  const URL = `http://${HOST}`;

  function problemsOf(...rules: object[]): string {
    try {
      checkedSection('rules', { rules: rules as Rule[] });
      return '';
    } catch (error) {
      if (error instanceof ConfigError) return error.message;
      throw error;
    }
  }

  for (const [what, rule, message] of [
    [
      'a number without a name',
      { match: { host: HOST, path: '/a' }, failureThreshold: 3 },
      'rules: rules[0].failureThreshold: got 3; rules[0] has a path but no name; `failureThreshold` needs a circuit of its own. Give it a name.',
    ],
    [
      'a preset without a name',
      { match: { host: HOST, method: 'GET' }, preset: 'cache' },
      'rules[0] has a method but no name; `preset` needs a circuit of its own. Give it a name.',
    ],
    ['a path without host and name', { match: { path: '/a' }, mode: 'off' }, 'Say which host, or give it a name.'],
    [
      'a path of a system that has none',
      { match: { system: 'redis', path: '/a' }, name: 'a' },
      'rules[0].match.path: got "/a"; calls to redis have no path. Leave it out, or use system: "http" or "grpc".',
    ],
    [
      'a method of gRPC',
      { match: { system: ['http', 'grpc'], method: 'GET' }, name: 'a' },
      'calls to grpc have no method',
    ],
    ['a path with a query', { match: { path: '/a?b=1' }, name: 'a' }, 'Leave the query out: "/a".'],
    ['a path without a slash', { match: { path: 'a/b' }, name: 'a' }, 'Use a path that begins with a slash'],
    ['a URL for a path', { match: { path: 'http://a/b' }, name: 'a' }, 'Write the path alone: "/b".'],
    ['two wide wildcards', { match: { path: '/**/a/**' }, name: 'a' }, 'at most one **'],
    ['a wide wildcard within a segment', { match: { path: '/a**' }, name: 'a' }, 'alone between slashes'],
    ['a method that is none', { match: { method: 'GET /' }, name: 'a' }, 'no request has such a method'],
    [
      'a capture of a path',
      { match: { host: HOST, path: '/*' }, name: 'a-$1' },
      'match.host has no wildcard that $1 could stand for',
    ],
  ] as const) {
    it(`refuse ${what}`, () => expect(problemsOf(rule)).to.include(message));
  }

  it('refuse one that comes after a rule for all calls to the same host', () => {
    const message = problemsOf({ match: { host: HOST } }, { match: { host: HOST, path: '/a' }, name: 'a' });
    expect(message).to.include('rules[0] matches all calls to the same targets').and.include('Put it before rules[0].');
  });

  it('tell where in a file a path is wrong', () => {
    const text = `rules:\n  - match: { host: a, path: [/a, b] }\n    name: x\n`;
    const read = () => parseRules('r.yaml', text, {});
    expect(read).to.throw(ConfigError, /^r\.yaml:2:34 rules\[0\]\.match\.path\[1\]: got "b"/);
  });

  it('are tried in their order, and give a circuit with a name, or options for the calls of the host', () => {
    const rules = new RuleSet([
      checkedSection('rules', {
        rules: [
          {
            match: { host: HOST, path: '/v1/export/**', method: ['post', 'PUT'] },
            name: 'export',
            failureThreshold: 2,
          },
          { match: { host: '*.internal', path: '/v1/**' }, failureStatuses: [500], mode: 'observe' },
          { match: { host: HOST }, failureThreshold: 9 },
          { match: { host: ['a', HOST], path: '/never' }, name: 'never' },
        ],
      }),
    ]);
    const seen = (method: string, path: string) => {
      const part = rules.partOf(target(URL), { method, path });
      const { name, config, ofCalls } = rules.resolve(target(URL), false, part);
      return [name, config.failureThreshold, ofCalls?.failureThreshold, ofCalls?.mode];
    };
    expect(seen('POST', '/v1/export/7?x')).to.deep.equal(['export', 2, undefined, undefined]);
    expect(seen('put', '/v1/export')).to.deep.equal(['export', 2, undefined, undefined]);
    expect(seen('GET', '/v1/export/7')).to.deep.equal([URL, 9, 9, 'observe']);
    expect(seen('GET', '/v2')).to.deep.equal([URL, 9, undefined, undefined]);
    expect(seen('GET', '/never')).to.deep.equal([URL, 9, undefined, undefined]);
    expect(rules.partsOf(target('http://other.test'))).to.equal(undefined);
  });

  it('leave the mode to the environment', () => {
    const match: RuleMatch = { host: HOST, path: '/a' };
    const rules = new RuleSet([checkedSection('rules', { rules: [{ match, mode: 'off' }] })], 'observe');
    const part = rules.partOf(target(URL), { path: '/a' });
    expect(rules.resolve(target(URL), false, part).ofCalls).to.include({ mode: 'observe' });
  });
});

describe('respondWith', () => {
  const ofHost = (defaults: object, rule: object, url = 'http://a') =>
    new RuleSet([checkedSection('rules', { defaults, rules: [{ match: { host: 'a' }, ...rule }] })]).resolve(
      target(url),
    ).config;

  it('asks for an answer, whatever the defaults say', () => {
    expect(ofHost({ whenOpen: 'throw' }, { respondWith: { body: [] } })).to.deep.include({
      whenOpen: 'respond',
      respondWith: { body: [] },
    });
  });

  it('of the defaults gives way to a rule that asks for an error', () => {
    const config = ofHost({ respondWith: { body: [] } }, { whenOpen: 'throw' });
    expect(config.whenOpen).to.equal('throw');
    expect(config.respondWith).to.equal(undefined);
  });

  it('is nothing to systems other than http', () => {
    for (const url of ['grpc://a', 'redis://a', 'postgresql://a/x']) {
      const { whenOpen, respondWith } = ofHost({ respondWith: { body: [] } }, {}, url);
      expect([whenOpen, respondWith]).to.deep.equal([undefined, undefined]);
    }
  });

  it('beside whenOpen: throw is a mistake', () => {
    const read = () => ofHost({}, { whenOpen: 'throw', respondWith: {} });
    expect(read).to.throw(ConfigError, 'rules[0].whenOpen: got "throw"; respondWith has the answer');
  });

  it('tells which part of it is wrong, and where', () => {
    const text = 'rules:\n  - match: { host: a }\n    respondWith:\n      status: 99\n      statuz: 1\n';
    const read = () => parseRules('r.yaml', text, {});
    expect(read).to.throw(
      ConfigError,
      /r\.yaml:4:15 rules\[0\]\.respondWith\.status: got 99; no answer has such a status/,
    );
    expect(read).to.throw(ConfigError, /r\.yaml:5:7 rules\[0\]\.respondWith\.statuz: .*Did you mean "status"\?/);
  });

  it('reads its file when the rules are read, beside them', () => {
    const read = (file: string) =>
      parseRules('r.yaml', `defaults:\n  respondWith:\n    file: ${file}\n`, {}, __dirname).defaults!.respondWith!;
    expect(read('../../../package.json').body).to.be.instanceOf(Uint8Array);
    expect(read('../../../package.json').headers).to.deep.equal({ 'content-type': 'application/json' });
    expect(() => read('nowhere.json')).to.throw(
      ConfigError,
      /^r\.yaml:3:11 defaults\.respondWith\.file: .*there is no .*nowhere\.json/,
    );
    expect(() => read('.')).to.throw(ConfigError, 'is no file');
  });
});
