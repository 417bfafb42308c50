import { expect } from 'chai';
import { checkHostPattern, Matcher, MatchIndex, normalizeHost } from '../../../src/rules/match.js';
import type { RuleMatch } from '../../../src/rules/rule.js';
import { Random } from '../../support/random.js';
import { target } from '../../support/targets.js';

function matches(match: RuleMatch, url: string): boolean {
  const parsed = target(url);
  return new Matcher(match).match(parsed, normalizeHost(parsed.host)) !== undefined;
}

function captures(host: string, url: string): readonly string[] | undefined {
  const parsed = target(url);
  return new Matcher({ host }).match(parsed, normalizeHost(parsed.host));
}

describe('Matcher', () => {
  const HOSTS: readonly [pattern: string, fits: readonly string[], others: readonly string[]][] = [
    [
      'api.example.com',
      ['api.example.com', 'API.Example.COM', 'api.example.com.'],
      ['example.com', 'a.api.example.com', 'apixexample.com'],
    ],
    ['*.example.com', ['api.example.com', 'a-b.example.com'], ['example.com', 'a.b.example.com', 'api.example.org']],
    ['**.example.com', ['api.example.com', 'a.b.c.example.com'], ['example.com', 'evil-example.com']],
    [
      'tenant-*.example.com',
      ['tenant-1.example.com'],
      ['tenant-.example.com', 'tenant-1.x.example.com', 'xtenant-1.example.com'],
    ],
    ['*.*.example.com', ['a.b.example.com'], ['a.example.com', 'a.b.c.example.com']],
    ['api.*', ['api.local'], ['api.example.com', 'api']],
    ['api.**', ['api.local', 'api.example.com'], ['api', 'myapi.local']],
    ['*', ['localhost'], ['example.com']],
    ['**', ['localhost', 'example.com', '10.0.0.1'], []],
    ['b*.(x)+', ['bb.(x)+'], ['bb.xx']],
    ['10.0.0.0/8', ['10.0.0.1', '10.255.255.255'], ['11.0.0.1', 'ten.example.com', '9.255.255.255']],
    ['192.168.1.7/24', ['192.168.1.200'], ['192.168.2.1']],
    ['10.1.2.3/32', ['10.1.2.3'], ['10.1.2.4']],
    ['0.0.0.0/0', ['8.8.8.8'], ['[::1]', 'example.com']],
    ['fd00::/8', ['[fd00::1]', '[fdff:0:0:0:0:0:0:1]'], ['[fe80::1]', '10.0.0.1']],
    ['::1', ['[::1]', '[0:0:0:0:0:0:0:1]'], ['[::2]']],
    ['[2001:DB8::1]', ['[2001:db8:0::1]'], ['[2001:db8::2]']],
    ['10.0.0.1', ['10.0.0.1'], ['10.0.0.10']],
    ['bücher.example', ['bücher.example', 'xn--bcher-kva.example'], ['bucher.example']],
  ];
  for (const [pattern, fits, others] of HOSTS) {
    it(`host ${pattern} fits ${fits.join(', ')}${others.length === 0 ? '' : ` and not ${others.join(', ')}`}`, () => {
      expect(checkHostPattern(pattern)).to.be.undefined;
      // Not by URL: it would not take every one of these for a host.
      const fit = (host: string) =>
        new Matcher({ host: pattern }).match({ system: 'http', scheme: 'http', host, port: 80 }, normalizeHost(host));
      for (const host of fits) {
        const ascii = host.includes('ü') ? target(`http://${host}`).host : host;
        expect(fit(ascii), host).to.not.be.undefined;
      }
      for (const host of others) expect(fit(host), host).to.be.undefined;
    });
  }

  it('gives what the wildcards of the host stand for', () => {
    expect(captures('*.*.example.com', 'http://acme.eu.example.com')).to.deep.equal(['acme', 'eu']);
    expect(captures('**.example.com', 'http://a.b.example.com')).to.deep.equal(['a.b']);
    expect(captures('api.example.com', 'http://api.example.com')).to.deep.equal([]);
  });

  it('asks for everything that is given, and of a list for one item', () => {
    const match: RuleMatch = { system: ['http', 'redis'], host: ['a', 'b'], port: [80, 6379] };
    expect(matches(match, 'http://a')).to.be.true;
    expect(matches(match, 'redis://b:6379')).to.be.true;
    expect(matches(match, 'http://c')).to.be.false;
    expect(matches(match, 'http://a:81')).to.be.false;
    expect(matches(match, 'postgresql://a:80/x')).to.be.false;
  });

  it('matches the database of PostgreSQL targets, also by a glob', () => {
    expect(matches({ database: 'orders' }, 'postgresql://db/orders')).to.be.true;
    expect(matches({ database: 'tenant_*' }, 'postgresql://db/tenant_7')).to.be.true;
    expect(matches({ database: 'orders' }, 'postgresql://db/users')).to.be.false;
    expect(matches({ database: '**' }, 'http://db')).to.be.false;
  });

  it('matches the name that the breaker has by default', () => {
    expect(matches({ name: 'https://api.example.com' }, 'https://api.example.com')).to.be.true;
    expect(matches({ name: 'https://**' }, 'https://api.example.com:8443')).to.be.true;
    expect(matches({ name: 'https://**' }, 'http://api.example.com')).to.be.false;
    expect(matches({ name: 'unix:/run/app.sock' }, 'unix:/run/app.sock')).to.be.true;
    expect(matches({ host: '/run/app.sock' }, 'unix:/run/app.sock')).to.be.true;
  });
});

