import {
  AggregationTemporality,
  DataPointType,
  MeterProvider,
  MetricReader,
  type Histogram,
} from '@opentelemetry/sdk-metrics';

/** A reader that is asked by hand. */
export class ManualReader extends MetricReader {
  constructor(temporality = AggregationTemporality.CUMULATIVE) {
    super({ aggregationTemporalitySelector: () => temporality });
  }

  protected override async onForceFlush(): Promise<void> {}
  protected override async onShutdown(): Promise<void> {}

  /** Everything there is, one line for each series: `circuit_breaker.calls{name="a",status="allowed"} 3`. */
  async scrape(): Promise<string[]> {
    return (await this.#metrics()).flatMap(({ descriptor, dataPointType, dataPoints }) =>
      dataPointType === DataPointType.HISTOGRAM
        ? []
        : dataPoints.map((point) => `${descriptor.name}${series(point.attributes)} ${point.value as number}`),
    );
  }

  /** The histogram of one breaker. */
  async durations(name: string): Promise<Histogram | undefined> {
    for (const { dataPointType, dataPoints } of await this.#metrics()) {
      if (dataPointType !== DataPointType.HISTOGRAM) continue;
      for (const { attributes, value } of dataPoints) if (attributes.name === name) return value;
    }
    return undefined;
  }

  /** Name, type and unit of each instrument that has anything to tell. */
  async instruments(): Promise<string[]> {
    return (await this.#metrics()).map(
      ({ descriptor: { name, unit }, dataPointType }) =>
        `${name} ${DataPointType[dataPointType].toLowerCase()}${unit && ` in ${unit}`}`,
    );
  }

  async #metrics() {
    const { resourceMetrics, errors } = await this.collect();
    if (errors.length > 0) throw new Error('collecting failed', { cause: errors[0] });
    return resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics);
  }
}

/** A provider as an application brings it, and its readers. */
export function providerWithReaders(count: number): { provider: MeterProvider; readers: ManualReader[] } {
  const readers = Array.from({ length: count }, () => new ManualReader());
  return { provider: new MeterProvider({ readers }), readers };
}

function series(attributes: object): string {
  const labels = Object.entries(attributes).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return `{${labels.join(',')}}`;
}
