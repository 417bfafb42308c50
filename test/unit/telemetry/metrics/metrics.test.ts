import { expect } from 'chai';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { AggregationTemporality, MeterProvider } from '@opentelemetry/sdk-metrics';
import { CircuitBreaker } from '../../../../src/breaker/circuit-breaker.js';
import { BreakerMetrics, NOTHING_YET, type ProcessNumbers } from '../../../../src/telemetry/metrics/metrics.js';
import {
  fail,
  ignore,
  openCircuit,
  rejectionOf,
  start,
  startProbe,
  succeed,
  waitUntilProbe,
} from '../../../support/breakers.js';
import { FakeClock } from '../../../support/clock.js';
import { captureDiag } from '../../../support/log.js';
import { ManualReader, providerWithReaders } from '../../../support/metrics.js';

/** Breakers of one clock whose metrics leave through a provider with so many readers. */
function publishedBreakers(readerCount = 1) {
  const { provider, readers } = providerWithReaders(readerCount);
  const metrics = new BreakerMetrics();
  metrics.attach(provider);
  const clock = new FakeClock();
  const add = (...[name, options]: Partial<ConstructorParameters<typeof CircuitBreaker>>) => {
    const breaker = new CircuitBreaker(name ?? 'target', options, clock);
    metrics.add(breaker);
    return breaker;
  };
  return { provider, readers, reader: readers[0]!, metrics, clock, add };
}

const UNTOUCHED = (name: string) => [
  `circuit_breaker.state{name="${name}"} 0`,
  `circuit_breaker.calls{name="${name}",status="allowed"} 0`,
  `circuit_breaker.calls{name="${name}",status="rejected"} 0`,
  `circuit_breaker.successful_calls{name="${name}"} 0`,
  `circuit_breaker.failed_calls{name="${name}"} 0`,
  `circuit_breaker.rejected_calls{name="${name}",reason="open",enforced="true"} 0`,
  `circuit_breaker.state_transitions{name="${name}",from_state="closed",to_state="open"} 0`,
];

