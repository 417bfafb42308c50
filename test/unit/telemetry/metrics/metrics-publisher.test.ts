import { setImmediate as turn } from 'node:timers/promises';
import { metrics as metricsApi } from '@opentelemetry/api';
import { expect } from 'chai';
import { CircuitBreaker } from '../../../../src/breaker/circuit-breaker.js';
import { BreakerMetrics } from '../../../../src/telemetry/metrics/metrics.js';
import { MetricsPublisher, type OwnExporter } from '../../../../src/telemetry/metrics/metrics-publisher.js';
import { fail, succeed } from '../../../support/breakers.js';
import { FakeClock } from '../../../support/clock.js';
import { captureDiag } from '../../../support/log.js';
import { providerWithReaders, type ManualReader } from '../../../support/metrics.js';
import { FakeTimers } from '../../../support/timers.js';

const SUCCEEDED = 'circuit_breaker.successful_calls{name="target"}';

async function succeededCalls(reader: ManualReader): Promise<number | undefined> {
  const line = (await reader.scrape()).find((text) => text.startsWith(SUCCEEDED));
  return line === undefined ? undefined : Number(line.slice(SUCCEEDED.length));
}

/** A publisher with one breaker to tell of, and an exporter of its own that only counts what is done to it. */
function publisherUnderTest() {
  const timers = new FakeTimers();
  const metrics = new BreakerMetrics();
  const places: (OwnExporter | 'provider' | 'nowhere')[] = [];
  const publisher = new MetricsPublisher(metrics, (place) => places.push(place), timers);
  const breaker = new CircuitBreaker('target', {}, new FakeClock());
  metrics.add(breaker);
  const own = { started: 0, stopped: 0 };
  const startOwn = async (): Promise<OwnExporter> => {
    own.started++;
    return {
      stop: async () => {
        own.stopped++;
      },
    };
  };
  return { timers, metrics, publisher, places, breaker, own, startOwn };
}

