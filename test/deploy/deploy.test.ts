import { parser } from '@prometheus-io/lezer-promql';
import { expect } from 'chai';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse } from 'yaml';
import { buildDashboard, readDashboard, renderDashboard } from '../../deploy/grafana/dashboard.js';
import { fail, openCircuit, succeed } from '../support/breakers.js';
import { ROOT } from '../support/child.js';
import { startService, type Service } from '../console/service.js';
import { isOfFleet, queries, queriesOfDocuments } from './queries.js';
import { promtool, startPrometheus, type Prometheus } from './prometheus.js';

const DEPLOY = join(ROOT, 'deploy');
const RULES = join(DEPLOY, 'prometheus');
const RULE_FILES = ['recording.rules.yml', 'alerts.rules.yml'];

/** What of a panel is looked at. */
interface Panel {
  readonly type: string;
  readonly title: string;
  readonly options: { readonly legend: { readonly showLegend: boolean } };
  readonly fieldConfig: {
    readonly defaults: { readonly color?: { readonly mode: string } };
    readonly overrides: readonly {
      readonly matcher: { readonly options: unknown };
      readonly properties: readonly { readonly value: unknown }[];
    }[];
  };
}

/** Rules whose minutes are seconds. */
function hastened(file: string): string {
  return readFileSync(join(RULES, file), 'utf8')
    .replace(/for: \d+m/g, 'for: 1s')
    .replace(/\[\d+m\]/g, '[15s]');
}

describe('Grafana dashboard', () => {
  it('is committed as the code makes it', () => {
    expect(readDashboard(), 'run `npm run dashboard` and commit').to.equal(renderDashboard());
  });

  it('has queries that PromQL can read, and that aggregate', () => {
    expect(queries().length).to.be.greaterThan(10);
    for (const expr of queries()) {
      let broken = false;
      parser.parse(expr).iterate({
        enter: (node) => {
          if (node.type.isError) broken = true;
        },
      });
      expect(broken, expr).to.be.false;
      expect(expr).to.match(/\b(sum|max|count)\b/);
    }
  });

  it('has legends and colours that stay', () => {
    const panels = buildDashboard().panels as unknown as Panel[];
    const graphs = panels.filter(({ type }) => type === 'timeseries');
    expect(graphs.length).to.be.greaterThan(5);
    for (const { title, options, fieldConfig } of graphs) {
      expect(options.legend.showLegend, title).to.be.true;
      expect(fieldConfig.defaults.color?.mode, title).to.equal('palette-classic-by-name');
    }
    const outcomes = panels.find(({ title }) => title === 'Calls by outcome')!;
    const colors = outcomes.fieldConfig.overrides.map(({ matcher, properties }) => [
      matcher.options,
      (properties[0]!.value as { fixedColor: string }).fixedColor,
    ]);
    expect(colors).to.deep.equal([
      ['/succeeded/', 'green'],
      ['/failed/', 'red'],
      ['/rejected/', 'orange'],
    ]);
  });

  it('would notice a query that PromQL cannot read', () => {
    const errors: string[] = [];
    parser.parse('sum by (name (rate(a[5m]))').iterate({
      enter: (node) => {
        if (node.type.isError) errors.push(node.name);
      },
    });
    expect(errors).not.to.be.empty;
  });
});

describe('Prometheus rules', () => {
  it('are rules to promtool', () => {
    const { ok, output } = promtool(RULES, 'check', 'rules', ...RULE_FILES);
    expect(ok, output).to.be.true;
  });

  it('fire when they should, and not before', () => {
    const { ok, output } = promtool(RULES, 'test', 'rules', 'rules.test.yml');
    expect(ok, output).to.be.true;
  });

  it('have a test each', () => {
    const { groups } = parse(readFileSync(join(RULES, 'alerts.rules.yml'), 'utf8')) as {
      groups: { rules: { alert: string; labels: { severity: string } }[] }[];
    };
    const tests = readFileSync(join(RULES, 'rules.test.yml'), 'utf8');
    for (const { alert } of groups.flatMap(({ rules }) => rules)) {
      expect(tests, alert).to.match(new RegExp(`alertname: ${alert}\\s+exp_alerts:\\s+- exp_labels`));
    }
  });
});

