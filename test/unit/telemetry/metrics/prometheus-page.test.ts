import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { AggregationTemporality, DataPointType, type MetricData } from '@opentelemetry/sdk-metrics';
import { ValueType, type Attributes } from '@opentelemetry/api';
import { expect } from 'chai';
import { Tally } from '../../../../src/breaker/tally.js';
import { DURATION_BOUNDS } from '../../../../src/telemetry/metrics/durations.js';
import { DURATION, OBSERVED, type BreakerNumbers } from '../../../../src/telemetry/metrics/metrics.js';
import { createPrometheusPage, type TextFormat } from '../../../../src/telemetry/metrics/prometheus-page.js';
import { PACKAGE } from '../../../../src/version.js';

const times = { startTime: [0, 0] as [number, number], endTime: [0, 0] as [number, number] };

/** Everything that is different from one breaker to the next: labels, counts, states, with and without durations. */
function numbersOf(count: number): BreakerNumbers[] {
  return Array.from({ length: count }, (_, index) => ({
    labels: {
      name:
        ['plain', 'quoted "}"', 'back\\slash', 'two\nlines', '{braces} 0', 'ünïcode 🚦'][index % 6]! + String(index),
      ...(index % 2 === 0 && { system: 'http', server_address: `host-${index}`, server_port: 8_000 + index }),
      ...(index % 3 === 0 && { worker: '3' }),
    },
    stateCode: (index % 3) as 0 | 1 | 2,
    config: { mode: index % 5 === 0 ? ('observe' as const) : ('enforce' as const) },
    hasAnswered: true,
    isUnhealthy: false,
    tally: Object.assign(new Tally(), {
      success: index * 1e9,
      failure: index % 5,
      rejectedOpen: index % 4,
      inFlight: 1,
    }),
    transitions: index % 2 === 0 ? undefined : [0, index, 0, 0, 0, 1, 2, 0, 0],
    durations:
      index % 4 === 0
        ? undefined
        : { counts: DURATION_BOUNDS.concat(0).map((_bound, at) => at * index), sum: index / 7 },
    fleetState: index % 7 === 0 ? ((index % 2) as 0 | 1) : undefined,
    lastFailure:
      index % 3 === 0 ? { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), at: 1_790_000_000_123 + index } : undefined,
  }));
}

/** The same in the words of OpenTelemetry's own serializer, all at once. */
function serialized(breakers: readonly BreakerNumbers[]): string {
  const base = { aggregationTemporality: AggregationTemporality.CUMULATIVE } as const;
  const metrics = OBSERVED.map(({ name, kind, description, observe }): MetricData => {
    const dataPoints: {
      attributes: Attributes;
      value: number;
      startTime: [number, number];
      endTime: [number, number];
    }[] = [];
    for (const breaker of breakers) {
      observe(breaker, breaker.labels, (value, attributes) => dataPoints.push({ attributes, value, ...times }));
    }
    const descriptor = { name, description, unit: '', valueType: ValueType.DOUBLE };
    return kind === 'gauge'
      ? { descriptor, ...base, dataPoints, dataPointType: DataPointType.GAUGE }
      : { descriptor, ...base, dataPoints, dataPointType: DataPointType.SUM, isMonotonic: true };
  });
  metrics.push({
    descriptor: { ...DURATION, valueType: ValueType.DOUBLE },
    ...base,
    dataPointType: DataPointType.HISTOGRAM,
    dataPoints: breakers.flatMap(({ labels, durations }) => {
      if (durations === undefined) return [];
      const count = durations.counts.reduce((sum, calls) => sum + calls, 0);
      const buckets = { boundaries: [...DURATION_BOUNDS], counts: [...durations.counts] };
      return [{ attributes: labels, value: { buckets, sum: durations.sum, count }, ...times }];
    }),
  });
  const scope = { name: PACKAGE.name, version: PACKAGE.version };
  const serializer = new PrometheusSerializer(undefined, false, undefined, true);
  return serializer.serialize({ resource: resourceFromAttributes({}), scopeMetrics: [{ scope, metrics }] });
}

/** Line by line what OpenMetrics has that Prometheus' text has not. */
function asOpenMetrics(text: string, breakers: readonly BreakerNumbers[]): string {
  const failing = [...breakers];
  const lines = text.split('\n').map((line) => {
    if (line.startsWith('# UNIT ')) return line.replace(/ s$/, ' seconds');
    if (line.startsWith('# ')) return line.replace(/^(# \w+ \w+)_total /, '$1 ');
    if (!line.startsWith('circuit_breaker_failed_calls_total{')) return line;
    const failure = failing.shift()!.lastFailure;
    if (failure === undefined) return line;
    return `${line} # {trace_id="${failure.traceId}",span_id="${failure.spanId}"} 1 ${failure.at / 1_000}`;
  });
  return lines.join('\n');
}

describe('The page of metrics', () => {
  async function pageOf(breakers: readonly BreakerNumbers[], format?: TextFormat): Promise<string> {
    const page = createPrometheusPage(() => Promise.resolve({ breakers, processes: [] }));
    try {
      const pieces = await page.write(format);
      for (;;) {
        const { done, value } = pieces.next();
        if (done === true) return Buffer.concat(value).toString();
      }
    } finally {
      await page.stop();
    }
  }

  it("is what OpenTelemetry's serializer makes of the same numbers, to the byte, whatever stands in the labels", async () => {
    const breakers = numbersOf(50);
    const page = await pageOf(breakers);
    const ofTarget = page.indexOf('# HELP circuit_breaker_state');
    expect(page.slice(0, ofTarget)).to.match(
      /^# HELP target_info .*\n# TYPE target_info gauge\ntarget_info\{.*\} 1\n$/,
    );
    expect(page.slice(ofTarget)).to.equal(serialized(breakers));
  });

  it('is the same in OpenMetrics, with its own descriptions and the trace of each last failure', async () => {
    const breakers = numbersOf(50);
    const page = await pageOf(breakers, 'openMetrics');
    const ofTarget = page.indexOf('# HELP circuit_breaker_state');
    expect(page.slice(0, ofTarget)).to.match(/^# HELP target .*\n# TYPE target info\ntarget_info\{.*\} 1\n$/);
    expect(page.slice(ofTarget)).to.equal(`${asOpenMetrics(serialized(breakers), breakers)}# EOF\n`);
  });

  it('leaves breakers in mode off out', async () => {
    const [first, second] = numbersOf(2);
    const off: BreakerNumbers = { ...second!, config: { mode: 'off' } };
    expect(await pageOf([off, first!])).to.equal(await pageOf([first!]));
  });

  it('leaves a metric out of which there is nothing to tell, and says so where there is nothing at all', async () => {
    const [first] = numbersOf(1);
    expect(await pageOf([first!])).not.to.include(DURATION.name);
    expect(await pageOf([])).to.match(/# no registered metrics$/);
  });
});
