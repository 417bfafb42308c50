import { expect } from 'chai';
import { CircuitOpenError } from '../../../src/breaker/errors.js';
import type { Permit } from '../../../src/breaker/permit.js';
import { createReplica, SimulatedServer, type SimulatedReplica } from '../../fleet/simulation.js';
import { VirtualTime } from '../../support/virtual-time.js';

const REFUSED = new Error('connect ECONNREFUSED');

class FleetUnderTest {
  readonly time = new VirtualTime(7);
  readonly server = new SimulatedServer(this.time);
  readonly replicas: readonly SimulatedReplica[];

  constructor(count: number, mode: 'enforce' | 'observe' = 'enforce', options = {}) {
    this.replicas = Array.from({ length: count }, (_, index) =>
      createReplica(this.time, this.server, index, { mode, options }),
    );
    this.time.pass(10_000);
  }

  call(index: number): Permit | CircuitOpenError {
    return this.replicas[index]!.breaker.tryAcquire();
  }

  fail(...indexes: number[]): void {
    for (const index of indexes) settled(this.call(index)).failure(REFUSED);
  }

  succeed(...indexes: number[]): void {
    for (const index of indexes) settled(this.call(index)).success();
  }

  states(): string[] {
    return this.replicas.map(({ breaker }) => breaker.state);
  }

  /** Two hosts of three accuse, with six failures together. */
  die(): void {
    for (let round = 0; round < 3; round++) {
      this.fail(0, 1);
      this.time.pass(60);
    }
  }
}

function settled(permit: Permit | CircuitOpenError): Permit {
  if (permit instanceof CircuitOpenError) throw permit;
  return permit;
}

