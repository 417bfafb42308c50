import { expect } from 'chai';
import { CircuitBreaker } from '../../../src/breaker/circuit-breaker.js';
import type { Permit } from '../../../src/breaker/permit.js';
import { resolveConfig } from '../../../src/breaker/config.js';
import { CircuitOpenError } from '../../../src/breaker/errors.js';
import type { BreakerOptions } from '../../../src/breaker/options.js';
import { STATE_NAMES, TRANSITIONS } from '../../../src/breaker/state.js';
import { installOutcomes } from '../../../src/outcomes/classify.js';
import { FakeClock } from '../../support/clock.js';
import { NaiveCircuit, type NaiveCall } from '../../support/naive-circuit.js';
import { seededRandom } from '../../support/random.js';

// They say which failures were connections that could not be made.
installOutcomes();

const STEPS = 200_000;

// Small numbers, so that every limit is reached often.
const common = { window: 1_000, openDuration: 200, halfOpenTimeout: 150, minimumCalls: 8 } as const;

const WALKS: readonly (readonly [what: string, options: BreakerOptions])[] = [
  ['plain options', { ...common, failureThreshold: 4 }],
  ['one probe at a time and one success to close', { ...common, halfOpenMaxCalls: 1, successThreshold: 1 }],
  ['the rates only', { ...common, failureThreshold: 1_000, slowCallDuration: 80, slowCallRateThreshold: 0.4 }],
  ['slow calls and hair triggers', { ...common, failureThreshold: 2, slowCallDuration: 30, minimumCalls: 3 }],
  ['backoff and jitter', { ...common, openBackoff: 3, openJitter: 0.8, maxOpenDuration: 2_000, failureThreshold: 3 }],
  [
    'openings that grow',
    {
      ...common,
      initialOpenDuration: 20,
      openBackoff: 2,
      openJitter: 0.3,
      maxOpenDuration: 1_500,
      failureThreshold: 3,
    },
  ],
  ['openings that grow, and slow calls', { ...common, initialOpenDuration: 50, slowCallDuration: 60, minimumCalls: 4 }],
  [
    'callers that give up, and timed calls',
    { ...common, failureThreshold: 3, failureRateThreshold: 0.6, slowCallDuration: 300, abandonedAfter: 40 },
  ],
  ['a window of calls', { ...common, window: '20 calls', failureThreshold: 6, slowCallDuration: 60 }],
  ['calls let through by and by', { ...common, recoveryDuration: 400, failureThreshold: 6, slowCallDuration: 120 }],
  [
    'calls let through by and by, to callers that give up',
    { ...common, recoveryDuration: 300, window: '15 calls', failureThreshold: 4, abandonedAfter: 40 },
  ],
  [
    'probes of which some may fail',
    { ...common, successThreshold: '3 of 5', halfOpenMaxCalls: 2, failureThreshold: 3 },
  ],
  [
    'probes of which some may fail or be slow, then calls let through by and by',
    { ...common, successThreshold: '2 of 4', recoveryDuration: 200, slowCallDuration: 40, minimumCalls: 4 },
  ],
  ['mode observe', { ...common, mode: 'observe', failureThreshold: 3, slowCallDuration: 60 }],
];

const ALLOWED = new Set(TRANSITIONS.map(([from, to]) => `${STATE_NAMES[from]} to ${STATE_NAMES[to]}`));

/** One circuit, its model, and someone who does to both whatever chance says. */
class Walk {
  readonly seen = new Set<string>();
  readonly #clock = new FakeClock();
  readonly #breaker: CircuitBreaker;
  readonly #model: NaiveCircuit;
  readonly #underWay: [permit: Permit, call: NaiveCall][] = [];
  readonly #random: () => number;

  readonly #options: BreakerOptions;
  /** Whether callers give up, on a target that is silent now and then. */
  readonly #givesUp: boolean;
  #isSilent = false;

