import { expect } from 'chai';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../../src/breaker/errors.js';
import type { ReplayReport } from '../../src/replay/report.js';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/files.js';
import { rejectionOf } from '../support/rejections.js';
import { replay } from './command.js';
import { BEGIN_MS, otlpDocument, otlpLines, otlpSpan, outage, type MadeCall } from './traces.js';

const RULES = 'defaults: { failureThreshold: 3, openDuration: 2s, initialOpenDuration: 2s, successThreshold: 1 }\n';

// Ten calls a second for twenty seconds, of which those of five seconds fail.
const OUTAGE = outage(5_000, 10_000, 20_000);

describe('otel-breaker replay', () => {
  let folder: string;
  beforeEach(() => (folder = temporaryDirectory()));
  afterEach(removeTemporaryDirectories);

  function file(name: string, text: string): string {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  }

  async function reportOf(calls: readonly MadeCall[] | string, ...args: string[]): Promise<ReplayReport> {
    const traces = file('traces.json', typeof calls === 'string' ? calls : otlpLines(calls));
    const rules = args.includes('--rules') ? [] : ['--rules', file('rules.yaml', RULES)];
    const { code, stdout, stderr } = await replay([traces, '--json', ...rules, ...args]);
    expect(code, stderr).to.equal(0);
    return JSON.parse(stdout) as ReplayReport;
  }

  it('says when a circuit would have opened and closed, why, what that saved and what it cost', async () => {
    const { calls, rules } = await reportOf(OUTAGE);
    expect(calls).to.equal(200);
    const [breaker] = rules[0]!.breakers;
    expect(breaker).to.deep.include({
      name: 'https://api.example.com',
      calls: 200,
      failed: 50,
      succeeded: 150,
      opened: 1,
    });
    // Three failures each 100 ms apart, of 50 ms; probes after 2 s, of which the third is answered.
    expect(breaker!.changes.map(({ at, from, to }) => [at - BEGIN_MS, from, to])).to.deep.equal([
      [5_250, 'closed', 'open'],
      [7_300, 'open', 'half_open'],
      [7_350, 'half_open', 'open'],
      [9_400, 'open', 'half_open'],
      [9_450, 'half_open', 'open'],
      [11_500, 'open', 'half_open'],
      [11_505, 'half_open', 'closed'],
    ]);
    const [episode] = breaker!.episodes;
    expect(episode).to.deep.equal({
      openedAt: BEGIN_MS + 5_250,
      closedAt: BEGIN_MS + 11_505,
      reason: '3 consecutive failures (threshold 3)',
      noticedAfterMs: 250,
      reopened: 2,
      rejected: { failed: 45, succeeded: 15, other: 0 },
    });
    expect(breaker!.rejected).to.deep.equal(episode!.rejected);
    expect(breaker!.savedMs).to.equal(45 * 50);
    expect(breaker!.openMs).to.equal(11_505 - 5_250);
    const { buckets } = breaker!.history;
    const sum = (key: 'called' | 'failed' | 'saved' | 'price') => buckets.reduce((all, bucket) => all + bucket[key], 0);
    expect([sum('called'), sum('failed'), sum('saved'), sum('price')]).to.deep.equal([150, 50, 45, 15]);
  });

  it('prints a table', async () => {
    const args = [file('traces.json', otlpLines(OUTAGE)), '--rules', file('rules.yaml', RULES)];
    const { stdout } = await replay(args);
    expect(stdout).to.contain('200 spans, 200 calls');
    expect(stdout).to.match(/^https:\/\/api\.example\.com +200 +50 +1 +6\.3 s +45 +2\.3 s +15 +250 ms$/m);
    expect(stdout).to.contain(
      '12:00:05.250 to 12:00:11.505 (6.3 s): 3 consecutive failures (threshold 3), 250 ms after the first; ' +
        '2 probes failed; rejected 45 that had failed, 15 that had succeeded',
    );
  });

  it('reads one document, many, standard input, and spans in any order', async () => {
    const shuffled = OUTAGE.toReversed().map(otlpSpan);
    const { rules: expected } = await reportOf(OUTAGE);
    for (const text of [JSON.stringify(otlpDocument(shuffled), null, 2), otlpLines(OUTAGE, 1)]) {
      expect((await reportOf(text)).rules).to.deep.equal(expected);
    }
    const { stdout } = await replay(['-', '--json', '--rules', file('rules.yaml', RULES)], otlpLines(OUTAGE));
    expect((JSON.parse(stdout) as ReplayReport).rules).to.deep.equal(expected);
  });

  it('plays rules in mode observe as if they were enforced, and guards nothing in mode off', async () => {
    const { rules: expected } = await reportOf(OUTAGE);
    const observed = await reportOf(OUTAGE, '--rules', file('observe.yaml', `mode: observe\n${RULES}`));
    expect(observed.rules[0]!.breakers).to.deep.equal(expected[0]!.breakers);
    const off = await reportOf(OUTAGE, '--rules', file('off.yaml', 'mode: off\n'));
    expect(off.rules[0]).to.deep.include({ unguarded: 200, breakers: [] });
  });

  it('puts two sets of rules side by side', async () => {
    const patient = file('old.yaml', 'defaults: { failureThreshold: 1000, failureRateThreshold: 1 }\n');
    const { rules } = await reportOf(OUTAGE, '--against', patient);
    expect(rules.map(({ breakers }) => breakers[0]!.opened)).to.deep.equal([1, 0]);
    const { stdout } = await replay([
      join(folder, 'traces.json'),
      '--rules',
      join(folder, 'rules.yaml'),
      '--against',
      patient,
    ]);
    expect(stdout)
      .to.match(/api\.example\.com +\S*rules\.yaml +200 +50 +1 /)
      .and.to.match(/^ +\S*old\.yaml +200 +50 +0 /m);
  });

  it('suggests settings that no other beats on both counts', async () => {
    const { suggestions } = await reportOf(OUTAGE, '--suggest');
    const [{ name, best }] = suggestions as [NonNullable<typeof suggestions>[number]];
    expect(name).to.equal('https://api.example.com');
    expect(best).not.to.be.empty;
    for (const [index, { saved, price }] of best.slice(1).entries()) {
      expect(price).to.be.greaterThan(best[index]!.price);
      expect(saved).to.be.greaterThan(best[index]!.saved);
    }
    const { stdout } = await replay([join(folder, 'traces.json'), '--rules', join(folder, 'rules.yaml'), '--suggest']);
    expect(stdout).to.match(/suggestions/);
  });

  it('says that counts of sampled traces are estimates', async () => {
    const sampled = OUTAGE.map((call) => ({ ...call, traceState: 'ot=th:c' }));
    expect((await reportOf(sampled)).sampling).to.deep.equal({ share: 0.25, source: 'tracestate' });
    expect((await reportOf(OUTAGE)).sampling).to.equal(null);
    expect((await reportOf(OUTAGE, '--sampled', '10%')).sampling).to.deep.equal({ share: 0.1, source: '--sampled' });
    const args = [join(folder, 'traces.json'), '--rules', join(folder, 'rules.yaml')];
    const { stdout } = await replay([...args, '--sampled', '0.1']);
    expect(stdout)
      .to.contain('1 call in 10 was recorded (--sampled)')
      .and.to.contain('≈ 2,000')
      .and.to.contain('≈ 450');
  });

  it('counts and tells what it leaves out', async () => {
    const rejected = {
      at: 15_000,
      events: [{ name: 'circuit_breaker.rejected', attributes: { 'circuit_breaker.enforced': true } }],
    };
    const endless = { ...otlpSpan({ at: 16_000 }), endTimeUnixNano: '0' };
    const nowhere = {
      ...otlpSpan({ at: 16_000 }),
      attributes: [{ key: 'http.method', value: { stringValue: 'GET' } }],
    };
    const server = { ...otlpSpan({ at: 16_000 }), kind: 2 };
    const late = { at: 20_000 + 6 * 60_000 };
    const text = [
      otlpLines([...OUTAGE, rejected]),
      JSON.stringify(otlpDocument([endless, nowhere, server])),
      otlpLines([late, { at: 0 }]),
    ].join('\n');
    const { leftOut, calls, spans } = await reportOf(text);
    expect({ leftOut, calls, spans }).to.deep.equal({
      leftOut: { other: 1, rejected: 1, withoutTime: 1, withoutTarget: 1, late: 1 },
      calls: 201,
      spans: 206,
    });
    const { stdout } = await replay([join(folder, 'traces.json'), '--rules', join(folder, 'rules.yaml')]);
    expect(stdout).to.contain('1 calls that a circuit rejected when they were recorded: their outcome is unknown');
    expect(stdout).to.contain('1 spans that came more than five minutes after later ones');
  });

  it('says file, line and what was expected where a file is not what it must be', async () => {
    const spans = JSON.stringify(otlpDocument([otlpSpan({ at: 0 })]));
    const BAD: Readonly<Record<string, string>> = {
      'level=info msg="no JSON"': ':1: found "l"; expected a JSON document',
      '': ':1: there is no span in it; expected traces as JSON',
      '{"resourceMetrics": []}': ':1: there is no span in it; expected traces as JSON',
      [`${spans}\n{"spans": [{"traceId": tru}]}`]: ':2: Unexpected token',
      [`${spans}\n\n{"spans": [{"id": "zipkin"}]}`]:
        ':3: it has no traceId and no traceID; expected a span of OTLP or of Jaeger',
      [spans.slice(0, -40)]: ':1: the file ends within a span',
    };
    for (const [text, message] of Object.entries(BAD)) {
      const { code, stdout, stderr } = await replay([file('bad.json', text)]);
      expect({ code, stdout }, message).to.deep.equal({ code: 1, stdout: '' });
      expect(stderr).to.contain(`bad.json${message}`);
    }
    const { code, stderr } = await replay([join(folder, 'none.json')]);
    expect(code).to.equal(1);
    expect(stderr).to.contain('none.json');
    const rules = file('bad.yaml', 'defaults: { failureThreshold: 0 }\n');
    expect(await rejectionOf(replay([file('traces.json', spans), '--rules', rules]))).to.be.instanceOf(ConfigError);
    for (const args of [[], ['x', '--sampled', '7'], ['x', '--sampled', '0']]) {
      expect(await rejectionOf(replay(args))).to.have.property('name', 'UsageError');
    }
  });

  it('draws how far it has come in a terminal, and leaves nothing of that', async () => {
    const { stderr } = await replay(
      [file('traces.json', otlpLines(OUTAGE)), '--rules', file('rules.yaml', RULES)],
      '',
      true,
    );
    expect(stderr).to.match(/^\r\u001b\[K\[#+\] 100 % 0 MB, 200 spans.*\r\u001b\[K$/);
  });
});
