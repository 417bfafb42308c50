import { CircuitBreaker } from '../../src/breaker/circuit-breaker.js';
import { CircuitOpenError } from '../../src/breaker/errors.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import type { Engine, EngineListener } from '../../src/fleet/engine.js';
import { Ledger } from '../../src/fleet/ledger.js';
import { Link } from '../../src/fleet/link.js';
import type { Message, Reply, Request } from '../../src/fleet/protocol.js';
import { DEFAULTS, type FleetSettings } from '../../src/fleet/settings.js';
import { VirtualTime } from '../support/virtual-time.js';

/** What befalls the engine. */
export type Fault = 'killed' | 'stopped' | 'slow' | 'flushed';

export interface Scenario {
  readonly replicas: number;
  /** Calls of each replica in a second. */
  readonly rate: number;
  readonly fleet: boolean;
  readonly mode?: 'enforce' | 'observe';
  /** So many replicas cannot reach the target, which is well. */
  readonly poisoned?: number;
  readonly diesAt?: number;
  readonly recoversAt?: number;
  /** From `diesAt` on it is dead for every other second. */
  readonly flaps?: boolean;
  readonly fault?: Fault;
  readonly faultAt?: number;
  readonly repairedAt?: number;
  /** A target without life is silent for so long, rather than refusing at once. */
  readonly silentFor?: number;
  readonly until: number;
  readonly options?: BreakerOptions;
  readonly seed?: number;
}

export interface Outcome {
  /** Failing calls from the target's death until every circuit is open; milliseconds until then. */
  failingCalls: number;
  allOpenAfter: number;
  /** Calls made to the dead target after all were open, in a second. */
  probesPerSecond: number;
  /** And the most of them in one opening of the fleet. */
  probesPerOpening: number;
  /** Calls made from the recovery on until the first circuit was closed. */
  probesAtRecovery: number;
  /** Milliseconds from the recovery until all circuits were closed. */
  allClosedAfter: number;
  /** Calls of replicas that reach the target which were rejected while it was well, and all of theirs. */
  wronglyRejected: number;
  healthyCalls: number;
  /** Rejected and failing calls, all replicas together. */
  rejected: number;
  failed: number;
  commandsPerSecond: number;
  openings: number;
}

const LATENCY: readonly [number, number] = [0.2, 1];
/** Each way. */
const SLOW_MS = 150;

/** A server for all replicas, with every fault that a server can have. */
export class SimulatedServer {
  readonly ledger: Ledger;
  readonly messages: Message[] = [];
  readonly engines: SimulatedEngine[] = [];
  state: 'up' | 'killed' | 'stopped' | 'slow' = 'up';
  commands = 0;
  #waiting: (() => void)[] = [];

  constructor(readonly time: VirtualTime) {
    this.ledger = new Ledger((message) => this.#publish(message));
  }

  /** Its clock is not ours. */
  get now(): number {
    return Math.floor(1_700_000_000_000 + this.time.now());
  }

  get latency(): number {
    return this.time.between(...LATENCY) + (this.state === 'slow' ? SLOW_MS : 0);
  }

  receive(request: Request, answer: (reply: Reply | undefined) => void): void {
    if (this.state === 'killed') return answer(undefined);
    if (this.state === 'stopped') return void this.#waiting.push(() => this.receive(request, answer));
    this.commands++;
    answer(this.ledger.apply(request, this.now));
  }

  fail(fault: Fault): void {
    if (fault === 'flushed') return this.ledger.clear();
    this.state = fault;
    if (fault !== 'killed') return;
    this.ledger.clear();
    for (const engine of this.engines) engine.drop();
  }

  repair(): void {
    this.state = 'up';
    for (const go of this.#waiting.splice(0)) go();
    for (const engine of this.engines)
      if (!engine.isConnected) this.time.after(this.time.between(0, 500), () => engine.connect());
  }

  #publish(message: Message): void {
    this.messages.push(message);
    for (const engine of this.engines) {
      if (engine.isConnected)
        this.time.after(this.latency, () => engine.isConnected && engine.listener?.onMessage(message));
    }
  }
}

class SimulatedEngine implements Engine {
  isConnected = false;
  listener: EngineListener | undefined;
  readonly #open = new Set<(reply: Reply | undefined) => void>();

  constructor(private readonly server: SimulatedServer) {
    server.engines.push(this);
  }

  start(listener: EngineListener): void {
    this.listener = listener;
    this.connect();
  }

  connect(): void {
    if (this.server.state === 'killed' || this.server.state === 'stopped') return;
    this.isConnected = true;
    this.listener?.onConnected();
  }

