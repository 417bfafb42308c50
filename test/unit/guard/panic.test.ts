import { expect } from 'chai';
import { CircuitBreaker } from '../../../src/breaker/circuit-breaker.js';
import type { BreakerOptions } from '../../../src/breaker/options.js';
import { CircuitBreakerRegistry } from '../../../src/breaker/registry.js';
import { Panic } from '../../../src/guard/panic.js';
import { installOutcomes } from '../../../src/outcomes/classify.js';
import { HttpStatusError } from '../../../src/outcomes/http.js';
import { targetLabels } from '../../../src/target.js';
import type { PanicChange } from '../../../src/telemetry/events/span-events.js';
import { fail, refused, rejectionOf, start, succeed, waitUntilProbe } from '../../support/breakers.js';
import { captureDiagnostics, releaseDiagnostics } from '../../support/diagnostics.js';
import { FakeClock } from '../../support/clock.js';
import { target } from '../../support/targets.js';

const URLS = ['http://a', 'http://b', 'http://c', 'redis://cache', 'postgresql://db/orders'];

function failFiveTimes(breaker: CircuitBreaker, error: Error): void {
  for (let call = 0; call < 5; call++) breaker.acquire().failure(error);
}

describe('Panic', () => {
  before(installOutcomes);

  let clock: FakeClock;
  let registry: CircuitBreakerRegistry;
  let panic: Panic;
  let changes: Pick<PanicChange, 'active' | 'reason'>[];
  let rejections: boolean[];
  let loggerBreaks: boolean;

  beforeEach(() => {
    clock = new FakeClock();
    registry = new CircuitBreakerRegistry();
    changes = [];
    rejections = [];
    loggerBreaks = false;
    const onChange = ({ active, reason }: PanicChange) => {
      if (loggerBreaks) throw new Error('the logger broke');
      changes.push({ active, reason });
    };
    panic = new Panic(registry, onChange, clock.now);
    registry.observe({
      onAdded: (breaker) => panic.watch(breaker),
      onRemoved: (breaker) => panic.forget(breaker),
      onTransition: (...change) => panic.onTransition(...change),
      onRejection: (_breaker, _rejection, enforced) => rejections.push(enforced),
    });
  });

  afterEach(releaseDiagnostics);

  /** Breakers of these targets that were called just now. */
  function busy(urls = URLS, options: BreakerOptions = { openDuration: 30_000 }): CircuitBreaker[] {
    return urls.map((url) => {
      const breaker = unknown(url, options);
      succeed(breaker);
      return breaker;
    });
  }

  /** The breaker of a target that has not answered yet. */
  function unknown(url: string, options: BreakerOptions = { openDuration: 30_000 }): CircuitBreaker {
    const breaker = new CircuitBreaker(url, options, clock);
    breaker.labels = targetLabels(target(url));
    registry.register(breaker);
    return breaker;
  }

  /** Waits for the time of the first probe, while all of them are called all the time. */
  function untilProbe(breakers: readonly CircuitBreaker[]): void {
    clock.advance(20_000);
    for (const breaker of breakers) start(breaker, 1)[0]!.failure(new Error('still down'));
    waitUntilProbe(breakers.at(-1)!, clock);
  }

  /** Their targets cannot be reached. */
  function open(breakers: readonly CircuitBreaker[]): void {
    for (const breaker of breakers) failFiveTimes(breaker, refused());
  }

  it('begins when more than half of at least four targets open within seconds, and is said once', () => {
    const breakers = busy();
    open(breakers.slice(0, 2));
    rejectionOf(breakers[0]!);
    clock.advance(2_000);
    expect(changes).to.deep.equal([]);
    open(breakers.slice(2));
    expect(changes).to.deep.equal([
      { active: true, reason: '3 of 5 unrelated targets became unreachable within 10 s (threshold 50 %)' },
    ]);
    expect(panic.reason).to.equal(changes[0]!.reason);
  });

  it('lets through what would be rejected, and counts it as mode observe does', () => {
    const breakers = busy();
    open(breakers);
    const [breaker] = breakers as [CircuitBreaker];
    expect(breaker.isRejecting).to.equal(false);
    for (const call of start(breaker, 3)) call.failure(new Error('still down'));
    expect(breaker.state).to.equal('open');
    expect(breaker.tally).to.deep.include({ rejectedOpen: 0, unenforcedOpen: 3, failure: 8, success: 1, inFlight: 0 });
    expect(rejections).to.deep.equal([false, false, false]);
    untilProbe(breakers);
    start(breaker, 5);
    expect(breaker.state).to.equal('half_open');
    expect(breaker.tally).to.deep.include({ rejectedHalfOpen: 0, unenforcedHalfOpen: 2, inFlight: 5 });
  });

  it('clears when no more than half are open, and circuits reject again', () => {
    const breakers = busy();
    open(breakers);
    untilProbe(breakers);
    for (const breaker of breakers.slice(3)) breaker.acquire().failure(refused());
    for (const breaker of breakers.slice(0, 2)) succeed(breaker, 2);
    expect(changes).to.have.length(1);
    succeed(breakers[2]!, 2);
    expect(changes.at(-1)).to.deep.equal({
      active: false,
      reason: '2 of 5 unrelated targets are still unreachable (threshold 50 %)',
    });
    expect(panic.reason).to.equal(undefined);
    rejectionOf(breakers[3]!);
    expect(changes).to.have.length(2);
  });

  it('clears when what is open is not called any more', () => {
    const breakers = busy();
    open(breakers.slice(0, 3));
    expect(panic.reason).not.to.equal(undefined);
    clock.advance(20_000);
    fail(breakers[0]!);
    expect(panic.reason).not.to.equal(undefined);
    clock.advance(60_000);
    succeed(breakers[4]!);
    open([breakers[3]!]);
    expect(changes.map(({ active }) => active)).to.deep.equal([true, false]);
    rejectionOf(breakers[3]!);
  });

  for (const [what, urls] of [
    ['three targets', URLS.slice(0, 3)],
    ['ports of one host', ['http://a:1', 'http://a:2', 'http://a:3', 'http://a:4', 'http://a:5']],
    ['databases of one server', ['a', 'b', 'c', 'd', 'e'].map((name) => `postgresql://db/${name}`)],
  ] as const) {
    it(`does not begin where all that opens is ${what}`, () => {
      const breakers = busy([...urls]);
      open(breakers);
      expect(changes).to.deep.equal([]);
      rejectionOf(breakers[0]!);
    });
  }

  it('does not begin where circuits open one after the other', () => {
    for (const breaker of busy()) {
      open([breaker]);
      clock.advance(5_500);
    }
    expect(changes).to.deep.equal([]);
  });

  it('does not ask targets that were not called lately', () => {
    const idle = busy(['http://x', 'http://y', 'http://z', 'http://w']);
    clock.advance(60_000);
    const breakers = busy();
    open(breakers.slice(0, 3));
    expect(changes.map(({ reason }) => reason)).to.deep.equal([
      '3 of 5 unrelated targets became unreachable within 10 s (threshold 50 %)',
    ]);
    expect(idle.map(({ state }) => state)).to.deep.equal(['closed', 'closed', 'closed', 'closed']);
  });

  it('has no say where a circuit was opened by hand, or because the target asked for it', () => {
    const breakers = busy();
    breakers[0]!.forceOpen();
    breakers[1]!.acquire().failure(new Error('429'), 20_000);
    open(breakers.slice(2, 4));
    expect(changes).to.deep.equal([]);
    open([breakers[4]!]);
    expect(changes).to.have.length(1);
    rejectionOf(breakers[0]!);
    rejectionOf(breakers[1]!);
    expect(breakers[2]!.isRejecting).to.equal(false);
  });

  it('does not begin where targets answer, whatever their status', () => {
    const breakers = busy();
    for (const breaker of breakers.slice(0, 4)) failFiveTimes(breaker, new HttpStatusError(503));
    open(breakers.slice(4));
    expect(changes).to.deep.equal([]);
    rejectionOf(breakers[0]!);
  });

  it('does not begin where time runs out, which may be the fault of each target', () => {
    const breakers = busy();
    for (const breaker of breakers) {
      failFiveTimes(breaker, Object.assign(new Error('the caller gave up'), { code: 'ERR_ABANDONED' }));
    }
    expect(changes).to.deep.equal([]);
  });

  it('does not begin by hosts that never answered: strangers may have named them', () => {
    const own = busy(URLS.slice(0, 2));
    const strangers = Array.from({ length: 120 }, (_, index) => unknown(`http://stranger${index}`));
    open(strangers);
    expect(changes).to.deep.equal([]);
    for (const stranger of strangers) rejectionOf(stranger);
    open(own);
    expect(changes).to.deep.equal([]);
  });

  it('does not take the word of a target that was lost and answers again, with whatever status', () => {
    const breakers = busy(URLS, { openDuration: 1_000 });
    open(breakers.slice(0, 2));
    waitUntilProbe(breakers[0]!, clock);
    breakers[0]!.acquire().failure(new HttpStatusError(503));
    open(breakers.slice(2, 3));
    expect(changes).to.deep.equal([]);
  });

  it('does not ask breakers that nobody watches for it, such as those of telemetry', () => {
    const breakers = busy();
    for (const breaker of breakers.slice(0, 3)) breaker.isPanic = undefined;
    open(breakers);
    expect(changes).to.deep.equal([]);
  });

  it('looks at all breakers a few times only, however many circuits change', () => {
    const hosts = Array.from({ length: 1_000 }, (_, index) => `http://host${index}`);
    const breakers = busy(hosts);
    let looks = 0;
    for (const breaker of breakers) {
      const hadCalls = breaker.hadCalls.bind(breaker);
      breaker.hadCalls = (now) => (looks++, hadCalls(now));
    }
    open(breakers);
    expect(changes).to.have.length(1);
    // In panic their circuits change as before.
    for (const breaker of breakers) breaker.reset();
    expect(changes).to.have.length(2);
    // Each review asks those that are lost and all there are.
    expect(looks).to.be.below(10 * 1_000);
  });

  it('does not count breakers made in code, whose calls may be counted a second time within', () => {
    busy(URLS.slice(0, 3));
    const named = ['quotes', 'prices', 'orders'].map((name) => new CircuitBreaker(name, {}, clock));
    for (const breaker of named) {
      registry.register(breaker);
      open([breaker]);
    }
    open([registry.get('http://a')!, registry.get('http://b')!, registry.get('http://c')!]);
    expect(changes).to.deep.equal([]);
  });

  it('has no call fail for telling of it', () => {
    const reports = captureDiagnostics();
    const breakers = busy();
    loggerBreaks = true;
    open(breakers);
    expect(panic.reason).not.to.equal(undefined);
    panic.threshold = 1;
    rejectionOf(breakers[0]!);
    expect(reports.map(([message]) => message)).to.deep.equal(['Telling of panic failed', 'Telling of panic failed']);
  });

  it('never begins with a threshold of 1, which also ends it', () => {
    panic.threshold = 1;
    const breakers = busy();
    open(breakers);
    expect(changes).to.deep.equal([]);

    for (const breaker of breakers) breaker.reset();
    for (const breaker of breakers) succeed(breaker);
    panic.threshold = 0.8;
    open(breakers);
    expect(panic.reason).to.equal('5 of 5 unrelated targets became unreachable within 10 s (threshold 80 %)');
    panic.threshold = 1;
    rejectionOf(breakers[0]!);
    expect(panic.reason).to.equal(undefined);
  });
});
