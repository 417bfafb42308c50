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
const CHOSEN = 'job=~"$job", instance=~"$instance", name=~"$name"';
const CHOSEN_PROCESSES = 'job=~"$job", instance=~"$instance"';
const WIDTH = 24;
/** More lines than this in one graph nobody tells apart. */
const MOST = 10;

/**
 * The worst state of each circuit among its workers: 0 closed, 1 half-open, 2 open. The gauge has open as 1 and half-open as
 * 2, so that the greatest of its values is not the worst.
 */
function worst(by: string): string {
  return `max by (${by}) (circuit_breaker_state{${CHOSEN}} % 2 * 1.5 + circuit_breaker_state{${CHOSEN}} / 2)`;
}

const COLORS = { closed: 'green', halfOpen: 'orange', open: 'red', observe: 'blue' } as const;

function mappings(...texts: [value: number, text: string, color: string][]): dashboard.ValueMapping[] {
  const options = Object.fromEntries(
    texts.map(([value, text, color], index) => [String(value), { text, color, index }] as const),
  );
  return [{ type: dashboard.MappingType.ValueToText, options }];
}

const STATES = mappings([0, 'closed', COLORS.closed], [1, 'half-open', COLORS.halfOpen], [2, 'open', COLORS.open]);

function query(expr: string, legend = ''): DataqueryBuilder {
  return new DataqueryBuilder().expr(expr).legendFormat(legend).datasource(PROMETHEUS);
}

function fixed(color: string): dashboard.FieldColorBuilder {
  return new dashboard.FieldColorBuilder().mode(dashboard.FieldColorModeId.Fixed).fixedColor(color);
}

/** One number of this moment. */
function stat(title: string, expr: string): StatBuilder {
  return new StatBuilder()
    .title(title)
    .datasource(PROMETHEUS)
    .height(4)
    .span(WIDTH / 6)
    .withTarget(query(expr).instant());
}

/** How many circuits are in a state, each of them in its worst. */
function count(title: string, state: 0 | 1 | 2, color: string): StatBuilder {
  return stat(title, `sum(${worst('job, instance, name')} == bool ${state})`).colorScheme(fixed(color));
}