  send(request: Request, done: (reply: Reply | undefined) => void): void {
    const { server } = this;
    const once = (reply: Reply | undefined) => {
      if (this.#open.delete(once)) done(reply);
    };
    this.#open.add(once);
    server.time.after(server.latency, () => {
      server.receive(request, (reply) => server.time.after(server.latency, () => once(reply)));
    });
  }

  drop(): void {
    this.isConnected = false;
    for (const once of [...this.#open]) once(undefined);
  }

  restart(): void {
    this.drop();
    // As long as the server stands still, no connection is made.
    if (this.server.state === 'up' || this.server.state === 'slow') this.connect();
  }

  stop(): void {
    this.drop();
  }
}

export function settingsFor(domain: string, mode: 'enforce' | 'observe' = 'enforce'): FleetSettings {
  return { ...DEFAULTS, mode, url: undefined, connect: undefined, namespace: 'sim', domain, rampUp: undefined };
}

export interface SimulatedReplica {
  readonly breaker: CircuitBreaker;
  readonly link: Link | undefined;
  readonly poisoned: boolean;
}

export function createReplica(
  time: VirtualTime,
  server: SimulatedServer | undefined,
  index: number,
  { options, mode, poisoned = 0 }: Pick<Scenario, 'options' | 'mode' | 'poisoned'>,
): SimulatedReplica {
  const breaker = new CircuitBreaker('http://target', { failureThreshold: 5, openDuration: 3_000, ...options }, time);
  breaker.timeCalls();
  const link =
    server &&
    new Link(
      `replica-${index}`,
      settingsFor(`host-${index}`, mode),
      new SimulatedEngine(server),
      { traceOf: () => '', onAdvice: () => {}, onReach: () => {} },
      {
        now: time.now,
        random: time.random,
        later: (ms, run) => {
          let cancelled = false;
          time.after(ms, () => cancelled || run());
          return () => (cancelled = true);
        },
      },
    );
  breaker.observer = {
    onFailure: (one) => link?.onFailure(one),
    onTransition: (one, transition) => link?.onTransition(one, transition),
    onProbeSuccess: (one) => link?.onProbeSuccess(one),
    onRejection: () => {},
  };
  link?.watch(breaker);
  // Not all at once: processes start when they start.
  if (link !== undefined) time.after(time.between(0, 3_000), () => link.start());
  return { breaker, link, poisoned: index < poisoned };
}

/** Plays a scenario in virtual time. */
export function simulate(scenario: Scenario): Outcome {
  const { replicas, rate, diesAt = Infinity, recoversAt = Infinity, until, silentFor } = scenario;
  const time = new VirtualTime(scenario.seed ?? 1);
  const server = scenario.fleet ? new SimulatedServer(time) : undefined;
  const all = Array.from({ length: replicas }, (_, index) => createReplica(time, server, index, scenario));
  const outcome: Outcome = {
    failingCalls: 0,
    allOpenAfter: Infinity,
    probesPerSecond: 0,
    probesPerOpening: 0,
    probesAtRecovery: 0,
    allClosedAfter: Infinity,
    wronglyRejected: 0,
    healthyCalls: 0,
    rejected: 0,
    failed: 0,
    commandsPerSecond: 0,
    openings: 0,
  };
  let probes = 0;
  let inOpening = 0;
  let openings = 0;
  let firstClosed = false;

  const isDead = (at: number) =>
    at >= diesAt && at < recoversAt && (scenario.flaps !== true || Math.floor((at - diesAt) / 1_000) % 2 === 0);

  function look(): void {
    const now = time.now();
    if (outcome.allOpenAfter === Infinity && now >= diesAt && all.every(({ breaker }) => breaker.state !== 'closed')) {
      outcome.allOpenAfter = now - diesAt;
    }
    if (now < recoversAt) return;
    if (!firstClosed) firstClosed = all.some(({ breaker }) => breaker.state === 'closed');
    if (outcome.allClosedAfter === Infinity && all.every(({ breaker }) => breaker.state === 'closed')) {
      outcome.allClosedAfter = now - recoversAt;
    }
  }

  function call({ breaker, poisoned }: SimulatedReplica): void {
    const now = time.now();
    const dead = isDead(now);
    if (!poisoned && !dead) outcome.healthyCalls++;
    const permit = breaker.tryAcquire();
    if (permit instanceof CircuitOpenError) {
      outcome.rejected++;
      if (!poisoned && !dead && now < diesAt) outcome.wronglyRejected++;
      look();
      return;
    }
    if (now >= recoversAt && !firstClosed) outcome.probesAtRecovery++;
    if (dead && outcome.allOpenAfter !== Infinity) {
      probes++;
      const opened = server?.messages.filter(({ is }) => is === 'open').length ?? 0;
      inOpening = opened === openings ? inOpening + 1 : 1;
      openings = opened;
      outcome.probesPerOpening = Math.max(outcome.probesPerOpening, inOpening);
    }
    const fails = poisoned || dead;
    time.after(fails ? (silentFor ?? time.around(3)) : time.around(20), () => {
      if (fails) {
        outcome.failed++;
        if (dead && outcome.allOpenAfter === Infinity) outcome.failingCalls++;
        permit.failure(new Error('connect ECONNREFUSED'));
      } else permit.success();
      look();
    });
  }

  for (const replica of all) {
    time.after(time.between(0, 1_000 / rate), () => {
      call(replica);
      time.often(1_000 / rate, () => call(replica));
    });
  }
  const { fault, faultAt, repairedAt } = scenario;
  if (fault !== undefined && server !== undefined) {
    time.after(faultAt!, () => server.fail(fault));
    if (repairedAt !== undefined) time.after(repairedAt, () => server.repair());
  }
  for (let at = 0; at < until; at += 10) time.after(at, look);
  time.pass(until);
  const deadFor = Math.min(recoversAt, until) - diesAt - outcome.allOpenAfter;
  outcome.probesPerSecond = deadFor > 0 ? (probes * 1_000) / deadFor : 0;
  outcome.commandsPerSecond = server === undefined ? 0 : (server.commands * 1_000) / until / replicas;
  outcome.openings = server?.messages.filter(({ is }) => is === 'open').length ?? 0;
  for (const { link } of all) link?.stop();
  return outcome;
}
