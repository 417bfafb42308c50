import { expect } from 'chai';
import type { BreakerDetail, FleetBreakerView } from '../../src/console/api.js';
import { fleetWords } from '../../src/console/format.js';
import { expectMetrics } from '../deploy/prometheus.js';
import { fail, openCircuit } from '../support/breakers.js';
import { startService, type Service } from './service.js';

describe('a service that is part of a fleet', () => {
  let service: Service;

  beforeEach(async () => {
    service = await startService({ OTEL_BREAKER_FLEET_URL: 'local', OTEL_BREAKER_FLEET: 'enforce' });
    service.runtime.joinFleet();
  });

  afterEach(() => service.stop());

  async function viewOf(name: string): Promise<FleetBreakerView | undefined> {
    const answer = await fetch(`${service.url}/breakers/${name}`);
    return ((await answer.json()) as BreakerDetail).fleet;
  }

  async function until(holds: () => Promise<boolean>): Promise<void> {
    while (!(await holds())) await new Promise((next) => setTimeout(next, 5));
  }

  it('shows for each shared breaker how it stands to it', async () => {
    const payments = service.breaker('payments', { fleet: true, failureThreshold: 3 });
    service.breaker('own');
    await until(async () => (await viewOf('payments'))?.connected === true);
    expect(await viewOf('payments')).deep.equal({
      mode: 'enforce',
      connected: true,
      replicas: 1,
      hosts: 1,
      verdict: 'closed',
      failing: 0,
      against: 0,
      stance: 'none',
      prober: null,
    });
    expect(await viewOf('own')).equal(undefined);
    openCircuit(payments);
    await until(async () => (await viewOf('payments'))?.verdict === 'open');
    expect(await viewOf('payments')).include({ verdict: 'open', failing: 1, against: 0, stance: 'accuses' });
  });

  it('has four more metrics, which a service without a fleet does not have', async () => {
    const payments = service.breaker('payments', { fleet: true, failureThreshold: 2 });
    await until(async () => (await viewOf('payments'))?.connected === true);
    fail(payments);
    const page = async (url: string) => (await fetch(`${url}/metrics`)).text();
    const text = await page(service.url);
    expectMetrics(text);
    expect(text).match(/^circuit_breaker_fleet_connected(\{.*\})? 1$/m);
    expect(text).match(/^circuit_breaker_fleet_replicas(\{.*\})? 1$/m);
    expect(text).match(/^circuit_breaker_fleet_commands_total\{.*result="ok".*\} [1-9]/m);
    expect(text).match(/^circuit_breaker_fleet_commands_total\{.*result="failed".*\} 0/m);
    expect(text).match(/^circuit_breaker_fleet_state\{.*name="payments".*\} 0$/m);
    openCircuit(payments);
    await until(async () => /^circuit_breaker_fleet_state\{.*\} 1$/m.test(await page(service.url)));
  });

  it('says it in a few words', () => {
    const view: FleetBreakerView = {
      mode: 'enforce',
      connected: true,
      replicas: 60,
      hosts: 50,
      verdict: 'open',
      failing: 12,
      against: 1,
      stance: 'obeys',
      prober: 'node-3:17:0:a1b2c3',
    };
    expect(fleetWords(view)).equal(
      '60 replicas, mode enforce; open: 12 of 50 saw it fail, 1 reach it; node-3:17:0:a1b2c3 probes',
    );
    expect(fleetWords({ ...view, stance: 'objects', prober: null })).contain('this process reaches it');
    expect(fleetWords({ ...view, verdict: 'closed' })).equal('60 replicas, mode enforce; the target is well');
    expect(fleetWords({ ...view, connected: false })).contain('not reached');
  });
});
