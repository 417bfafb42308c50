import { expect } from 'chai';
import { CircuitBreakerRegistry } from '../../../../src/breaker/registry.js';
import { BreakerMetrics } from '../../../../src/telemetry/metrics/metrics.js';
import { succeed } from '../../../support/breakers.js';
import { providerWithReaders } from '../../../support/metrics.js';

describe('a breaker that takes another name', () => {
  function published(metrics: BreakerMetrics): CircuitBreakerRegistry {
    const registry = new CircuitBreakerRegistry();
    registry.observe({
      onAdded: (breaker) => {
        breaker.timeCalls();
        metrics.add(breaker);
      },
      onRemoved: (breaker) => metrics.remove(breaker),
      onTransition: () => undefined,
      onRejection: () => undefined,
    });
    return registry;
  }

  it('keeps its histogram with its counts, on a page of our own', () => {
    const metrics = new BreakerMetrics();
    const registry = published(metrics);
    const breaker = registry.getOrCreate('before');
    for (let call = 0; call < 50; call++) succeed(breaker);
    registry.rename(breaker, 'after');
    for (let call = 0; call < 5; call++) succeed(breaker);
    const [numbers] = metrics.numbers();
    expect(numbers!.labels).to.include({ name: 'after' });
    expect(numbers!.tally.success).to.equal(55);
    expect(numbers!.durations!.counts.reduce((sum, count) => sum + count)).to.equal(55);
  });

  it('keeps it in a provider of the application, too', async () => {
    const metrics = new BreakerMetrics();
    const { provider, readers } = providerWithReaders(1);
    metrics.attach(provider);
    const registry = published(metrics);
    const breaker = registry.getOrCreate('before');
    for (let call = 0; call < 50; call++) succeed(breaker);
    registry.rename(breaker, 'after');
    for (let call = 0; call < 5; call++) succeed(breaker);
    const { resourceMetrics } = await readers[0]!.collect();
    const histogram = resourceMetrics.scopeMetrics[0]!.metrics.find(({ descriptor }) => descriptor.unit === 's')!;
    const after = histogram.dataPoints.find(({ attributes }) => attributes.name === 'after')!;
    expect((after.value as { count: number }).count).to.equal(55);
  });
});