describe('real Prometheus', function () {
  this.timeout(120_000);
  let service: Service;
  let prometheus: Prometheus | undefined;
  before(async () => {
    service = await startService();
    prometheus = await startPrometheus([new URL(service.url).host], RULE_FILES.map(hastened));
  });
  after(async () => {
    await prometheus?.stop();
    await service.stop();
  });

  it('sees a circuit open, alerts, has data for every panel, and resolves when it closes', async () => {
    const payments = service.breaker('payments', { openDuration: '1h' });
    const search = service.breaker('search', { failureThreshold: 100, minimumCalls: 1_000_000 });
    openCircuit(service.breaker('tried', { mode: 'observe' }));
    // The panels for panic and rules have data from the first of each on; the test of a night has both.
    const isLater = (expr: string) => expr.includes('circuit_breaker_panic') || isOfFleet(expr);
    const traffic = setInterval(() => {
      succeed(search);
      fail(search);
      // Rejected, once its circuit is open.
      void payments.call(() => {}).catch(() => {});
    }, 20);
    try {
      const open = prometheus!.alert('CircuitBreakerOpenTooLong', 'firing');
      const rejecting = prometheus!.alert('CircuitBreakerRejectingCalls', 'firing');
      openCircuit(payments);
      expect((await open).labels).to.include({ name: 'payments', job: 'shop' });
      expect((await rejecting).labels).to.include({ name: 'payments' });
      expect((await prometheus!.alert('CircuitBreakerNearThreshold', 'firing')).labels).to.include({ name: 'search' });

      for (const expr of queries()) {
        if (!isLater(expr) || expr.includes('vector(0)')) await hasData(expr);
      }
      // Open is worse than half-open, whatever the gauge's numbers are.
      const worst = queries().find(
        (expr) => expr.startsWith('max by (name) (circuit_breaker_state') && expr.includes('% 2'),
      )!;
      expect(await prometheus!.value(worst, { name: 'payments' })).to.equal(2);
      expect(await prometheus!.value(worst, { name: 'search' })).to.equal(0);

      const resolved = prometheus!.alert('CircuitBreakerOpenTooLong', 'resolved');
      payments.reset();
      expect((await resolved).labels).to.include({ name: 'payments' });
    } finally {
      clearInterval(traffic);
    }
  });

  it('has data for every query of the documents', async () => {
    const asked = queriesOfDocuments();
    expect(asked).to.have.length.greaterThan(12);
    const shop = service.breaker('shop', { failureThreshold: 1_000_000, minimumCalls: 1_000_000 });
    const held = service.breaker('held open');
    held.forceOpen();
    const tried = service.breaker('observed', { mode: 'observe' });
    tried.forceOpen();
    // Opens and closes by turns.
    const flapping = service.breaker('flapping', { openDuration: 1, initialOpenDuration: 1, successThreshold: 1 });
    const traffic = setInterval(() => {
      succeed(shop);
      fail(shop);
      succeed(tried);
      void held.call(() => {}).catch(() => {});
      if (flapping.state === 'closed') openCircuit(flapping);
      else succeed(flapping);
    }, 20);
    try {
      for (const expr of asked) await hasData(expr);
    } finally {
      clearInterval(traffic);
    }
  });

  /** Two scrapes may still be missing to a rate; there is no event for them. */
  async function hasData(expr: string): Promise<void> {
    while ((await prometheus!.count(expr)) === 0) await sleep(200);
  }
});

describe('compose file', () => {
  it('mounts files that are there', () => {
    const { services } = parse(readFileSync(join(DEPLOY, 'compose.yaml'), 'utf8')) as {
      services: Record<string, { image: string; volumes?: string[]; ports?: string[] }>;
    };
    expect(Object.keys(services)).to.have.members(['collector', 'jaeger', 'prometheus', 'grafana']);
    for (const [name, { image, volumes = [], ports = [] }] of Object.entries(services)) {
      expect(image, name).to.match(/:v?\d/);
      for (const volume of volumes) expect(existsSync(join(DEPLOY, volume.split(':')[0]!)), volume).to.be.true;
      // A dashboard without a password is for this machine alone.
      for (const port of ports) expect(port, name).to.match(/^127\.0\.0\.1:/);
    }
  });

  it('gives Prometheus a configuration that it takes', () => {
    const { ok, output } = promtool(RULES, 'check', 'config', '--syntax-only', 'prometheus.yml');
    expect(ok, output).to.be.true;
  });
});