describe('MatchIndex', () => {
  const index = (...patterns: RuleMatch[]) =>
    new MatchIndex(patterns.map((match, position) => ({ index: position, matcher: new Matcher(match) })));

  it('finds the first rule that matches, whichever way it is kept', () => {
    const rules = index(
      { port: 9 },
      { host: '*.example.com' },
      { host: 'a.example.com' },
      { host: ['b.org', '**'] },
      {},
    );
    expect(rules.first(target('http://a.example.com'))?.rule.index).to.equal(1);
    expect(rules.first(target('http://a.example.com:9'))?.rule.index).to.equal(0);
    expect(rules.first(target('http://b.org'))?.rule.index).to.equal(3);
  });

  it('says nothing where none matches', () => {
    expect(index({ host: 'a' }, { host: '*.b' }).first(target('http://c'))).to.be.undefined;
  });

  it('finds what asking every rule in turn finds, for 5,000 targets under random rules', () => {
    const random = new Random(3);
    const label = () => random.pick(['a', 'b', 'c']);
    const host = () => Array.from({ length: 1 + random.below(3) }, label).join('.');
    const pattern = () =>
      random.pick([
        host,
        () => `*.${host()}`,
        () => `**.${host()}`,
        () => `${label()}.*`,
        () => '10.0.0.0/8',
        () => `a*.${host()}`,
      ])();
    for (let round = 0; round < 50; round++) {
      const matchers = Array.from({ length: 1 + random.below(12) }, () => {
        const hosts = Array.from({ length: random.below(3) }, pattern);
        return new Matcher({
          ...(hosts.length > 0 && { host: hosts }),
          ...(random.next() < 0.3 && { port: 80 + random.below(2) }),
        });
      });
      const rules = new MatchIndex(matchers.map((matcher, position) => ({ index: position, matcher })));
      for (let call = 0; call < 100; call++) {
        const asked = target(`http://${random.next() < 0.1 ? '10.1.1.1' : host()}:${80 + random.below(3)}`);
        const first = matchers.findIndex((matcher) => matcher.match(asked, normalizeHost(asked.host)) !== undefined);
        expect(rules.first(asked)?.rule.index ?? -1).to.equal(first);
      }
    }
  });
});