describe('BreakerMetrics', () => {
  it('are the seven instruments, with a unit for the histogram only', async () => {
    const { reader, add } = publishedBreakers();
    succeed(add());
    expect(await reader.instruments()).to.have.members([
      'circuit_breaker.state gauge',
      'circuit_breaker.calls sum',
      'circuit_breaker.successful_calls sum',
      'circuit_breaker.failed_calls sum',
      'circuit_breaker.rejected_calls sum',
      'circuit_breaker.state_transitions sum',
      'circuit_breaker.call.duration_seconds histogram in s',
    ]);
  });

  it('are more only where a breaker does not enforce, there was panic, or the rules were read again', async () => {
    const { provider, readers } = providerWithReaders(1);
    let process: ProcessNumbers = NOTHING_YET;
    const metrics = new BreakerMetrics(() => process);
    metrics.attach(provider);
    for (const mode of ['enforce', 'observe', 'off'] as const) metrics.add(new CircuitBreaker(mode, { mode }));
    const others = async () => (await readers[0]!.scrape()).filter((line) => /mode|panic|rules/.test(line));
    const modes = ['circuit_breaker.mode{name="observe"} 1'];
    expect(await others()).to.deep.equal(modes);
    process = { panic: true, rulesReloaded: false };
    expect(await others()).to.deep.equal([
      ...modes,
      'circuit_breaker.panic{} 1',
      'circuit_breaker.rules.last_reload_successful{} 0',
    ]);
  });

  it('describe no breaker in mode off', async () => {
    const { reader, add } = publishedBreakers();
    add('off', { mode: 'off' });
    expect(await reader.scrape()).to.deep.equal([]);
  });

  it('tell a provider, which repeats what it heard last, that a mode or an outage is over', async () => {
    const { reader, add } = publishedBreakers();
    const breaker = add('target', { mode: 'observe' });
    const told = async () => (await reader.scrape()).filter((line) => /breaker\.(mode|state)\{/.test(line));
    openCircuit(breaker);
    expect(await told()).to.deep.equal([
      'circuit_breaker.state{name="target"} 1',
      'circuit_breaker.mode{name="target"} 1',
    ]);
    breaker.reconfigure({ ...breaker.config, mode: 'enforce' });
    expect(await told()).to.deep.equal([
      'circuit_breaker.state{name="target"} 1',
      'circuit_breaker.mode{name="target"} 0',
    ]);
    breaker.reconfigure({ ...breaker.config, mode: 'off' });
    breaker.reset();
    expect(await told()).to.deep.equal([
      'circuit_breaker.state{name="target"} 0',
      'circuit_breaker.mode{name="target"} 0',
    ]);
  });

  it('show a breaker from the start, with zeros that rates can begin from', async () => {
    const { reader, add } = publishedBreakers();
    add();
    expect(await reader.scrape()).to.deep.equal(UNTOUCHED('target'));
  });

  it('tell of every outcome, rejection and change of state', async () => {
    const { reader, clock, add } = publishedBreakers();
    const breaker = add('target', { failureThreshold: 3, halfOpenMaxCalls: 1, successThreshold: 1 });
    succeed(breaker, 5);
    ignore(breaker, 2);
    start(breaker, 1);
    startProbe(breaker, clock).failure(new Error('still down'));
    rejectionOf(breaker);
    rejectionOf(breaker);
    waitUntilProbe(breaker, clock);
    const probe = breaker.acquire();
    rejectionOf(breaker);
    const labels = 'name="target"';
    const expected = [
      `circuit_breaker.state{${labels}} 2`,
      `circuit_breaker.calls{${labels},status="allowed"} 13`,
      `circuit_breaker.calls{${labels},status="rejected"} 3`,
      `circuit_breaker.successful_calls{${labels}} 5`,
      `circuit_breaker.failed_calls{${labels}} 4`,
      `circuit_breaker.rejected_calls{${labels},reason="open",enforced="true"} 2`,
      `circuit_breaker.rejected_calls{${labels},reason="half_open_limit",enforced="true"} 1`,
      `circuit_breaker.state_transitions{${labels},from_state="closed",to_state="open"} 1`,
      `circuit_breaker.state_transitions{${labels},from_state="open",to_state="half_open"} 2`,
      `circuit_breaker.state_transitions{${labels},from_state="half_open",to_state="open"} 1`,
    ];
    expect(await reader.scrape()).to.deep.equal(expected);
    probe.success();
    breaker.forceOpen();
    breaker.reset();
    expect((await reader.scrape()).filter((line) => line.includes('state'))).to.have.members([
      `circuit_breaker.state{${labels}} 0`,
      `circuit_breaker.state_transitions{${labels},from_state="closed",to_state="open"} 2`,
      `circuit_breaker.state_transitions{${labels},from_state="open",to_state="half_open"} 2`,
      `circuit_breaker.state_transitions{${labels},from_state="open",to_state="closed"} 1`,
      `circuit_breaker.state_transitions{${labels},from_state="half_open",to_state="open"} 1`,
      `circuit_breaker.state_transitions{${labels},from_state="half_open",to_state="closed"} 1`,
    ]);
  });

  it('count what mode observe would have rejected as rejections that were not enforced, and as calls allowed', async () => {
    const { reader, clock, add } = publishedBreakers();
    const breaker = add('target', { mode: 'observe', halfOpenMaxCalls: 1 });
    openCircuit(breaker);
    fail(breaker, 2);
    waitUntilProbe(breaker, clock);
    start(breaker, 2);
    expect((await reader.scrape()).filter((line) => /calls\{|rejected_calls/.test(line))).to.deep.equal([
      'circuit_breaker.calls{name="target",status="allowed"} 9',
      'circuit_breaker.calls{name="target",status="rejected"} 0',
      'circuit_breaker.successful_calls{name="target"} 0',
      'circuit_breaker.failed_calls{name="target"} 7',
      'circuit_breaker.rejected_calls{name="target",reason="open",enforced="true"} 0',
      'circuit_breaker.rejected_calls{name="target",reason="open",enforced="false"} 2',
      'circuit_breaker.rejected_calls{name="target",reason="half_open_limit",enforced="false"} 1',
    ]);
  });

  it('have the labels of an automatic breaker on all seven', async () => {
    const { reader, add } = publishedBreakers();
    const breaker = add('http://api:80');
    breaker.labels = { system: 'http', server_address: 'api', server_port: 80 };
    succeed(breaker);
    const lines = await reader.scrape();
    const labels = 'name="http://api:80",system="http",server_address="api",server_port=80';
    expect(lines.filter((line) => !line.includes(labels))).to.deep.equal([]);
    expect(lines).to.have.length(7);
  });

  it('put durations of calls that succeeded or failed into the promised buckets, and no others', async () => {
    const { reader, clock, add } = publishedBreakers();
    const breaker = add('target', { failureThreshold: 100, minimumCalls: 100 });
    const lasting = (ms: number, settle: 'success' | 'failure' | 'ignore') => {
      const call = breaker.acquire();
      clock.advance(ms);
      call[settle]();
    };
    lasting(1, 'success');
    lasting(1.5, 'failure');
    lasting(90_000, 'success');
    lasting(3, 'ignore');
    const longRunning = breaker.tryAcquire(undefined, true);
    clock.advance(30_000);
    if ('success' in longRunning) longRunning.success();
    const histogram = (await reader.durations('target'))!;
    expect(histogram.buckets.boundaries).to.deep.equal([
      0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
    ]);
    expect(histogram.buckets.counts).to.deep.equal([1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    expect(histogram.count).to.equal(3);
    expect(histogram.sum).to.be.closeTo(90.0025, 1e-9);
  });

  it('are the same for two readers, whoever comes first', async () => {
    const { readers, clock, add } = publishedBreakers(2);
    const breaker = add();
    for (let round = 1; round <= 3; round++) {
      const call = breaker.acquire();
      clock.advance(20);
      call.success();
      fail(breaker);
      const inTurn = round % 2 === 0 ? readers : [...readers].reverse();
      const scrapes = [];
      for (const reader of inTurn) scrapes.push(await reader.scrape());
      expect(scrapes[0]).to.deep.equal(scrapes[1]);
      expect(scrapes[0]).to.include(`circuit_breaker.successful_calls{name="target"} ${round}`);
      for (const reader of inTurn) expect((await reader.durations('target'))!.count).to.equal(2 * round);
    }
  });

  it('give a reader of deltas what came since it last asked', async () => {
    const reader = new ManualReader(AggregationTemporality.DELTA);
    const metrics = new BreakerMetrics();
    metrics.attach(new MeterProvider({ readers: [reader] }));
    const breaker = new CircuitBreaker('target', {}, new FakeClock());
    metrics.add(breaker);
    const seen: string[] = [];
    for (const calls of [3, 0, 4]) {
      succeed(breaker, calls);
      seen.push((await reader.scrape()).find((line) => line.startsWith('circuit_breaker.successful_calls'))!);
    }
    expect(seen.map((line) => line.split(' ')[1])).to.deep.equal(['3', '0', '4']);
    succeed(breaker, 2);
    expect((await reader.durations('target'))!.count).to.equal(2);
  });

  it('reach more breakers than the default limit of series has room for, where the provider raises it', async () => {
    const reader = new ManualReader();
    const metrics = new BreakerMetrics();
    metrics.attach(
      new MeterProvider({ readers: [reader], views: [{ instrumentName: '*', aggregationCardinalityLimit: 20_000 }] }),
    );
    for (let index = 0; index < 2_500; index++) metrics.add(new CircuitBreaker(`target ${index}`));
    const states = (await reader.scrape()).filter((line) => line.startsWith('circuit_breaker.state{'));
    expect(states).to.have.length(2_500);
  });

  it('are of ten thousand breakers at most at one provider, which forgets none, and one warning says so', async () => {
    const warnings = captureDiag();
    const reader = new ManualReader();
    const metrics = new BreakerMetrics();
    metrics.attach(
      new MeterProvider({ readers: [reader], views: [{ instrumentName: '*', aggregationCardinalityLimit: 20_000 }] }),
    );
    const first = new CircuitBreaker('first');
    metrics.add(first);
    succeed(first);
    await reader.scrape();
    for (let index = 1; index < 12_000; index++) {
      const breaker = new CircuitBreaker(`target ${index}`);
      metrics.add(breaker);
      succeed(breaker);
      metrics.remove(breaker);
    }
    const late = new CircuitBreaker('late');
    metrics.add(late);
    const { resourceMetrics } = await reader.collect();
    const points = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics).map((metric) => metric.dataPoints);
    for (const series of points) expect(series).to.have.length.at.most(10_000);
    const lines = await reader.scrape();
    expect(lines).to.include('circuit_breaker.successful_calls{name="first"} 1');
    expect(lines.join()).not.to.contain('late');
    expect(warnings).to.have.length(1);
    expect(warnings[0]).to.contain('10000 circuit breakers');
    // What does not leave there is still told where numbers are read.
    expect(metrics.numbers().map(({ labels }) => labels.name)).to.deep.equal(['first', 'late']);
  });

  it('of a breaker that was called before they knew it have the durations of its calls from then on', async () => {
    const { reader, metrics, clock } = publishedBreakers();
    for (const [name, timed] of [
      ['timed', true],
      ['untimed', false],
    ] as const) {
      const breaker = new CircuitBreaker(name, undefined, clock);
      if (timed) breaker.timeCalls();
      succeed(breaker, 2);
      metrics.add(breaker);
      succeed(breaker, 3);
      expect(metrics.durationsOf(breaker)!.counts[0]).to.equal(3);
      expect((await reader.durations(name))!.count).to.equal(3);
    }
  });

  describe('of a breaker that is removed', () => {
    it('are not observed any more, and its last durations are not lost', async () => {
      const reader = new ManualReader(AggregationTemporality.DELTA);
      const metrics = new BreakerMetrics();
      metrics.attach(new MeterProvider({ readers: [reader] }));
      const [leaving, staying] = ['leaving', 'staying'].map((name) => new CircuitBreaker(name, {}, new FakeClock()));
      for (const breaker of [leaving!, staying!]) metrics.add(breaker);
      await reader.scrape();
      succeed(leaving!, 3);
      metrics.remove(leaving!);
      expect((await reader.durations('leaving'))!.count).to.equal(3);
      succeed(leaving!, 3);
      expect(await reader.durations('leaving')).to.equal(undefined);
      expect(await reader.scrape()).to.deep.equal(UNTOUCHED('staying'));
    });

    it('leave one callback and nothing else behind, however many come and go', async () => {
      let callbacks = 0;
      const { provider, reader, metrics } = publishedBreakers();
      const meter = Object.getPrototypeOf(provider.getMeter('any')) as {
        addBatchObservableCallback: (...args: unknown[]) => void;
      };
      const add = meter.addBatchObservableCallback;
      meter.addBatchObservableCallback = function (...args) {
        callbacks++;
        return Reflect.apply(add, this, args);
      };
      try {
        for (let round = 0; round < 1_000; round++) {
          const breaker = new CircuitBreaker(`target ${round}`);
          metrics.add(breaker);
          metrics.remove(breaker);
        }
      } finally {
        meter.addBatchObservableCallback = add;
      }
      expect(callbacks).to.equal(0);
      expect(await reader.scrape()).to.deep.equal([]);
    });

    it('let it be collected as garbage', async () => {
      setFlagsFromString('--expose-gc');
      const collectGarbage = runInNewContext('gc') as () => void;
      const { metrics, reader } = publishedBreakers();
      const removed = (() => {
        const breaker = new CircuitBreaker('target');
        metrics.add(breaker);
        succeed(breaker);
        metrics.remove(breaker);
        return new WeakRef(breaker);
      })();
      await reader.scrape();
      await new Promise((resolve) => setImmediate(resolve));
      collectGarbage();
      expect(removed.deref()).to.equal(undefined);
    });
  });

  describe('moved to another provider', () => {
    it('are all there, and no more at the first', async () => {
      const first = providerWithReaders(1);
      const second = providerWithReaders(1);
      const metrics = new BreakerMetrics();
      const breaker = new CircuitBreaker('target', {}, new FakeClock());
      metrics.add(breaker);
      succeed(breaker, 300);
      for (const { provider, readers } of [first, second]) {
        metrics.attach(provider);
        succeed(breaker, 10);
        await readers[0]!.scrape();
      }
      expect((await second.readers[0]!.durations('target'))!.count).to.equal(320);
      expect(await second.readers[0]!.scrape()).to.include('circuit_breaker.successful_calls{name="target"} 320');
      succeed(breaker);
      expect((await first.readers[0]!.durations('target'))!.count).to.equal(310);
      expect(await first.readers[0]!.scrape()).not.to.include('circuit_breaker.successful_calls{name="target"} 321');
    });

    it('are nowhere once detached', async () => {
      const { reader, metrics, add } = publishedBreakers();
      add();
      metrics.detach();
      metrics.detach();
      expect(await reader.scrape()).to.deep.equal([]);
    });
  });
});
