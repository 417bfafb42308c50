import { parser } from '@prometheus-io/lezer-promql';
import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { METRIC } from '../../src/telemetry/names.js';
import { startService, type Service } from '../console/service.js';
import { ROOT } from '../support/child.js';
import { succeed } from '../support/breakers.js';
import { Document } from './documents.js';
import { runCommand } from './run-command.js';

const page = new Document('docs/operations.md');
const TOKEN = 'token-of-this-test';

interface Alert {
  readonly alert: string;
  readonly annotations: { readonly runbook: string };
}

function prometheusName(instrument: string): string {
  return instrument.replaceAll('.', '_');
}

function alerts(): Alert[] {
  const text = readFileSync(join(ROOT, 'deploy/prometheus/alerts.rules.yml'), 'utf8');
  const { groups } = parse(text) as { groups: { rules: Alert[] }[] };
  return groups.flatMap(({ rules }) => rules);
}

describe('docs/operations.md', () => {
  it('has a runbook for each alert, where the alert says it is, and for no other', () => {
    const sections = page.sections.filter(({ title }) => title.startsWith('CircuitBreaker'));
    expect(sections.map(({ title }) => title)).to.have.members(alerts().map(({ alert }) => alert));
    for (const { alert, annotations } of alerts()) {
      const { anchor, text } = sections.find(({ title }) => title === alert)!;
      expect(annotations.runbook).to.equal(`${page.path}#${anchor}`);
      expect(text.length, alert).to.be.greaterThan(200);
    }
  });

  it('has queries that PromQL can read, of metrics that there are', () => {
    const queries = page.fences
      .filter(({ content }) => content.includes('circuit_breaker_'))
      .map(({ content }) => content.trim());
    expect(queries).to.have.length.greaterThan(3);
    const known = Object.values(METRIC).map(prometheusName);
    for (const query of queries) {
      const errors: string[] = [];
      parser.parse(query).iterate({ enter: (node) => void (node.type.isError && errors.push(query)) });
      expect(errors).to.deep.equal([]);
      for (const [name] of query.matchAll(/circuit_breaker_\w+/g)) {
        expect(known).to.include(name.replace(/_bucket$|_total$/, ''));
      }
    }
  });

  it('has, in the quick reference, a row for each instrument with its name in Prometheus', () => {
    const rows = readFileSync(join(ROOT, 'docs/quick-reference.md'), 'utf8').split('\n');
    for (const name of Object.values(METRIC)) {
      const row = rows.find((line) => line.startsWith(`| \`${name}\``)) ?? '';
      expect(row, name).to.match(new RegExp(`\\| \`${prometheusName(name)}(_total)?\``));
    }
  });

  describe('has commands that do what they say:', () => {
    let service: Service;
    beforeEach(async () => (service = await startService({ OTEL_BREAKER_ADMIN_TOKEN: TOKEN })));
    afterEach(() => service.stop());

    const commands = page.fences
      .filter(({ role }) => role === 'console')
      .flatMap(({ content }) => content.trim().split('\n'));

    for (const command of commands) {
      it(command, async () => {
        const payments = service.breaker('payments', { mode: 'observe' });
        if (command.endsWith('/reset')) payments.forceOpen();
        const asked = command
          .replace('curl', 'curl --silent --show-error --fail')
          .replace('localhost:9464', service.url);
        const { code, stdout, stderr } = await runCommand(asked, ROOT, { OTEL_BREAKER_ADMIN_TOKEN: TOKEN });
        expect(code, stderr).to.equal(0);
        const [, action] = /\/payments\/(\w+)$/.exec(command) ?? [];
        if (action === 'open') expect(payments.state).to.equal('open');
        else if (action === 'reset') expect(payments.state).to.equal('closed');
        else if (action !== undefined) expect(payments.config.mode).to.equal(action);
        else expect(JSON.parse(stdout)).to.be.an('object');
      });
    }
  });

  it('is right about the number of series of a breaker', async () => {
    const service = await startService();
    try {
      const seriesOf = async () => {
        const text = await (await fetch(`${service.url}/metrics`)).text();
        return text.split('\n').filter((line) => line.startsWith('circuit_breaker_'));
      };
      succeed(service.breaker('payments'));
      const series = await seriesOf();
      const ofHistogram = series.filter((line) => line.startsWith('circuit_breaker_call_duration_seconds'));
      expect(page.text).to.contain(`has ${series.length} series, ${ofHistogram.length} of them the histogram's`);
    } finally {
      await service.stop();
    }
  });
});
