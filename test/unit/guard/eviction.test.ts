import { expect } from 'chai';
import { CircuitBreaker } from '../../../src/breaker/circuit-breaker.js';
import type { BreakerOptions } from '../../../src/breaker/options.js';
import { CircuitBreakerRegistry } from '../../../src/breaker/registry.js';
import { Eviction } from '../../../src/guard/eviction.js';
import { CircuitOpenError, Guard, UNGUARDED } from '../../../src/guard/guard.js';
import { checkedSection } from '../../../src/rules/live-rules.js';
import { RuleSet } from '../../../src/rules/rule-set.js';
import type { Target } from '../../../src/target.js';
import { fail, ignore, openCircuit, start, succeed } from '../../support/breakers.js';
import { FakeClock } from '../../support/clock.js';
import { seededRandom } from '../../support/random.js';
import { target } from '../../support/targets.js';

describe('Eviction', () => {
  let clock: FakeClock;
  let eviction: Eviction;
  let random: () => number;

  beforeEach(() => {
    clock = new FakeClock();
    random = seededRandom(7);
    eviction = new Eviction({ now: clock.now, wallNow: clock.wallNow, random: () => random() });
  });

  /** A breaker that the guard has made, and what it went through since. */
  function made(name: string, live: (breaker: CircuitBreaker) => void, options?: BreakerOptions): CircuitBreaker {
    const breaker = new CircuitBreaker(name, options, clock);
    eviction.add(breaker, target(`http://${name}`));
    live(breaker);
    return breaker;
  }

  /** The names of all that may go, in the order in which they do. */
  function order(): string[] {
    const names: string[] = [];
    for (let tries = 0; tries < 10; tries++) {
      const chosen = eviction.choose();
      if (chosen === undefined) continue;
      names.push(chosen.breaker.name);
      eviction.remove(chosen.breaker);
    }
    return names;
  }

  it('takes first what has no word on its target, then what has seen the fewest calls, a dead host last among equals', () => {
    made('open', openCircuit);
    made('in-flight', (breaker) => start(breaker, 1));
    made('answered-and-fails', (breaker) => (succeed(breaker), fail(breaker)));
    made('failed-twice', (breaker) => fail(breaker, 2));
    made('failed-once', (breaker) => fail(breaker));
    made('answered-once', (breaker) => succeed(breaker));
    made('silent', (breaker) => ignore(breaker));
    expect(order()).to.deep.equal(['silent', 'answered-once', 'failed-once', 'failed-twice']);
  });

  it('passes over a dependency that was called since it was last looked at', () => {
    const busy = made('busy', (breaker) => succeed(breaker, 5));
    expect(eviction.choose()).to.equal(undefined);
    expect(eviction.choose()?.breaker).to.equal(busy);
  });

  it('lets what a breaker has seen lose its worth while nobody calls', () => {
    const nightly = made('nightly', (breaker) => succeed(breaker, 1_000));
    eviction.choose();
    clock.advance(15 * 60_000);
    made('stranger', (breaker) => fail(breaker));
    expect(eviction.choose()?.breaker).to.equal(nightly);
  });

  it('lets an open circuit go when nobody has called for ten minutes after its time was up, unless a hand opened it', () => {
    const options = { openDuration: 1_000 };
    made('dead', openCircuit, options);
    made('by-hand', (breaker) => breaker.forceOpen(), options);
    clock.advance(1_000 + 10 * 60_000 - 1);
    expect(order()).to.deep.equal([]);
    clock.advance(1);
    expect(order()).to.deep.equal(['dead']);
  });

  it('looks at 32 at most', () => {
    let looks = 0;
    for (let host = 0; host < 1_000; host++) {
      const { tally } = made(`h${host}`, (breaker) => start(breaker, 1));
      Object.defineProperty(tally, 'inFlight', { get: () => (looks++, 1) });
    }
    expect(eviction.choose()).to.equal(undefined);
    expect(looks).to.equal(32);
  });
});

describe('A guard with fewer breakers than targets', () => {
  let registry: CircuitBreakerRegistry;
  let guard: Guard;

  function guardFor(maxBreakers: number): void {
    const clock = new FakeClock();
    registry = new CircuitBreakerRegistry();
    // No probe comes before the test is over.
    const defaults = { openDuration: 60_000, initialOpenDuration: 60_000 };
    const seams = { now: clock.now, wallNow: clock.wallNow, random: seededRandom(7) };
    guard = new Guard(registry, new RuleSet([checkedSection('rules', { maxBreakers, defaults })]), seams);
  }

  const host = (name: string): Target => ({ system: 'http', scheme: 'http', host: name, port: 80 });

  /** @returns what became of the call */
  function call(name: string, outcome: 'success' | 'failure'): 'made' | 'unguarded' | 'rejected' {
    const admission = guard.enter(host(name));
    if (admission instanceof CircuitOpenError) return 'rejected';
    admission[outcome](outcome === 'failure' ? new Error('down') : undefined);
    return admission === UNGUARDED ? 'unguarded' : 'made';
  }

  it('has a circuit open for each of the 1,000 that it has room for, where 1,100 dead hosts are called in turn', () => {
    guardFor(1_000);
    const open = () => registry.size - registry.stateCounts().closed;
    for (let round = 0; round < 400 && open() < 1_000; round++) {
      for (let index = 0; index < 1_100; index++) call(`dead${index}`, 'failure');
    }
    expect(open()).to.equal(1_000);
  });

  it('opens the circuit of a dead host between whose calls 60 others answer, with room for 50', () => {
    guardFor(50);
    const outcomes: string[] = [];
    for (let round = 0; round < 6; round++) {
      outcomes.push(call('dead', 'failure'));
      for (let index = 0; index < 60; index++) call(`well${index}`, 'success');
    }
    expect(outcomes).to.deep.equal([...Array<string>(5).fill('made'), 'rejected']);
  });

  for (const outcome of ['success', 'failure'] as const) {
    it(`keeps the breaker of a dead dependency beside 1,500 new hosts a second: each a ${outcome}`, () => {
      guardFor(1_000);
      for (let n = 0; n < 20; n++) call('dependency', 'success');
      const kept = registry.get('http://dependency');
      let stranger = 0;
      const outcomes: string[] = [];
      // It is called five times a second.
      for (let n = 0; n < 10; n++) {
        for (let index = 0; index < 300; index++) call(`stranger${stranger++}`, outcome);
        outcomes.push(call('dependency', 'failure'));
      }
      expect(outcomes).to.deep.equal([...Array<string>(5).fill('made'), ...Array<string>(5).fill('rejected')]);
      expect(registry.get('http://dependency')).to.equal(kept);
    });
  }
});