describe('Link', () => {
  it('opens a circuit whose own calls have not failed once a quorum of hosts has seen the target fail', () => {
    const fleet = new FleetUnderTest(3);
    fleet.die();
    fleet.time.pass(1_000);
    expect(fleet.states()).deep.equal(['open', 'open', 'open']);
    const quiet = fleet.replicas[2]!.breaker;
    expect(quiet.isAdvised).equal(true);
    expect(quiet.fleetState).equal(1);
    const rejection = fleet.call(2) as CircuitOpenError;
    expect(rejection.message).contain('the fleet opened it: 2 of 3 replicas saw it fail');
  });

  it('needs a quorum: one host alone opens nobody else', () => {
    const fleet = new FleetUnderTest(3);
    fleet.fail(0, 0, 0, 0, 0);
    fleet.time.pass(20_000);
    expect(fleet.states()).deep.equal(['open', 'closed', 'closed']);
  });

  it('does not obey where a call that began after the trouble began has succeeded, and takes the verdict back', () => {
    const fleet = new FleetUnderTest(3);
    fleet.fail(0, 1);
    fleet.time.pass(20);
    fleet.succeed(2);
    fleet.fail(0, 1);
    fleet.time.pass(60);
    fleet.fail(0, 1);
    fleet.time.pass(2_000);
    expect(fleet.states()[2]).equal('closed');
    // Two against one is agreement enough: the verdict stands, for those to whom it fails.
    expect(fleet.replicas[2]!.link!.viewOf(fleet.replicas[2]!.breaker)!.stance).equal('objects');
  });

  it('takes the verdict back where too many object', () => {
    const fleet = new FleetUnderTest(4);
    fleet.fail(0, 1, 2);
    fleet.time.pass(60);
    fleet.fail(0, 1, 2);
    fleet.succeed(3);
    fleet.time.pass(100);
    const [message] = fleet.server.messages;
    expect(message!.is).equal('open');
    expect(fleet.states()[3]).equal('closed');
  });

  it('lets one replica probe, and closes all by its success', () => {
    const fleet = new FleetUnderTest(3);
    fleet.die();
    fleet.time.pass(4_500);
    // The first call asks for a ticket; those after it may use it.
    expect(fleet.call(2)).instanceOf(CircuitOpenError);
    fleet.time.pass(100);
    const probe = settled(fleet.call(2));
    // Nobody else gets one for a quarter of a second.
    expect(fleet.call(0)).instanceOf(CircuitOpenError);
    fleet.time.pass(100);
    expect(fleet.call(0)).instanceOf(CircuitOpenError);
    probe.success();
    fleet.time.pass(100);
    expect(fleet.call(2)).instanceOf(CircuitOpenError);
    fleet.time.pass(100);
    fleet.succeed(2);
    fleet.time.pass(4_000);
    expect(fleet.states()[2]).equal('closed');
    expect(fleet.states().filter((state) => state === 'closed').length).at.least(1);
    expect(fleet.server.messages.at(-1)!.is).equal('close');
  });

  it('takes the word of a call that was under way when the circuit opened, and not that of a probe before one that failed', () => {
    const fleet = new FleetUnderTest(4);
    fleet.fail(0, 1, 3);
    fleet.time.pass(1);
    const underWay = settled(fleet.call(2));
    fleet.time.pass(60);
    fleet.fail(0, 1, 3);
    fleet.time.pass(300);
    expect(fleet.states()[2]).equal('open');
    underWay.success();
    fleet.time.pass(6_000);
    expect(fleet.states()[2]).equal('closed');

    const other = new FleetUnderTest(3, 'enforce', { successThreshold: 3 });
    other.die();
    other.time.pass(4_500);
    const { breaker } = other.replicas[2]!;
    other.call(2);
    other.time.pass(100);
    other.succeed(2);
    other.time.pass(100);
    other.call(2);
    other.time.pass(300);
    settled(other.call(2)).failure(REFUSED);
    expect(breaker.isAdvised).equal(true);
    other.time.pass(8_000);
    expect(breaker.state).equal('open');
  });

  it('opens a circuit again that recovers once the others have seen the target fail anew', () => {
    const fleet = new FleetUnderTest(3, 'enforce', { recoveryDuration: 600_000 });
    fleet.die();
    fleet.time.pass(4_500);
    for (let round = 0; round < 3; round++) {
      fleet.call(2);
      fleet.time.pass(100);
      const probe = fleet.call(2);
      if (!(probe instanceof CircuitOpenError)) probe.success();
      fleet.time.pass(100);
    }
    fleet.time.pass(8_000);
    const recovering = () => fleet.replicas.map(({ breaker }) => breaker.admittedShare !== undefined);
    expect(recovering()).deep.equal([true, true, true]);
    for (let round = 0; round < 3; round++) {
      for (const index of [0, 1]) {
        let permit = fleet.call(index);
        while (permit instanceof CircuitOpenError) permit = fleet.call(index);
        permit.failure(REFUSED);
      }
      fleet.time.pass(60);
    }
    fleet.time.pass(1_000);
    expect(fleet.states()).deep.equal(['open', 'open', 'open']);
    expect(fleet.replicas[2]!.breaker.isAdvised).equal(true);
  });

  it('opens all again by the failure of one probe', () => {
    const fleet = new FleetUnderTest(3);
    fleet.die();
    fleet.time.pass(4_500);
    fleet.call(2);
    fleet.time.pass(100);
    settled(fleet.call(2)).failure(REFUSED);
    fleet.time.pass(100);
    expect(fleet.states()).deep.equal(['open', 'open', 'open']);
    fleet.time.pass(1_000);
    for (const index of [0, 1, 2]) expect(fleet.call(index)).instanceOf(CircuitOpenError);
  });

  it('frees whoever is held for too long: nobody calls who has the ticket', () => {
    const fleet = new FleetUnderTest(3);
    fleet.die();
    fleet.time.pass(4_500);
    const { breaker } = fleet.replicas[2]!;
    // The server gives tickets to replicas that do not use them, and none to this one.
    fleet.server.ledger.apply = (request, now) => ({
      now,
      rev: request.rev,
      replicas: 3,
      hosts: 3,
      results: request.acts.map(() => ({ is: 'wait' as const, wait: 250 })),
    });
    fleet.call(2);
    fleet.time.pass(5_000);
    expect(fleet.call(2)).instanceOf(CircuitOpenError);
    fleet.time.pass(2 * 10_000);
    settled(fleet.call(2)).success();
    expect(breaker.state).equal('half_open');
  });

  it('closes by its own probes while the engine is away', () => {
    const fleet = new FleetUnderTest(3);
    fleet.die();
    fleet.time.pass(1_000);
    fleet.server.fail('killed');
    fleet.time.pass(4_000);
    fleet.succeed(2, 2);
    expect(fleet.states()[2]).equal('closed');
  });

  it('notices within a moment that the engine stands still, and probes by itself', () => {
    const fleet = new FleetUnderTest(3);
    fleet.die();
    fleet.time.pass(1_000);
    fleet.server.fail('stopped');
    fleet.time.pass(4_000);
    expect(fleet.call(2)).instanceOf(CircuitOpenError);
    fleet.time.pass(1_100);
    fleet.succeed(2, 2);
    expect(fleet.states()[2]).equal('closed');
  });

  it('drops what was on its way while the engine stood still', () => {
    const fleet = new FleetUnderTest(3);
    fleet.server.fail('stopped');
    fleet.die();
    fleet.time.pass(2_500);
    fleet.server.repair();
    fleet.time.pass(100);
    expect(fleet.server.messages).deep.equal([]);
    expect(fleet.states()).deep.equal(['closed', 'closed', 'closed']);
  });

  it('tells a new process before its first call', () => {
    const fleet = new FleetUnderTest(3);
    fleet.die();
    fleet.time.pass(1_000);
    const late = createReplica(fleet.time, fleet.server, 3, { mode: 'enforce', options: {} });
    fleet.time.pass(3_100);
    expect(late.breaker.state).equal('open');
    expect(late.breaker.isAdvised).equal(true);
  });

  it('in mode observe says what it would do and does nothing', () => {
    const fleet = new FleetUnderTest(3, 'observe');
    fleet.die();
    fleet.time.pass(2_000);
    expect(fleet.states()[2]).equal('closed');
    expect(fleet.replicas[2]!.breaker.fleetState).equal(1);
    expect(fleet.replicas[2]!.link!.viewOf(fleet.replicas[2]!.breaker)).deep.include({
      verdict: 'open',
      stance: 'obeys',
    });
  });

  it('leaves a circuit alone that was opened by hand', () => {
    const fleet = new FleetUnderTest(3);
    const { breaker } = fleet.replicas[2]!;
    breaker.forceOpen();
    fleet.die();
    fleet.time.pass(60_000);
    expect(breaker.stats().openUntil).equal(null);
    expect(fleet.call(2)).instanceOf(CircuitOpenError);
  });

  it('says nothing against a target in panic', () => {
    const fleet = new FleetUnderTest(3);
    for (const { breaker } of fleet.replicas) breaker.isPanic = () => true;
    fleet.die();
    fleet.time.pass(1_000);
    expect(fleet.server.messages).deep.equal([]);
  });

  it('withdraws what it has accused for as soon as a call succeeds', () => {
    const fleet = new FleetUnderTest(3);
    fleet.fail(0, 1);
    fleet.time.pass(10);
    fleet.succeed(0, 1);
    fleet.time.pass(200);
    // These would be enough with the two before.
    fleet.fail(2, 2, 2, 2);
    fleet.time.pass(500);
    expect(fleet.server.messages).deep.equal([]);
  });

  it('asks to probe at once where a connection is made, before the opening ends', () => {
    const fleet = new FleetUnderTest(3);
    fleet.die();
    fleet.time.pass(500);
    const { breaker } = fleet.replicas[2]!;
    breaker.signOfLife();
    fleet.time.pass(50);
    expect(fleet.server.messages.at(-1)!.is).equal('lease');
  });

  it('lets the longest Retry-After of a replica hold for all', () => {
    const fleet = new FleetUnderTest(3, 'enforce', { maxOpenDuration: 60_000 });
    settled(fleet.call(2)).failure(REFUSED, 20_000);
    fleet.time.pass(60);
    for (let round = 0; round < 2; round++) {
      for (const index of [0, 1]) if (fleet.states()[index] === 'closed') fleet.fail(index);
      fleet.time.pass(60);
    }
    expect(fleet.states()).deep.equal(['open', 'open', 'open']);
    fleet.time.pass(16_000);
    for (const index of [0, 1, 2]) expect(fleet.call(index), String(index)).instanceOf(CircuitOpenError);
  });
});