/** A number that is good as long as it is 0. */
function alarm(title: string, description: string, expr: string): StatBuilder {
  return stat(title, `sum(${expr}) or vector(0)`)
    .description(description)
    .thresholds(
      new dashboard.ThresholdsConfigBuilder().mode(dashboard.ThresholdsMode.Absolute).steps([
        { value: null, color: 'green' },
        { value: 1, color: 'red' },
      ]),
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
    .showPoints(common.VisibilityMode.Never)
    .legend(
      new common.VizLegendOptionsBuilder()
        .showLegend(true)
        .displayMode(common.LegendDisplayMode.Table)
        .placement(common.LegendPlacement.Bottom)
        .calcs(['lastNotNull', 'max']),
    )
    // A breaker has the same colour in every graph and at every time.
    .colorScheme(new dashboard.FieldColorBuilder().mode(dashboard.FieldColorModeId.PaletteClassicByName));
  for (const target of targets) panel.withTarget(target);
  return panel;
}

/** Series with this in their legend always have this colour. */
function colored(panel: TimeseriesBuilder, colors: Readonly<Record<string, string>>): TimeseriesBuilder {
  for (const [text, fixedColor] of Object.entries(colors)) {
    panel.overrideByRegexp(`/${text}/`, [
      { id: 'color', value: { mode: dashboard.FieldColorModeId.Fixed, fixedColor } },
    ]);
  }
  return panel;
}

function timeline(title: string, description: string, height: number, values: dashboard.ValueMapping[]) {
  return new StateTimelineBuilder()
    .title(title)
    .description(description)
    .datasource(PROMETHEUS)
    .height(height)
    .mappings(values)
    .showValue(common.VisibilityMode.Never)
    .legend(
      new common.VizLegendOptionsBuilder()
        .showLegend(true)
        .displayMode(common.LegendDisplayMode.List)
        .placement(common.LegendPlacement.Bottom),
    );
}

/** Per second, summed by these labels. */
function rate(metric: string, by: string, labels = ''): string {
  return `sum by (${by}) (rate(circuit_breaker_${metric}{${CHOSEN}${labels}}[$__rate_interval]))`;
}

/** A quantile of the durations, of the breakers where it is greatest. */
function slowest(share: number): string {
  return `topk(${MOST}, histogram_quantile(${share}, ${rate('call_duration_seconds_bucket', 'le, name')}))`;
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
    .withVariable(variable('instance', 'Instance', 'circuit_breaker_state{job=~"$job"}'))
    .withVariable(variable('name', 'Breaker', 'circuit_breaker_state{job=~"$job", instance=~"$instance"}'))
    .withPanel(count('Open', 2, COLORS.open))
    .withPanel(count('Half-open', 1, COLORS.halfOpen))
    .withPanel(count('Closed', 0, COLORS.closed))
    .withPanel(stat('Rejected', `sum(${rate('calls_total', 'name', ', status="rejected"')})`).unit('reqps'))
    .withPanel(
      alarm(
        'Instances in panic',
        'They have lost most of their targets at once and reject nothing: look nearer than the targets.',
        `max by (job, instance) (circuit_breaker_panic{${CHOSEN_PROCESSES}})`,
      ),
    )
    .withPanel(
      alarm(
        'Rules not taken',
        'Instances whose rules file has turned bad while they ran: the rules before are in force there.',
        `min by (job, instance) (circuit_breaker_rules_last_reload_successful{${CHOSEN_PROCESSES}}) == bool 0`,
      ),
    )
    .withPanel(
      timeline(
        'State',
        'Of each circuit the worst state among all instances. An open circuit that nobody calls stays open.',
        9,
        STATES,
      )
        .span(WIDTH)
        .withTarget(query(worst('name'), '{{name}}')),
    )
    .withPanel(
      timeline(
        'Not enforcing',
        'Breakers that count and reject nothing. All others enforce.',
        6,
        mappings([0, 'enforce', COLORS.closed], [1, 'observe', COLORS.observe]),
      )
        .span(WIDTH / 2)
        .noValue('All breakers enforce')
        .withTarget(query(`max by (name) (circuit_breaker_mode{${CHOSEN}})`, '{{name}}')),
    )
    .withPanel(
      timeline(
        'Panic',
        'While an instance is in panic, no circuit of it rejects calls.',
        6,
        mappings([0, 'over', COLORS.closed], [1, 'panic', COLORS.open]),
      )
        .span(WIDTH / 2)
        .noValue('There was none')
        .withTarget(query(`max by (instance) (circuit_breaker_panic{${CHOSEN_PROCESSES}})`, '{{instance}}')),
    )
    .withPanel(
      colored(
        graph(
          'Calls by outcome',
          'Ignored calls, those that say nothing about the target, are not drawn.',
          'reqps',
          query(`sum(${rate('successful_calls_total', 'name')})`, 'succeeded'),
          query(`sum(${rate('failed_calls_total', 'name')})`, 'failed'),
          query(`sum(${rate('calls_total', 'name', ', status="rejected"')})`, 'rejected'),
        ),
        { succeeded: 'green', failed: 'red', rejected: 'orange' },
      ),
    )
    .withPanel(
      graph(
        'Failure rate',
        `The ${MOST} highest. The line is the default failureRateThreshold; the rules may say otherwise.`,
        'percentunit',
        query(
          `topk(${MOST}, ${rate('failed_calls_total', 'name')} / ((${rate('failed_calls_total', 'name')} + ` +
            `${rate('successful_calls_total', 'name')}) > 0))`,
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
        'Latency, median',
        `Of the ${MOST} breakers where it is highest; of calls that succeeded or failed, since rejected ones take no time.`,
        's',
        query(slowest(0.5), '{{name}}'),
      ),
    )
    .withPanel(
      graph(
        'Latency, 99th percentile',
        `Of the ${MOST} breakers where it is highest.`,
        's',
        query(slowest(0.99), '{{name}}'),
      ),
    )
    .withPanel(
      graph(
        'Rejected, or would have been',
        'enforced=false: let through by mode observe or by panic, and rejected otherwise.',
        'reqps',
        query(rate('rejected_calls_total', 'name, reason, enforced'), '{{name}} {{reason}} enforced={{enforced}}'),
      ),
    )
    .withPanel(
      colored(
        graph(
          'Changes of state',
          'In the time between two points.',
          'short',
          query(
            `sum by (name, from_state, to_state) (increase(circuit_breaker_state_transitions_total{${CHOSEN}}[$__rate_interval]))`,
            '{{name}} {{from_state}} → {{to_state}}',
          ),
        ).drawStyle(common.GraphDrawStyle.Bars),
        { '→ open$': COLORS.open, '→ half_open$': COLORS.halfOpen, '→ closed$': COLORS.closed },
      ),
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
      timeline(
        'Fleet, verdicts',
        'What the fleet says of each target, in mode observe too. Without a fleet there is nothing here.',
        6,
        mappings([0, 'well', COLORS.closed], [1, 'open', COLORS.open]),
      )
        .span(WIDTH / 2)
        .noValue('No fleet')
        .withTarget(query(`max by (name) (circuit_breaker_fleet_state{${CHOSEN}})`, '{{name}}')),
    )
    .withPanel(
      graph(
        'Fleet, replicas',
        'How many replicas those that reach the fleet know, and how many do not reach it.',
        'short',
        query(`max by (job) (circuit_breaker_fleet_replicas{${CHOSEN_PROCESSES}})`, '{{job}} replicas'),
        query(`count by (job) (circuit_breaker_fleet_connected{${CHOSEN_PROCESSES}} == 0)`, '{{job}} not connected'),
      ),
    )
    .withPanel(
      new TableBuilder()
        .title('Breakers')
        .datasource(PROMETHEUS)
        .height(8)
        .span(WIDTH / 2)
        .overrideByName('Value', [{ id: 'mappings', value: STATES }])
        .withTarget(query(worst('job, instance, name')).instant().format(PromQueryFormat.Table)),
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
