/**
 * The Grafana dashboard, as code: `npm run dashboard` writes otel-breaker.json beside this file.
 *
 * Every query aggregates: OpenTelemetry's scope is on each series as labels. Every one is by metrics names as the
 * Prometheus exporter and an OpenTelemetry Collector both write them.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as common from '@grafana/grafana-foundation-sdk/common';
import * as dashboard from '@grafana/grafana-foundation-sdk/dashboard';
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as StateTimelineBuilder } from '@grafana/grafana-foundation-sdk/statetimeline';
import { PanelBuilder as TableBuilder } from '@grafana/grafana-foundation-sdk/table';
import { PanelBuilder as TimeseriesBuilder } from '@grafana/grafana-foundation-sdk/timeseries';

export const DASHBOARD_FILE = join(__dirname, 'otel-breaker.json');

const PROMETHEUS = { type: 'prometheus', uid: '${datasource}' };
const CHOSEN = 'job=~"$job", name=~"$name"';
const WIDTH = 24;

const STATES: dashboard.ValueMapping[] = [
  {
    type: dashboard.MappingType.ValueToText,
    options: {
      '0': { text: 'closed', color: 'green', index: 0 },
      '1': { text: 'open', color: 'red', index: 1 },
      '2': { text: 'half-open', color: 'orange', index: 2 },
    },
  },
];

function query(expr: string, legend = ''): DataqueryBuilder {
  return new DataqueryBuilder().expr(expr).legendFormat(legend).datasource(PROMETHEUS);
}

/** How many circuits are in a state, by what the gauge says. */
function count(title: string, code: 0 | 1 | 2, color: string): StatBuilder {
  return new StatBuilder()
    .title(title)
    .datasource(PROMETHEUS)
    .height(4)
    .span(WIDTH / 4)
    .colorScheme(new dashboard.FieldColorBuilder().mode(dashboard.FieldColorModeId.Fixed).fixedColor(color))
    .withTarget(
      query(`sum(max by (job, instance, name) (circuit_breaker_state{${CHOSEN}}) == bool ${code})`).instant(),
    );
}

function graph(title: string, description: string, unit: string, ...targets: DataqueryBuilder[]): TimeseriesBuilder {
  const panel = new TimeseriesBuilder()
    .title(title)
    .description(description)
    .datasource(PROMETHEUS)
    .unit(unit)
    .min(0)
    .height(8)
    .span(WIDTH / 2)
    .fillOpacity(10)
    .showPoints(common.VisibilityMode.Never);
  for (const target of targets) panel.withTarget(target);
  return panel;
}

/** Per second, summed by these labels. */
function rate(metric: string, by: string, labels = ''): string {
  return `sum by (${by}) (rate(circuit_breaker_${metric}{${CHOSEN}${labels}}[$__rate_interval]))`;
}

function quantile(share: number): string {
  return `histogram_quantile(${share}, ${rate('call_duration_seconds_bucket', 'le, name')})`;
}