describe('MetricsPublisher', () => {
  it('tells where metrics leave: at its own port, nowhere, or through a provider, whenever that comes', async () => {
    const { timers, publisher, places, startOwn } = publisherUnderTest();
    publisher.start(async () => ({ ...(await startOwn()), url: 'http://127.0.0.1:9464' }));
    // An SDK is loaded here, whose application may bring a provider for so long.
    await timers.advance(4_999);
    expect(places).to.deep.equal([]);
    await timers.advance(1);
    await turn();
    expect(places[0]).to.include({ url: 'http://127.0.0.1:9464' });
    metricsApi.setGlobalMeterProvider(providerWithReaders(1).provider);
    await timers.advance(30_000);
    expect(places.slice(1)).to.deep.equal(['provider']);

    const other = publisherUnderTest();
    metricsApi.disable();
    other.publisher.start(async () => undefined);
    await other.timers.advance(5_000);
    await turn();
    expect(other.places).to.deep.equal(['nowhere']);
  });

  it('publishes to the provider of the application without starting anything of its own', async () => {
    const { timers, publisher, breaker, own, startOwn } = publisherUnderTest();
    const { provider, readers } = providerWithReaders(1);
    metricsApi.setGlobalMeterProvider(provider);
    succeed(breaker, 3);
    publisher.start(startOwn);
    await timers.advance(60_000);
    expect(await succeededCalls(readers[0]!)).to.equal(3);
    expect(own.started).to.equal(0);
    expect(timers.pending).to.equal(0);
  });

  for (const lateBy of [1, 150, 450, 4_000, 29_000]) {
    it(`finds a provider that comes ${lateBy} ms late, and loses no count`, async () => {
      const { timers, publisher, breaker } = publisherUnderTest();
      const { provider, readers } = providerWithReaders(1);
      publisher.start();
      succeed(breaker, 300);
      await timers.advance(lateBy);
      succeed(breaker, 300);
      metricsApi.setGlobalMeterProvider(provider);
      await timers.advance(30_000 - lateBy);
      succeed(breaker);
      expect(await succeededCalls(readers[0]!)).to.equal(601);
      expect((await readers[0]!.durations('target'))!.count).to.equal(601);
    });
  }

  it('finds a provider that comes later still as soon as a breaker is made', async () => {
    const { timers, publisher, breaker } = publisherUnderTest();
    publisher.start();
    await timers.advance(3_600_000);
    const { provider, readers } = providerWithReaders(1);
    metricsApi.setGlobalMeterProvider(provider);
    succeed(breaker);
    publisher.look();
    expect(await succeededCalls(readers[0]!)).to.equal(1);
  });

  it('starts its own exporter where none comes, five seconds after an SDK was loaded', async () => {
    const { timers, publisher, own, startOwn } = publisherUnderTest();
    publisher.start(startOwn);
    await timers.advance(4_999);
    expect(own.started).to.equal(0);
    await timers.advance(1);
    expect([own.started, publisher.hasProvider]).to.deep.equal([1, false]);
  });

  it('starts none where another process has taken over before, and stops the one that it has', async () => {
    for (const yieldsAt of [100, 10_000]) {
      const { timers, publisher, own, startOwn } = publisherUnderTest();
      publisher.start(startOwn);
      await timers.advance(yieldsAt);
      publisher.yield();
      await timers.advance(60_000);
      expect(own.stopped).to.equal(own.started);
      expect(own.started).to.equal(yieldsAt > 5_000 ? 1 : 0);
    }
  });

  it('stops its own exporter at once where another process took over while it was starting', async () => {
    const { timers, publisher, own, startOwn } = publisherUnderTest();
    publisher.start(async () => {
      publisher.yield();
      return startOwn();
    });
    await timers.advance(60_000);
    expect([own.started, own.stopped]).to.deep.equal([1, 1]);
  });

  it('starts none where nobody said how', async () => {
    const { timers, publisher, own } = publisherUnderTest();
    publisher.start();
    await timers.advance(60_000);
    expect(own.started).to.equal(0);
  });

  it('starts one exporter, however often it is told to', async () => {
    const { timers, publisher, own, startOwn } = publisherUnderTest();
    publisher.start();
    publisher.start(startOwn);
    publisher.start(startOwn);
    await timers.advance(60_000);
    expect(own.started).to.equal(1);
  });

  it('moves off its own exporter when the provider of the application comes, with all that was counted', async () => {
    const lines = captureDiag();
    const { timers, publisher, breaker, own, startOwn } = publisherUnderTest();
    publisher.start(startOwn);
    succeed(breaker, 5);
    await timers.advance(5_000);
    expect(own.started).to.equal(1);
    const { provider, readers } = providerWithReaders(1);
    metricsApi.setGlobalMeterProvider(provider);
    succeed(breaker, 2);
    await timers.advance(25_000);
    expect(own.stopped).to.equal(1);
    succeed(breaker);
    expect(await succeededCalls(readers[0]!)).to.equal(8);
    expect((await readers[0]!.durations('target'))!.count).to.equal(8);
    expect(lines.join()).to.contain('Found the metrics provider of the application');
  });

  it('stops its own exporter at once where the provider of the application came while it was starting', async () => {
    const { timers, publisher, breaker, own, startOwn } = publisherUnderTest();
    const { provider, readers } = providerWithReaders(1);
    publisher.start(async () => {
      publisher.publishTo(provider);
      return startOwn();
    });
    await timers.advance(5_000);
    succeed(breaker);
    expect([own.started, own.stopped]).to.deep.equal([1, 1]);
    expect(await succeededCalls(readers[0]!)).to.equal(1);
  });

  it('publishes to a provider that it is handed, and passes over one that does nothing', async () => {
    const { publisher, breaker } = publisherUnderTest();
    const { provider, readers } = providerWithReaders(1);
    publisher.publishTo(metricsApi.getMeterProvider());
    publisher.publishTo(provider);
    publisher.publishTo(provider);
    publisher.publishTo(metricsApi.getMeterProvider());
    succeed(breaker, 4);
    fail(breaker);
    expect(await succeededCalls(readers[0]!)).to.equal(4);
    expect((await readers[0]!.durations('target'))!.count).to.equal(5);
  });

  it('never takes the place of the global provider', async () => {
    const { timers, publisher, startOwn } = publisherUnderTest();
    publisher.start(startOwn);
    await timers.advance(60_000);
    const { provider } = providerWithReaders(1);
    expect(metricsApi.setGlobalMeterProvider(provider)).to.equal(true);
  });

  for (const [what, startOwn, told] of [
    ['does not start', () => Promise.resolve(undefined), []],
    ['fails to start', () => Promise.reject(new Error('no disk')), ['error: metrics are not published Error: no disk']],
  ] as const) {
    it(`still finds a provider where its own exporter ${what}`, async () => {
      const lines = captureDiag();
      const { timers, publisher, breaker } = publisherUnderTest();
      publisher.start(startOwn);
      await timers.advance(5_000);
      const { provider, readers } = providerWithReaders(1);
      metricsApi.setGlobalMeterProvider(provider);
      succeed(breaker);
      await timers.advance(25_000);
      expect(await succeededCalls(readers[0]!)).to.equal(1);
      expect(lines).to.deep.equal(told);
    });
  }

  it('closes what it opened when stopped, and looks no more', async () => {
    const { timers, publisher, breaker, own, startOwn } = publisherUnderTest();
    publisher.start(startOwn);
    await timers.advance(5_000);
    await publisher.stop();
    expect(own.stopped).to.equal(1);
    const { provider, readers } = providerWithReaders(1);
    metricsApi.setGlobalMeterProvider(provider);
    succeed(breaker);
    publisher.look();
    await timers.advance(60_000);
    expect(await readers[0]!.scrape()).to.deep.equal([]);
  });

  it('says so where its own exporter does not stop cleanly', async () => {
    const lines = captureDiag();
    const { timers, publisher } = publisherUnderTest();
    publisher.start(async () => ({ stop: () => Promise.reject(new Error('stuck')) }));
    await timers.advance(5_000);
    await publisher.stop();
    expect(lines).to.deep.equal(['warn: our own metrics exporter did not stop cleanly Error: stuck']);
  });
});