  constructor(options: BreakerOptions, seed: number) {
    this.#options = options;
    this.#random = seededRandom(seed);
    this.#breaker = new CircuitBreaker('walker', options, this.#clock);
    this.#model = new NaiveCircuit(this.#breaker.config, this.#clock.now, this.#clock.random);
    this.#givesUp = options.abandonedAfter !== undefined;
    if (this.#givesUp) this.#both((circuit) => circuit.timeCalls());
    this.#breaker.onTransition(({ from, to }) => this.seen.add(`${from} to ${to}`));
  }

  step(): void {
    const dice = this.#random();
    this.#clock.chance = this.#random();
    if (dice < 0.4 && this.#underWay.length < 12) this.#acquire();
    else if (dice < 0.8) this.#givesUp ? this.#answerOrGiveUp() : this.#settle();
    else if (dice < 0.805) this.#both((circuit) => circuit.signOfLife());
    else if (dice < 0.8055) this.#both((circuit) => circuit.closeBySignOfLife());
    else if (dice < 0.997) this.#clock.advance(Math.floor(this.#random() * 40));
    else if (dice < 0.998) this.#clock.advance(Math.floor(this.#random() * 5_000));
    else if (dice < 0.9985) this.#both((circuit) => circuit.forceOpen());
    else if (dice < 0.999) this.#both((circuit) => circuit.reset());
    else this.#reconfigure();
    this.#compare();
  }

  /** Ends every call under way. */
  finish(): void {
    while (this.#underWay.length > 0) this.#settle();
    this.#compare();
    if (this.#breaker.stats().calls.inFlight !== 0) throw new Error('a permit was not settled');
  }

  #both(act: (circuit: CircuitBreaker | NaiveCircuit) => void): void {
    act(this.#breaker);
    act(this.#model);
  }

  #reconfigure(): void {
    const { window, failureThreshold } = this.#breaker.config;
    const [own, other] = typeof window === 'number' ? [1_000, 700] : ['20 calls', '12 calls'];
    const isOwn = JSON.stringify(window) === JSON.stringify(resolveConfig({ window: own }).window);
    const config = resolveConfig({
      ...this.#options,
      window: isOwn ? other : own,
      failureThreshold: failureThreshold ^ 1,
    });
    this.#both((circuit) => circuit.reconfigure(config));
  }

  #acquire(): void {
    const longRunning = this.#random() < 0.1;
    const answer = this.#breaker.tryAcquire(undefined, longRunning);
    const expected = this.#model.acquire(longRunning);
    const got = answer instanceof CircuitOpenError ? answer.state : 'permit';
    if (got !== (typeof expected === 'string' ? expected : 'permit')) throw new Error(`acquire gave ${got}`);
    if (!(answer instanceof CircuitOpenError)) this.#underWay.push([answer, expected as NaiveCall]);
  }

  #answerOrGiveUp(): void {
    if (this.#underWay.length === 0) return;
    if (this.#random() < 0.005) this.#isSilent = !this.#isSilent;
    const dice = this.#random();
    // Whoever came last is answered, so that good answers are quick ones.
    const isAnswered = !this.#isSilent && dice < 0.6;
    const at = isAnswered ? this.#underWay.length - 1 : Math.floor(this.#random() * this.#underWay.length);
    const [[permit, call]] = this.#underWay.splice(at, 1) as [[Permit, NaiveCall]];
    if (isAnswered && dice < 0.5) {
      permit.success();
      this.#model.end(call, 'success');
    } else if (isAnswered && call.answeredAt === undefined) {
      permit.answered();
      this.#model.answer(call);
      this.#underWay.unshift([permit, call]);
    } else if (dice < 0.97) {
      permit.abandon();
      this.#model.abandon(call);
    } else {
      permit.timeout('too late');
      this.#model.timeout(call);
    }
  }

  #settle(): void {
    if (this.#underWay.length === 0) return;
    const [[permit, call]] = this.#underWay.splice(Math.floor(this.#random() * this.#underWay.length), 1) as [
      [Permit, NaiveCall],
    ];
    const dice = this.#random();
    if (dice < 0.1 && call.answeredAt === undefined && call.life !== undefined) {
      permit.answered();
      this.#model.answer(call);
      this.#underWay.push([permit, call]);
      return;
    }
    if (dice < 0.55) {
      permit.success();
      this.#model.end(call, 'success');
    } else if (dice < 0.7) {
      permit.failure('down');
      this.#model.end(call, 'failure');
    } else if (dice < 0.9) {
      permit.failure(refused());
      this.#model.end(call, 'failure', 0, true);
    } else if (dice < 0.91) {
      const holdMs = this.#random() * 1_000;
      permit.failure('busy', holdMs);
      this.#model.end(call, 'failure', holdMs);
    } else {
      permit.ignore();
      this.#model.end(call, 'ignored');
    }
    // Settling again is never heard.
    if (dice < 0.2) permit.failure('again', 1_000);
  }

  #compare(): void {
    const model = this.#model;
    const stats = this.#breaker.stats();
    const { calls } = stats;
    same('state', stats.state, model.state);
    same('calls that succeeded', calls.success, model.totals.success);
    same('calls that failed', calls.failure, model.totals.failure);
    same('calls that were ignored', calls.ignored, model.totals.ignored);
    same('calls that were rejected', calls.rejected, model.totals.rejected);
    same('calls in flight', calls.inFlight, model.inFlight.length);
    same('failures in a row', stats.consecutiveFailures, model.failuresInARow);
    same('successes in a row', stats.consecutiveSuccesses, model.successesInARow);
    same('changes of state', stats.transitionCount, model.changes);
    same('failure rate', stats.failureRate, model.failureRate());
    same('slow-call rate', stats.slowCallRate, model.slowCallRate());
    // Dates are whole milliseconds, and the two calculate jitter in different ways.
    const openFor = stats.openUntil === null ? undefined : stats.openUntil.getTime() - this.#clock.wallNow();
    const expected =
      model.state === 'open' && model.openUntil < Infinity ? model.openUntil - this.#clock.now() : undefined;
    if (openFor === undefined || expected === undefined) same('open until', openFor, expected);
    else if (Math.abs(openFor - expected) > 1) same('open until', openFor, expected);

    if (model.probes().length > this.#breaker.config.halfOpenMaxCalls) throw new Error('too many probes at once');
    const settledOrNot = calls.success + calls.failure + calls.ignored + calls.rejected + calls.inFlight;
    same('calls altogether', settledOrNot, model.asked);
  }
}

/** Each a failure of its own: the same object several times within a moment is one. */
function refused(): Error {
  return Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
}

function same(what: string, got: unknown, expected: unknown): void {
  if (got !== expected) throw new Error(`${what}: ${String(got)}, and the model says ${String(expected)}`);
}

describe('A random walk', () => {
  WALKS.forEach(([what, options], index) => {
    it(`ends where the naive model does after ${STEPS} steps with ${what}`, () => {
      const walk = new Walk(options, index + 1);
      for (let step = 0; step < STEPS; step++) {
        try {
          walk.step();
        } catch (error) {
          throw new Error(`step ${step}: ${(error as Error).message}`, { cause: error });
        }
      }
      walk.finish();
      // It went through every change there is, and through no other; opening an open circuit by hand is told of, too.
      const told = (options.recoveryDuration ?? 0) === 0 ? [] : ['half_open to half_open'];
      expect([...walk.seen]).to.have.members([...ALLOWED, 'open to open', ...told]);
    });
  });
});
