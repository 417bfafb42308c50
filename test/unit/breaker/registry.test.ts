import { expect } from 'chai';
import { CircuitBreaker } from '../../../src/breaker/circuit-breaker.js';
import { ConfigError } from '../../../src/breaker/errors.js';
import { CircuitBreakerRegistry, globalRegistry, type RegistryObserver } from '../../../src/breaker/registry.js';
import { breakerWithClock, fail, openCircuit, startProbe, succeed, waitUntilProbe } from '../../support/breakers.js';

/** Writes down what it hears. */
function recordingObserver(): RegistryObserver & { readonly heard: string[] } {
  const heard: string[] = [];
  return {
    heard,
    onAdded: ({ name }) => heard.push(`added ${name}`),
    onRemoved: ({ name }) => heard.push(`removed ${name}`),
    onTransition: ({ name }, { to }) => heard.push(`${name} ${to}`),
    onRejection: ({ name }, _rejection, enforced) => heard.push(`${name} rejected ${enforced}`),
  };
}

describe('CircuitBreakerRegistry', () => {
  it('makes a breaker once, with the options it was first asked for with', () => {
    const registry = new CircuitBreakerRegistry();
    const breaker = registry.getOrCreate('payments', { failureThreshold: 2 });
    expect(registry.getOrCreate('payments', { failureThreshold: 9 })).to.equal(breaker);
    expect(breaker.config.failureThreshold).to.equal(2);
    expect(registry.get('payments')).to.equal(breaker);
    expect(registry.size).to.equal(1);
  });

  it('makes none where the options are bad', () => {
    const registry = new CircuitBreakerRegistry();
    expect(() => registry.getOrCreate('payments', { failureThreshold: 0 })).to.throw(ConfigError, '"payments"');
    expect(registry.size).to.equal(0);
  });

  it('knows nothing of a name that nobody asked for', () => {
    const registry = new CircuitBreakerRegistry();
    expect(registry.get('nobody')).to.equal(undefined);
    expect(registry.remove('nobody')).to.equal(false);
  });

  it('takes in a breaker made elsewhere, and no second one of its name', () => {
    const registry = new CircuitBreakerRegistry();
    const breaker = new CircuitBreaker('payments');
    registry.register(breaker);
    registry.register(breaker);
    expect(registry.getOrCreate('payments')).to.equal(breaker);
    expect(() => registry.register(new CircuitBreaker('payments'))).to.throw(
      'A circuit breaker named "payments" is registered already. Remove it first, or use another name.',
    );
  });

  it('lists names in the order they came', () => {
    const registry = new CircuitBreakerRegistry();
    for (const name of ['b', 'a', 'c']) registry.getOrCreate(name);
    expect(registry.listNames()).to.deep.equal(['b', 'a', 'c']);
    expect([...registry].map(({ name }) => name)).to.deep.equal(['b', 'a', 'c']);
  });

  it('forgets a breaker that is removed, whose calls go on', () => {
    const registry = new CircuitBreakerRegistry();
    const breaker = registry.getOrCreate('payments');
    const call = breaker.acquire();
    expect(registry.remove('payments')).to.equal(true);
    call.success();
    expect(breaker.stats().calls).to.deep.include({ success: 1, inFlight: 0 });
    expect(registry.getOrCreate('payments')).not.to.equal(breaker);
  });

  it('forgets all when cleared', () => {
    const registry = new CircuitBreakerRegistry();
    for (const name of ['a', 'b']) registry.getOrCreate(name);
    registry.clear();
    expect([registry.size, registry.listNames(), registry.getAllStats()]).to.deep.equal([0, [], []]);
  });

  it('gives the stats of all', () => {
    const registry = new CircuitBreakerRegistry();
    const breakers = ['a', 'b'].map((name) => registry.getOrCreate(name));
    fail(breakers[1]!);
    expect(registry.getAllStats()).to.deep.equal(breakers.map((breaker) => breaker.stats()));
  });

  describe('with circuits in every state', () => {
    function registryOfAllStates(): CircuitBreakerRegistry {
      const registry = new CircuitBreakerRegistry();
      for (const name of ['one', 'two', 'three']) registry.getOrCreate(name);
      for (const name of ['dead', 'gone']) {
        succeed(registry.getOrCreate(name));
        openCircuit(registry.getOrCreate(name));
      }
      const { breaker, clock } = breakerWithClock();
      startProbe(breaker, clock);
      registry.register(breaker);
      return registry;
    }

    it('counts states and is not healthy', () => {
      const registry = registryOfAllStates();
      expect(registry.stateCounts()).to.deep.equal({ closed: 3, open: 2, halfOpen: 1 });
      expect(registry.hasOpenCircuits()).to.equal(true);
      expect(registry.healthCheck()).to.deep.equal({ healthy: false, total: 6, closed: 3, open: 2, halfOpen: 1 });
    });

    it('is healthy while nothing is open, half-open ones included', () => {
      const registry = registryOfAllStates();
      for (const name of ['dead', 'gone']) registry.remove(name);
      expect(registry.hasOpenCircuits()).to.equal(false);
      expect(registry.healthCheck()).to.deep.equal({ healthy: true, total: 4, closed: 3, open: 0, halfOpen: 1 });
    });

    it('closes all when reset', () => {
      const registry = registryOfAllStates();
      registry.resetAll();
      expect(registry.stateCounts()).to.deep.equal({ closed: 6, open: 0, halfOpen: 0 });
    });
  });

  describe('with an open circuit', () => {
    const healthy = (breaker: CircuitBreaker): boolean => {
      const registry = new CircuitBreakerRegistry();
      registry.register(breaker);
      return registry.healthCheck().healthy;
    };

    it('is unhealthy until its next call is a probe', () => {
      const { breaker, clock } = breakerWithClock();
      succeed(breaker);
      openCircuit(breaker);
      expect(healthy(breaker)).to.equal(false);
      waitUntilProbe(breaker, clock);
      expect(healthy(breaker)).to.equal(true);
    });

    it('is unhealthy where its target has only ever answered with a bad status, or a body that broke off', () => {
      const answered = breakerWithClock().breaker;
      answered.acquire().answered();
      openCircuit(answered);
      const unwell = breakerWithClock({ failureThreshold: 1 }).breaker;
      unwell.acquire().failure(Object.assign(new Error('The answer had status 503'), { statusCode: 503 }));
      expect([answered, unwell].map(healthy)).to.deep.equal([false, false]);
    });

    it('is healthy where its target has never answered, and where it rejects nothing', () => {
      const stranger = breakerWithClock().breaker;
      openCircuit(stranger);
      const observed = breakerWithClock({ mode: 'observe' }).breaker;
      succeed(observed);
      openCircuit(observed);
      expect([stranger, observed].map(healthy)).to.deep.equal([true, true]);
    });
  });

  it('is healthy while empty', () => {
    expect(new CircuitBreakerRegistry().healthCheck()).to.deep.equal({
      healthy: true,
      total: 0,
      closed: 0,
      open: 0,
      halfOpen: 0,
    });
  });

  it('lets one observer see all breakers, those present and those to come', () => {
    const registry = new CircuitBreakerRegistry();
    const present = registry.getOrCreate('present');
    const observer = recordingObserver();
    registry.observe(observer);
    const coming = registry.getOrCreate('coming');
    for (const breaker of [present, coming]) {
      breaker.forceOpen();
      breaker.tryAcquire();
    }
    expect(observer.heard).to.deep.equal([
      'added present',
      'added coming',
      'present open',
      'present rejected true',
      'coming open',
      'coming rejected true',
    ]);
  });

  it('does not let an observer see breakers that have left, nor any after it was replaced', () => {
    const registry = new CircuitBreakerRegistry();
    const [first, second] = [recordingObserver(), recordingObserver()];
    registry.observe(first);
    const leaving = registry.getOrCreate('leaving');
    const staying = registry.getOrCreate('staying');
    registry.remove('leaving');
    leaving.forceOpen();
    registry.observe(second);
    staying.forceOpen();
    registry.observe(undefined);
    staying.reset();
    expect(first.heard).to.deep.equal(['added leaving', 'added staying', 'removed leaving', 'removed staying']);
    expect(second.heard).to.deep.equal(['added staying', 'staying open', 'removed staying']);
  });

  it('exists once for the process', () => {
    expect(globalRegistry).to.be.instanceOf(CircuitBreakerRegistry);
  });
});

describe('onTransition of a registry', () => {
  it('tells of all breakers, present and to come, until it is ended or they leave', () => {
    const registry = new CircuitBreakerRegistry();
    const present = registry.getOrCreate('present');
    const heard: string[] = [];
    const end = registry.onTransition(({ name, to }) => heard.push(`${name} ${to}`));
    registry.onTransition(() => {
      throw new Error('of a listener');
    });
    const coming = registry.getOrCreate('coming');
    present.forceOpen();
    coming.forceOpen();
    coming.reset();
    registry.remove('coming');
    coming.forceOpen();
    expect(heard).to.deep.equal(['present open', 'coming open', 'coming closed']);
    registry.rename(present, 'renamed');
    present.reset();
    end();
    present.forceOpen();
    expect(heard.slice(3)).to.deep.equal(['renamed closed']);
  });
});