function variable(name: string, label: string, of: string): dashboard.QueryVariableBuilder {
  return new dashboard.QueryVariableBuilder(name)
    .label(label)
    .datasource(PROMETHEUS)
    .query(`label_values(${of}, ${name})`)
    .refresh(dashboard.VariableRefresh.OnTimeRangeChanged)
    .sort(dashboard.VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    .current({ selected: true, text: 'All', value: '$__all' });
}

export function buildDashboard(): dashboard.Dashboard {
  return new dashboard.DashboardBuilder('Circuit breakers')
    .uid('otel-breaker')
    .description('Circuit breakers of otel-breaker: what they let through, what they rejected, and when they changed.')
    .tags(['otel-breaker', 'resilience'])
    .refresh('10s')
    .time({ from: 'now-1h', to: 'now' })
    .timezone('browser')
    .tooltip(dashboard.DashboardCursorSync.Crosshair)
    .withVariable(new dashboard.DatasourceVariableBuilder('datasource').label('Data source').type('prometheus'))
    .withVariable(variable('job', 'Service', 'circuit_breaker_state'))
    .withVariable(variable('name', 'Breaker', 'circuit_breaker_state{job=~"$job"}'))
    .withPanel(count('Open', 1, 'red'))
    .withPanel(count('Half-open', 2, 'orange'))
    .withPanel(count('Closed', 0, 'green'))
    .withPanel(
      new StatBuilder()
        .title('Rejected')
        .datasource(PROMETHEUS)
        .unit('reqps')
        .height(4)
        .span(WIDTH / 4)
        .withTarget(query(`sum(${rate('calls_total', 'name', ', status="rejected"')})`)),
    )
    .withPanel(
      new StateTimelineBuilder()
        .title('State')
        .description('Of each circuit the worst state among all instances.')
        .datasource(PROMETHEUS)
        .height(9)
        .span(WIDTH)
        .mappings(STATES)
        .showValue(common.VisibilityMode.Never)
        .withTarget(query(`max by (name) (circuit_breaker_state{${CHOSEN}})`, '{{name}}')),
    )
    .withPanel(
      graph(
        'Calls by outcome',
        'Ignored calls, those that say nothing about the target, are not drawn.',
        'reqps',
        query(`sum(${rate('successful_calls_total', 'name')})`, 'succeeded'),
        query(`sum(${rate('failed_calls_total', 'name')})`, 'failed'),
        query(`sum(${rate('calls_total', 'name', ', status="rejected"')})`, 'rejected'),
      ),
    )
    .withPanel(
      graph(
        'Failure rate',
        'The line is the default failureRateThreshold; the rules may say otherwise.',
        'percentunit',
        query(
          `${rate('failed_calls_total', 'name')} / ((${rate('failed_calls_total', 'name')} + ` +
            `${rate('successful_calls_total', 'name')}) > 0)`,
          '{{name}}',
        ),
      )
        .max(1)
        .thresholds(
          new dashboard.ThresholdsConfigBuilder().mode(dashboard.ThresholdsMode.Absolute).steps([
            { value: null, color: 'transparent' },
            { value: 0.5, color: 'red' },
          ]),
        )
        .thresholdsStyle(new common.GraphThresholdsStyleConfigBuilder().mode(common.GraphThresholdsStyleMode.Dashed)),
    )
    .withPanel(
      graph(
        'Duration',
        'Of calls that succeeded or failed; rejected ones take no time worth drawing.',
        's',
        ...[0.5, 0.95, 0.99].map((share) => query(quantile(share), `p${share * 100} {{name}}`)),
      ),
    )
    .withPanel(
      graph(
        'Rejected, or would have been',
        'enforced=false: let through by mode observe, and would have been rejected by mode enforce.',
        'reqps',
        query(rate('rejected_calls_total', 'name, reason, enforced'), '{{name}} {{reason}} enforced={{enforced}}'),
      ),
    )
    .withPanel(
      graph(
        'Changes of state',
        'In the time between two points.',
        'short',
        query(
          `sum by (name, from_state, to_state) (increase(circuit_breaker_state_transitions_total{${CHOSEN}}[$__rate_interval]))`,
          '{{name}} {{from_state}} → {{to_state}}',
        ),
      ).drawStyle(common.GraphDrawStyle.Bars),
    )
    .withPanel(
      graph(
        'Share of the time not closed',
        'Over the last hour, the worst instance.',
        'percentunit',
        query(
          `max by (name) (avg_over_time((max by (job, instance, name) (circuit_breaker_state{${CHOSEN}}) > bool 0)[1h:1m]))`,
          '{{name}}',
        ),
      ).max(1),
    )
    .withPanel(
      new TableBuilder()
        .title('Breakers')
        .datasource(PROMETHEUS)
        .height(10)
        .span(WIDTH)
        .overrideByName('Value', [{ id: 'mappings', value: STATES }])
        .withTarget(
          query(`max by (job, instance, name) (circuit_breaker_state{${CHOSEN}})`)
            .instant()
            .format(PromQueryFormat.Table),
        ),
    )
    .build();
}

/** The file's content. */
export function renderDashboard(): string {
  return `${JSON.stringify(buildDashboard(), null, 2)}\n`;
}

/** What the committed file says. */
export function readDashboard(): string {
  return readFileSync(DASHBOARD_FILE, 'utf8');
}

if (require.main === module) writeFileSync(DASHBOARD_FILE, renderDashboard());
