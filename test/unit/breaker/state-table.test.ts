import { expect } from 'chai';
import type { CircuitBreaker } from '../../../src/breaker/circuit-breaker.js';
import type { BreakerOptions } from '../../../src/breaker/options.js';
import type { Permit } from '../../../src/breaker/permit.js';
import { resolveConfig } from '../../../src/breaker/config.js';
import { CircuitOpenError } from '../../../src/breaker/errors.js';
import { breakerWithClock, fail, openCircuit, succeed, waitUntilProbe } from '../../support/breakers.js';
import type { FakeClock } from '../../support/clock.js';

const OPTIONS = {
  failureThreshold: 3,
  successThreshold: 2,
  halfOpenMaxCalls: 2,
  openDuration: 100,
  halfOpenTimeout: 50,
  abandonedAfter: 10,
} as const;

/** A circuit somewhere in its life, with one call under way that it let through, and one from before its last change. */
interface Scene {
  readonly options: BreakerOptions;
  readonly breaker: CircuitBreaker;
  readonly clock: FakeClock;
  /** The newest call under way: in an open circuit, one that began before it opened. */
  readonly call: Permit;
  /** A call that began before the circuit last began anew. */
  readonly late: Permit;
}

// Two of four calls may fail.
const OF_CALLS = { ...OPTIONS, failureThreshold: 100, window: '4 calls', minimumCalls: 4 } as const;
const RECOVERS = { ...OPTIONS, recoveryDuration: 200 } as const;

function timedBreaker(options: BreakerOptions) {
  const made = breakerWithClock(options);
  made.breaker.timeCalls();
  return { options, ...made };
}

function closed(options: BreakerOptions = OPTIONS): Scene {
  const { breaker, clock } = timedBreaker(options);
  const late = breaker.acquire();
  breaker.reset();
  return { options, breaker, clock, late, call: breaker.acquire() };
}

function open(options: BreakerOptions = OPTIONS): Scene {
  const { breaker, clock } = timedBreaker(options);
  const late = breaker.acquire();
  const call = breaker.acquire();
  openCircuit(breaker);
  return { options, breaker, clock, late, call };
}

function halfOpen(options: BreakerOptions = OPTIONS): Scene {
  const { breaker, clock, late, call } = open(options);
  call.ignore();
  waitUntilProbe(breaker, clock);
  return { options, breaker, clock, late, call: breaker.acquire() };
}

/** Half the time of its recovery has passed: 55 of 100 calls are let through. */
function recovering(): Scene {
  const { breaker, clock, late, call } = halfOpen(RECOVERS);
  call.success();
  succeed(breaker);
  clock.advance(100);
  return { options: RECOVERS, breaker, clock, late, call: breaker.acquire() };
}

function after<T extends Scene>(scene: T, change: (scene: T) => void): T {
  change(scene);
  return scene;
}

const STATES: Readonly<Record<string, () => Scene>> = {
  closed: () => closed(),
  'closed, one failure left': () => after(closed(), ({ breaker }) => fail(breaker, 2)),
  open: () => open(),
  'open, unreachable': () => {
    const { options, breaker, clock } = timedBreaker(OPTIONS);
    const late = breaker.acquire();
    const call = breaker.acquire();
    for (let failure = 0; failure < 3; failure++) breaker.acquireEvidence().settle('failure', new Error('refused'));
    return { options, breaker, clock, late, call };
  },
  'open, time is up': () => after(open(), ({ breaker, clock }) => waitUntilProbe(breaker, clock)),
  'open by hand': () =>
    after(open(), ({ breaker, clock }) => {
      breaker.forceOpen();
      clock.advance(1_000_000);
    }),
  'half-open': () => halfOpen(),
  'half-open, at its limit': () => after(halfOpen(), ({ breaker }) => void breaker.acquire()),
  'half-open, one success left': () => after(halfOpen(), ({ breaker }) => succeed(breaker)),
  recovering,
  'recovering, no share left': () => after(recovering(), ({ breaker }) => void breaker.tryAcquire()),
  'recovering, time is up': () => after(recovering(), ({ clock }) => clock.advance(100)),
  'window of calls': () =>
    after(closed(OF_CALLS), ({ breaker }) => {
      succeed(breaker, 2);
      fail(breaker, 1);
    }),
};

type Answer = Permit | CircuitOpenError | undefined;

const EVENTS: Readonly<Record<string, (scene: Scene) => Answer | void>> = {
  success: ({ call }) => call.success(),
  failure: ({ call }) => call.failure(new Error('down')),
  timeout: ({ call }) => call.timeout(new Error('too late')),
  'uncounted timeout': ({ options, breaker, call }) => {
    breaker.reconfigure(resolveConfig({ ...options, countTimeouts: false }));
    call.timeout(new Error('too late'));
  },
  ignored: ({ call }) => call.ignore(),
  'hold for 500 ms': ({ call }) => call.failure(new Error('busy'), 500),
  'settled again': ({ call }) => {
    call.ignore();
    call.success();
    call.failure(new Error('down'), 500);
    call.timeout(new Error('too late'));
    call.ignore();
  },
  'late success': ({ late }) => late.success(),
  'late failure': ({ late }) => late.failure(new Error('down')),
  'late timeout': ({ late }) => late.timeout(new Error('too late')),
  'late ignored': ({ late }) => late.ignore(),
  'late hold': ({ late }) => late.failure(new Error('busy'), 500),
  answered: ({ call }) => call.answered(),
  'answered, then broken': ({ call }) => {
    call.answered();
    call.failure(new Error('the body broke off'));
  },
  'answered a second ago': ({ breaker, clock, call }) => {
    call.answered();
    clock.advance(1_000);
    return breaker.tryAcquire();
  },
  'given up': ({ call }) => call.abandon(),
  'given up at last': ({ clock, call }) => {
    clock.advance(OPTIONS.abandonedAfter);
    call.abandon();
  },
  'answered and given up': ({ clock, call }) => {
    call.answered();
    clock.advance(OPTIONS.abandonedAfter);
    call.abandon();
  },
  'late given up at last': ({ clock, late }) => {
    clock.advance(OPTIONS.abandonedAfter);
    late.abandon();
  },
  'late answered': ({ late }) => late.answered(),
  'no connection': ({ breaker }) => breaker.acquireEvidence().settle('failure', new Error('refused')),
  'sign of life': ({ breaker }) => breaker.signOfLife(),
  'closing sign of life': ({ breaker }) => breaker.closeBySignOfLife(),
  acquire: ({ breaker }) => breaker.tryAcquire(),
  'acquire, others silent': ({ breaker, clock }) => {
    clock.advance(OPTIONS.halfOpenTimeout);
    return breaker.tryAcquire();
  },
  'force open': ({ breaker }) => breaker.forceOpen(),
  reset: ({ breaker }) => breaker.reset(),
  reconfigure: ({ options, breaker }) =>
    breaker.reconfigure(resolveConfig({ ...options, failureThreshold: 1, openDuration: 1 })),
  'time passes': ({ breaker, clock }) => {
    clock.advance(1_000_000);
    breaker.stats();
  },
};

/**
 * For each state and event: the state that follows; what a call got; by how much the counts of success, failure,
 * ignored, rejected and in flight change; failures and successes in a row afterwards; milliseconds it stays open.
 */
const TABLE = `
closed                      | success                | closed    | -                  |  1  0  0  0 -1 | 0 1 | -
closed                      | failure                | closed    | -                  |  0  1  0  0 -1 | 1 0 | -
closed                      | timeout                | closed    | -                  |  0  1  0  0 -1 | 1 0 | -
closed                      | uncounted timeout      | closed    | -                  |  0  0  1  0 -1 | 0 0 | -
closed                      | ignored                | closed    | -                  |  0  0  1  0 -1 | 0 0 | -
closed                      | hold for 500 ms        | open      | -                  |  0  1  0  0 -1 | 1 0 | 500
closed                      | settled again          | closed    | -                  |  0  0  1  0 -1 | 0 0 | -
closed                      | late success           | closed    | -                  |  1  0  0  0 -1 | 0 0 | -
closed                      | late failure           | closed    | -                  |  0  1  0  0 -1 | 0 0 | -
closed                      | late timeout           | closed    | -                  |  0  1  0  0 -1 | 0 0 | -
closed                      | late ignored           | closed    | -                  |  0  0  1  0 -1 | 0 0 | -
closed                      | late hold              | closed    | -                  |  0  1  0  0 -1 | 0 0 | -
closed                      | answered               | closed    | -                  |  0  0  0  0  0 | 0 0 | -
closed                      | answered, then broken  | closed    | -                  |  0  1  0  0 -1 | 1 0 | -
closed                      | answered a second ago  | closed    | permit             |  0  0  0  0  1 | 0 0 | -
closed                      | given up               | closed    | -                  |  0  0  1  0 -1 | 0 0 | -
closed                      | given up at last       | closed    | -                  |  0  1  0  0 -1 | 1 0 | -
closed                      | answered and given up  | closed    | -                  |  1  0  0  0 -1 | 0 1 | -
closed                      | late given up at last  | closed    | -                  |  0  1  0  0 -1 | 0 0 | -
closed                      | late answered          | closed    | -                  |  0  0  0  0  0 | 0 0 | -
closed                      | no connection          | closed    | -                  |  0  1  0  0  0 | 1 0 | -
closed                      | sign of life           | closed    | -                  |  0  0  0  0  0 | 0 0 | -
closed                      | closing sign of life   | closed    | -                  |  0  0  0  0  0 | 0 0 | -
closed                      | acquire                | closed    | permit             |  0  0  0  0  1 | 0 0 | -
closed                      | acquire, others silent | closed    | permit             |  0  0  0  0  1 | 0 0 | -
closed                      | force open             | open      | -                  |  0  0  0  0  0 | 0 0 | -
closed                      | reset                  | closed    | -                  |  0  0  0  0  0 | 0 0 | -
closed                      | reconfigure            | closed    | -                  |  0  0  0  0  0 | 0 0 | -
closed                      | time passes            | closed    | -                  |  0  0  0  0  0 | 0 0 | -
closed, one failure left    | success                | closed    | -                  |  1  0  0  0 -1 | 0 1 | -
closed, one failure left    | failure                | open      | -                  |  0  1  0  0 -1 | 3 0 | 100
closed, one failure left    | timeout                | open      | -                  |  0  1  0  0 -1 | 3 0 | 100
closed, one failure left    | uncounted timeout      | closed    | -                  |  0  0  1  0 -1 | 2 0 | -
closed, one failure left    | ignored                | closed    | -                  |  0  0  1  0 -1 | 2 0 | -
closed, one failure left    | hold for 500 ms        | open      | -                  |  0  1  0  0 -1 | 3 0 | 500
closed, one failure left    | settled again          | closed    | -                  |  0  0  1  0 -1 | 2 0 | -
closed, one failure left    | late success           | closed    | -                  |  1  0  0  0 -1 | 2 0 | -
closed, one failure left    | late failure           | closed    | -                  |  0  1  0  0 -1 | 2 0 | -
closed, one failure left    | late timeout           | closed    | -                  |  0  1  0  0 -1 | 2 0 | -
closed, one failure left    | late ignored           | closed    | -                  |  0  0  1  0 -1 | 2 0 | -
closed, one failure left    | late hold              | closed    | -                  |  0  1  0  0 -1 | 2 0 | -
closed, one failure left    | answered               | closed    | -                  |  0  0  0  0  0 | 2 0 | -
closed, one failure left    | answered, then broken  | open      | -                  |  0  1  0  0 -1 | 3 0 | 100
closed, one failure left    | answered a second ago  | closed    | permit             |  0  0  0  0  1 | 2 0 | -
closed, one failure left    | given up               | closed    | -                  |  0  0  1  0 -1 | 2 0 | -
closed, one failure left    | given up at last       | closed    | -                  |  0  0  1  0 -1 | 2 0 | -
closed, one failure left    | answered and given up  | closed    | -                  |  1  0  0  0 -1 | 0 1 | -
closed, one failure left    | late given up at last  | closed    | -                  |  0  1  0  0 -1 | 2 0 | -
closed, one failure left    | late answered          | closed    | -                  |  0  0  0  0  0 | 2 0 | -
closed, one failure left    | no connection          | open      | -                  |  0  1  0  0  0 | 3 0 | 100
closed, one failure left    | sign of life           | closed    | -                  |  0  0  0  0  0 | 2 0 | -
closed, one failure left    | closing sign of life   | closed    | -                  |  0  0  0  0  0 | 2 0 | -
closed, one failure left    | acquire                | closed    | permit             |  0  0  0  0  1 | 2 0 | -
closed, one failure left    | acquire, others silent | closed    | permit             |  0  0  0  0  1 | 2 0 | -
closed, one failure left    | force open             | open      | -                  |  0  0  0  0  0 | 2 0 | -
closed, one failure left    | reset                  | closed    | -                  |  0  0  0  0  0 | 0 0 | -
closed, one failure left    | reconfigure            | closed    | -                  |  0  0  0  0  0 | 2 0 | -
closed, one failure left    | time passes            | closed    | -                  |  0  0  0  0  0 | 2 0 | -
open                        | success                | open      | -                  |  1  0  0  0 -1 | 3 0 | 100
open                        | failure                | open      | -                  |  0  1  0  0 -1 | 3 0 | 100
open                        | timeout                | open      | -                  |  0  1  0  0 -1 | 3 0 | 100
open                        | uncounted timeout      | open      | -                  |  0  0  1  0 -1 | 3 0 | 100
open                        | ignored                | open      | -                  |  0  0  1  0 -1 | 3 0 | 100
open                        | hold for 500 ms        | open      | -                  |  0  1  0  0 -1 | 3 0 | 500
open                        | settled again          | open      | -                  |  0  0  1  0 -1 | 3 0 | 100
open                        | late success           | open      | -                  |  1  0  0  0 -1 | 3 0 | 100
open                        | late failure           | open      | -                  |  0  1  0  0 -1 | 3 0 | 100
open                        | late timeout           | open      | -                  |  0  1  0  0 -1 | 3 0 | 100
open                        | late ignored           | open      | -                  |  0  0  1  0 -1 | 3 0 | 100
open                        | late hold              | open      | -                  |  0  1  0  0 -1 | 3 0 | 500
open                        | answered               | open      | -                  |  0  0  0  0  0 | 3 0 | 100
open                        | answered, then broken  | open      | -                  |  0  1  0  0 -1 | 3 0 | 100
open                        | answered a second ago  | half_open | permit             |  0  0  0  0  1 | 3 0 | -
open                        | given up               | open      | -                  |  0  0  1  0 -1 | 3 0 | 100
open                        | given up at last       | open      | -                  |  0  1  0  0 -1 | 3 0 | 90
open                        | answered and given up  | open      | -                  |  1  0  0  0 -1 | 3 0 | 90
open                        | late given up at last  | open      | -                  |  0  1  0  0 -1 | 3 0 | 90
open                        | late answered          | open      | -                  |  0  0  0  0  0 | 3 0 | 100
open                        | no connection          | open      | -                  |  0  0  0  0  0 | 3 0 | 100
open                        | sign of life           | open      | -                  |  0  0  0  0  0 | 3 0 | 100
open                        | closing sign of life   | open      | -                  |  0  0  0  0  0 | 3 0 | 100
open                        | acquire                | open      | rejected open      |  0  0  0  1  0 | 3 0 | 100
open                        | acquire, others silent | open      | rejected open      |  0  0  0  1  0 | 3 0 | 50
open                        | force open             | open      | -                  |  0  0  0  0  0 | 3 0 | -
open                        | reset                  | closed    | -                  |  0  0  0  0  0 | 0 0 | -
open                        | reconfigure            | open      | -                  |  0  0  0  0  0 | 3 0 | 100
open                        | time passes            | open      | -                  |  0  0  0  0  0 | 3 0 | -999900
open, unreachable           | success                | open      | -                  |  1  0  0  0 -1 | 3 0 | 100
open, unreachable           | failure                | open      | -                  |  0  1  0  0 -1 | 3 0 | 100
open, unreachable           | timeout                | open      | -                  |  0  1  0  0 -1 | 3 0 | 100
open, unreachable           | uncounted timeout      | open      | -                  |  0  0  1  0 -1 | 3 0 | 100
open, unreachable           | ignored                | open      | -                  |  0  0  1  0 -1 | 3 0 | 100
open, unreachable           | hold for 500 ms        | open      | -                  |  0  1  0  0 -1 | 3 0 | 500
open, unreachable           | settled again          | open      | -                  |  0  0  1  0 -1 | 3 0 | 100
open, unreachable           | late success           | open      | -                  |  1  0  0  0 -1 | 3 0 | 100
open, unreachable           | late failure           | open      | -                  |  0  1  0  0 -1 | 3 0 | 100
open, unreachable           | late timeout           | open      | -                  |  0  1  0  0 -1 | 3 0 | 100
open, unreachable           | late ignored           | open      | -                  |  0  0  1  0 -1 | 3 0 | 100
open, unreachable           | late hold              | open      | -                  |  0  1  0  0 -1 | 3 0 | 500
open, unreachable           | answered               | open      | -                  |  0  0  0  0  0 | 3 0 | 100
open, unreachable           | answered, then broken  | open      | -                  |  0  1  0  0 -1 | 3 0 | 100
open, unreachable           | answered a second ago  | half_open | permit             |  0  0  0  0  1 | 3 0 | -
open, unreachable           | given up               | open      | -                  |  0  0  1  0 -1 | 3 0 | 100
open, unreachable           | given up at last       | open      | -                  |  0  1  0  0 -1 | 3 0 | 90
open, unreachable           | answered and given up  | open      | -                  |  1  0  0  0 -1 | 3 0 | 90
open, unreachable           | late given up at last  | open      | -                  |  0  1  0  0 -1 | 3 0 | 90
open, unreachable           | late answered          | open      | -                  |  0  0  0  0  0 | 3 0 | 100
open, unreachable           | no connection          | open      | -                  |  0  0  0  0  0 | 3 0 | 100
open, unreachable           | sign of life           | open      | -                  |  0  0  0  0  0 | 3 0 | 0
open, unreachable           | closing sign of life   | closed    | -                  |  0  0  0  0  0 | 0 0 | -
open, unreachable           | acquire                | open      | rejected open      |  0  0  0  1  0 | 3 0 | 100
open, unreachable           | acquire, others silent | open      | rejected open      |  0  0  0  1  0 | 3 0 | 50
open, unreachable           | force open             | open      | -                  |  0  0  0  0  0 | 3 0 | -
open, unreachable           | reset                  | closed    | -                  |  0  0  0  0  0 | 0 0 | -
open, unreachable           | reconfigure            | open      | -                  |  0  0  0  0  0 | 3 0 | 100
open, unreachable           | time passes            | open      | -                  |  0  0  0  0  0 | 3 0 | -999900
open, time is up            | success                | open      | -                  |  1  0  0  0 -1 | 3 0 | 0
open, time is up            | failure                | open      | -                  |  0  1  0  0 -1 | 3 0 | 0
open, time is up            | timeout                | open      | -                  |  0  1  0  0 -1 | 3 0 | 0
open, time is up            | uncounted timeout      | open      | -                  |  0  0  1  0 -1 | 3 0 | 0
open, time is up            | ignored                | open      | -                  |  0  0  1  0 -1 | 3 0 | 0
open, time is up            | hold for 500 ms        | open      | -                  |  0  1  0  0 -1 | 3 0 | 500
open, time is up            | settled again          | open      | -                  |  0  0  1  0 -1 | 3 0 | 0
open, time is up            | late success           | open      | -                  |  1  0  0  0 -1 | 3 0 | 0
open, time is up            | late failure           | open      | -                  |  0  1  0  0 -1 | 3 0 | 0
open, time is up            | late timeout           | open      | -                  |  0  1  0  0 -1 | 3 0 | 0
open, time is up            | late ignored           | open      | -                  |  0  0  1  0 -1 | 3 0 | 0
open, time is up            | late hold              | open      | -                  |  0  1  0  0 -1 | 3 0 | 500
open, time is up            | answered               | open      | -                  |  0  0  0  0  0 | 3 0 | 0
open, time is up            | answered, then broken  | open      | -                  |  0  1  0  0 -1 | 3 0 | 0
open, time is up            | answered a second ago  | half_open | permit             |  0  0  0  0  1 | 3 0 | -
open, time is up            | given up               | open      | -                  |  0  1  0  0 -1 | 3 0 | 0
open, time is up            | given up at last       | open      | -                  |  0  1  0  0 -1 | 3 0 | -10
open, time is up            | answered and given up  | open      | -                  |  1  0  0  0 -1 | 3 0 | -10
open, time is up            | late given up at last  | open      | -                  |  0  1  0  0 -1 | 3 0 | -10
open, time is up            | late answered          | open      | -                  |  0  0  0  0  0 | 3 0 | 0
open, time is up            | no connection          | open      | -                  |  0  0  0  0  0 | 3 0 | 0
open, time is up            | sign of life           | open      | -                  |  0  0  0  0  0 | 3 0 | 0
open, time is up            | closing sign of life   | open      | -                  |  0  0  0  0  0 | 3 0 | 0
open, time is up            | acquire                | half_open | permit             |  0  0  0  0  1 | 3 0 | -
open, time is up            | acquire, others silent | half_open | permit             |  0  0  0  0  1 | 3 0 | -
open, time is up            | force open             | open      | -                  |  0  0  0  0  0 | 3 0 | -
open, time is up            | reset                  | closed    | -                  |  0  0  0  0  0 | 0 0 | -
open, time is up            | reconfigure            | open      | -                  |  0  0  0  0  0 | 3 0 | 0
open, time is up            | time passes            | open      | -                  |  0  0  0  0  0 | 3 0 | -1000000
open by hand                | success                | open      | -                  |  1  0  0  0 -1 | 3 0 | -
open by hand                | failure                | open      | -                  |  0  1  0  0 -1 | 3 0 | -
open by hand                | timeout                | open      | -                  |  0  1  0  0 -1 | 3 0 | -
open by hand                | uncounted timeout      | open      | -                  |  0  0  1  0 -1 | 3 0 | -
open by hand                | ignored                | open      | -                  |  0  0  1  0 -1 | 3 0 | -
open by hand                | hold for 500 ms        | open      | -                  |  0  1  0  0 -1 | 3 0 | -
open by hand                | settled again          | open      | -                  |  0  0  1  0 -1 | 3 0 | -
open by hand                | late success           | open      | -                  |  1  0  0  0 -1 | 3 0 | -
open by hand                | late failure           | open      | -                  |  0  1  0  0 -1 | 3 0 | -
open by hand                | late timeout           | open      | -                  |  0  1  0  0 -1 | 3 0 | -
open by hand                | late ignored           | open      | -                  |  0  0  1  0 -1 | 3 0 | -
open by hand                | late hold              | open      | -                  |  0  1  0  0 -1 | 3 0 | -
open by hand                | answered               | open      | -                  |  0  0  0  0  0 | 3 0 | -
open by hand                | answered, then broken  | open      | -                  |  0  1  0  0 -1 | 3 0 | -
open by hand                | answered a second ago  | open      | rejected open      |  0  0  0  1  0 | 3 0 | -
open by hand                | given up               | open      | -                  |  0  1  0  0 -1 | 3 0 | -
open by hand                | given up at last       | open      | -                  |  0  1  0  0 -1 | 3 0 | -
open by hand                | answered and given up  | open      | -                  |  1  0  0  0 -1 | 3 0 | -
open by hand                | late given up at last  | open      | -                  |  0  1  0  0 -1 | 3 0 | -
open by hand                | late answered          | open      | -                  |  0  0  0  0  0 | 3 0 | -
open by hand                | no connection          | open      | -                  |  0  0  0  0  0 | 3 0 | -
open by hand                | sign of life           | open      | -                  |  0  0  0  0  0 | 3 0 | -
open by hand                | closing sign of life   | open      | -                  |  0  0  0  0  0 | 3 0 | -
open by hand                | acquire                | open      | rejected open      |  0  0  0  1  0 | 3 0 | -
open by hand                | acquire, others silent | open      | rejected open      |  0  0  0  1  0 | 3 0 | -
open by hand                | force open             | open      | -                  |  0  0  0  0  0 | 3 0 | -
open by hand                | reset                  | closed    | -                  |  0  0  0  0  0 | 0 0 | -
open by hand                | reconfigure            | open      | -                  |  0  0  0  0  0 | 3 0 | -
open by hand                | time passes            | open      | -                  |  0  0  0  0  0 | 3 0 | -
half-open                   | success                | half_open | -                  |  1  0  0  0 -1 | 0 1 | -
half-open                   | failure                | open      | -                  |  0  1  0  0 -1 | 4 0 | 100
half-open                   | timeout                | open      | -                  |  0  1  0  0 -1 | 4 0 | 100
half-open                   | uncounted timeout      | half_open | -                  |  0  0  1  0 -1 | 3 0 | -
half-open                   | ignored                | half_open | -                  |  0  0  1  0 -1 | 3 0 | -
half-open                   | hold for 500 ms        | open      | -                  |  0  1  0  0 -1 | 4 0 | 500
half-open                   | settled again          | half_open | -                  |  0  0  1  0 -1 | 3 0 | -
half-open                   | late success           | half_open | -                  |  1  0  0  0 -1 | 3 0 | -
half-open                   | late failure           | half_open | -                  |  0  1  0  0 -1 | 3 0 | -
half-open                   | late timeout           | half_open | -                  |  0  1  0  0 -1 | 3 0 | -
half-open                   | late ignored           | half_open | -                  |  0  0  1  0 -1 | 3 0 | -
half-open                   | late hold              | half_open | -                  |  0  1  0  0 -1 | 3 0 | -
half-open                   | answered               | half_open | -                  |  0  0  0  0  0 | 3 0 | -
half-open                   | answered, then broken  | open      | -                  |  0  1  0  0 -1 | 4 0 | 100
half-open                   | answered a second ago  | half_open | permit             |  0  0  0  0  1 | 0 1 | -
half-open                   | given up               | half_open | -                  |  0  0  1  0 -1 | 3 0 | -
half-open                   | given up at last       | half_open | -                  |  0  0  1  0 -1 | 3 0 | -
half-open                   | answered and given up  | half_open | -                  |  1  0  0  0 -1 | 0 1 | -
half-open                   | late given up at last  | half_open | -                  |  0  1  0  0 -1 | 3 0 | -
half-open                   | late answered          | half_open | -                  |  0  0  0  0  0 | 3 0 | -
half-open                   | no connection          | half_open | -                  |  0  0  0  0  0 | 3 0 | -
half-open                   | sign of life           | half_open | -                  |  0  0  0  0  0 | 3 0 | -
half-open                   | closing sign of life   | half_open | -                  |  0  0  0  0  0 | 3 0 | -
half-open                   | acquire                | half_open | permit             |  0  0  0  0  1 | 3 0 | -
half-open                   | acquire, others silent | half_open | permit             |  0  0  0  0  1 | 3 0 | -
half-open                   | force open             | open      | -                  |  0  0  0  0  0 | 3 0 | -
half-open                   | reset                  | closed    | -                  |  0  0  0  0  0 | 0 0 | -
half-open                   | reconfigure            | half_open | -                  |  0  0  0  0  0 | 3 0 | -
half-open                   | time passes            | half_open | -                  |  0  0  0  0  0 | 3 0 | -
half-open, at its limit     | success                | half_open | -                  |  1  0  0  0 -1 | 0 1 | -
half-open, at its limit     | failure                | open      | -                  |  0  1  0  0 -1 | 4 0 | 100
half-open, at its limit     | timeout                | open      | -                  |  0  1  0  0 -1 | 4 0 | 100
half-open, at its limit     | uncounted timeout      | half_open | -                  |  0  0  1  0 -1 | 3 0 | -
half-open, at its limit     | ignored                | half_open | -                  |  0  0  1  0 -1 | 3 0 | -
half-open, at its limit     | hold for 500 ms        | open      | -                  |  0  1  0  0 -1 | 4 0 | 500
half-open, at its limit     | settled again          | half_open | -                  |  0  0  1  0 -1 | 3 0 | -
half-open, at its limit     | late success           | half_open | -                  |  1  0  0  0 -1 | 3 0 | -
half-open, at its limit     | late failure           | half_open | -                  |  0  1  0  0 -1 | 3 0 | -
half-open, at its limit     | late timeout           | half_open | -                  |  0  1  0  0 -1 | 3 0 | -
half-open, at its limit     | late ignored           | half_open | -                  |  0  0  1  0 -1 | 3 0 | -
half-open, at its limit     | late hold              | half_open | -                  |  0  1  0  0 -1 | 3 0 | -
half-open, at its limit     | answered               | half_open | -                  |  0  0  0  0  0 | 3 0 | -
half-open, at its limit     | answered, then broken  | open      | -                  |  0  1  0  0 -1 | 4 0 | 100
half-open, at its limit     | answered a second ago  | half_open | permit             |  0  0  0  0  1 | 0 1 | -
half-open, at its limit     | given up               | half_open | -                  |  0  0  1  0 -1 | 3 0 | -
half-open, at its limit     | given up at last       | half_open | -                  |  0  0  1  0 -1 | 3 0 | -
half-open, at its limit     | answered and given up  | half_open | -                  |  1  0  0  0 -1 | 0 1 | -
half-open, at its limit     | late given up at last  | half_open | -                  |  0  1  0  0 -1 | 3 0 | -
half-open, at its limit     | late answered          | half_open | -                  |  0  0  0  0  0 | 3 0 | -
half-open, at its limit     | no connection          | half_open | -                  |  0  0  0  0  0 | 3 0 | -
half-open, at its limit     | sign of life           | half_open | -                  |  0  0  0  0  0 | 3 0 | -
half-open, at its limit     | closing sign of life   | half_open | -                  |  0  0  0  0  0 | 3 0 | -
half-open, at its limit     | acquire                | half_open | rejected half_open |  0  0  0  1  0 | 3 0 | -
half-open, at its limit     | acquire, others silent | half_open | permit             |  0  0  0  0  1 | 3 0 | -
half-open, at its limit     | force open             | open      | -                  |  0  0  0  0  0 | 3 0 | -
half-open, at its limit     | reset                  | closed    | -                  |  0  0  0  0  0 | 0 0 | -
half-open, at its limit     | reconfigure            | half_open | -                  |  0  0  0  0  0 | 3 0 | -
half-open, at its limit     | time passes            | half_open | -                  |  0  0  0  0  0 | 3 0 | -
half-open, one success left | success                | closed    | -                  |  1  0  0  0 -1 | 0 0 | -
half-open, one success left | failure                | open      | -                  |  0  1  0  0 -1 | 1 0 | 100
half-open, one success left | timeout                | open      | -                  |  0  1  0  0 -1 | 1 0 | 100
half-open, one success left | uncounted timeout      | half_open | -                  |  0  0  1  0 -1 | 0 1 | -
half-open, one success left | ignored                | half_open | -                  |  0  0  1  0 -1 | 0 1 | -
half-open, one success left | hold for 500 ms        | open      | -                  |  0  1  0  0 -1 | 1 0 | 500
half-open, one success left | settled again          | half_open | -                  |  0  0  1  0 -1 | 0 1 | -
half-open, one success left | late success           | half_open | -                  |  1  0  0  0 -1 | 0 1 | -
half-open, one success left | late failure           | half_open | -                  |  0  1  0  0 -1 | 0 1 | -
half-open, one success left | late timeout           | half_open | -                  |  0  1  0  0 -1 | 0 1 | -
half-open, one success left | late ignored           | half_open | -                  |  0  0  1  0 -1 | 0 1 | -
half-open, one success left | late hold              | half_open | -                  |  0  1  0  0 -1 | 0 1 | -
half-open, one success left | answered               | half_open | -                  |  0  0  0  0  0 | 0 1 | -
half-open, one success left | answered, then broken  | open      | -                  |  0  1  0  0 -1 | 1 0 | 100
half-open, one success left | answered a second ago  | closed    | permit             |  0  0  0  0  1 | 0 0 | -
half-open, one success left | given up               | half_open | -                  |  0  0  1  0 -1 | 0 1 | -
half-open, one success left | given up at last       | open      | -                  |  0  1  0  0 -1 | 1 0 | 100
half-open, one success left | answered and given up  | closed    | -                  |  1  0  0  0 -1 | 0 0 | -
half-open, one success left | late given up at last  | half_open | -                  |  0  1  0  0 -1 | 0 1 | -
half-open, one success left | late answered          | half_open | -                  |  0  0  0  0  0 | 0 1 | -
half-open, one success left | no connection          | half_open | -                  |  0  0  0  0  0 | 0 1 | -
half-open, one success left | sign of life           | half_open | -                  |  0  0  0  0  0 | 0 1 | -
half-open, one success left | closing sign of life   | half_open | -                  |  0  0  0  0  0 | 0 1 | -
half-open, one success left | acquire                | half_open | permit             |  0  0  0  0  1 | 0 1 | -
half-open, one success left | acquire, others silent | half_open | permit             |  0  0  0  0  1 | 0 1 | -
half-open, one success left | force open             | open      | -                  |  0  0  0  0  0 | 0 0 | -
half-open, one success left | reset                  | closed    | -                  |  0  0  0  0  0 | 0 0 | -
half-open, one success left | reconfigure            | half_open | -                  |  0  0  0  0  0 | 0 1 | -
half-open, one success left | time passes            | half_open | -                  |  0  0  0  0  0 | 0 1 | -
recovering                  | success                | half_open | -                  |  1  0  0  0 -1 | 0 3 | -
recovering                  | failure                | half_open | -                  |  0  1  0  0 -1 | 1 0 | -
recovering                  | timeout                | half_open | -                  |  0  1  0  0 -1 | 1 0 | -
recovering                  | uncounted timeout      | half_open | -                  |  0  0  1  0 -1 | 0 2 | -
recovering                  | ignored                | half_open | -                  |  0  0  1  0 -1 | 0 2 | -
recovering                  | hold for 500 ms        | open      | -                  |  0  1  0  0 -1 | 1 0 | 500
recovering                  | settled again          | half_open | -                  |  0  0  1  0 -1 | 0 2 | -
recovering                  | late success           | half_open | -                  |  1  0  0  0 -1 | 0 2 | -
recovering                  | late failure           | half_open | -                  |  0  1  0  0 -1 | 0 2 | -
recovering                  | late timeout           | half_open | -                  |  0  1  0  0 -1 | 0 2 | -
recovering                  | late ignored           | half_open | -                  |  0  0  1  0 -1 | 0 2 | -
recovering                  | late hold              | half_open | -                  |  0  1  0  0 -1 | 0 2 | -
recovering                  | answered               | half_open | -                  |  0  0  0  0  0 | 0 2 | -
recovering                  | answered, then broken  | half_open | -                  |  0  1  0  0 -1 | 1 0 | -
recovering                  | answered a second ago  | closed    | permit             |  0  0  0  0  1 | 0 0 | -
recovering                  | given up               | half_open | -                  |  0  0  1  0 -1 | 0 2 | -
recovering                  | given up at last       | half_open | -                  |  0  1  0  0 -1 | 1 0 | -
recovering                  | answered and given up  | half_open | -                  |  1  0  0  0 -1 | 0 3 | -
recovering                  | late given up at last  | half_open | -                  |  0  1  0  0 -1 | 0 2 | -
recovering                  | late answered          | half_open | -                  |  0  0  0  0  0 | 0 2 | -
recovering                  | no connection          | half_open | -                  |  0  1  0  0  0 | 1 0 | -
recovering                  | sign of life           | half_open | -                  |  0  0  0  0  0 | 0 2 | -
recovering                  | closing sign of life   | half_open | -                  |  0  0  0  0  0 | 0 2 | -
recovering                  | acquire                | half_open | permit             |  0  0  0  0  1 | 0 2 | -
recovering                  | acquire, others silent | half_open | permit             |  0  0  0  0  1 | 0 2 | -
recovering                  | force open             | open      | -                  |  0  0  0  0  0 | 0 0 | -
recovering                  | reset                  | closed    | -                  |  0  0  0  0  0 | 0 0 | -
recovering                  | reconfigure            | half_open | -                  |  0  0  0  0  0 | 0 2 | -
recovering                  | time passes            | half_open | -                  |  0  0  0  0  0 | 0 2 | -
recovering, no share left   | success                | half_open | -                  |  1  0  0  0 -1 | 0 3 | -
recovering, no share left   | failure                | half_open | -                  |  0  1  0  0 -1 | 1 0 | -
recovering, no share left   | timeout                | half_open | -                  |  0  1  0  0 -1 | 1 0 | -
recovering, no share left   | uncounted timeout      | half_open | -                  |  0  0  1  0 -1 | 0 2 | -
recovering, no share left   | ignored                | half_open | -                  |  0  0  1  0 -1 | 0 2 | -
recovering, no share left   | hold for 500 ms        | open      | -                  |  0  1  0  0 -1 | 1 0 | 500
recovering, no share left   | settled again          | half_open | -                  |  0  0  1  0 -1 | 0 2 | -
recovering, no share left   | late success           | half_open | -                  |  1  0  0  0 -1 | 0 2 | -
recovering, no share left   | late failure           | half_open | -                  |  0  1  0  0 -1 | 0 2 | -
recovering, no share left   | late timeout           | half_open | -                  |  0  1  0  0 -1 | 0 2 | -
recovering, no share left   | late ignored           | half_open | -                  |  0  0  1  0 -1 | 0 2 | -
recovering, no share left   | late hold              | half_open | -                  |  0  1  0  0 -1 | 0 2 | -
recovering, no share left   | answered               | half_open | -                  |  0  0  0  0  0 | 0 2 | -
recovering, no share left   | answered, then broken  | half_open | -                  |  0  1  0  0 -1 | 1 0 | -
recovering, no share left   | answered a second ago  | closed    | permit             |  0  0  0  0  1 | 0 0 | -
recovering, no share left   | given up               | half_open | -                  |  0  0  1  0 -1 | 0 2 | -
recovering, no share left   | given up at last       | half_open | -                  |  0  1  0  0 -1 | 1 0 | -
recovering, no share left   | answered and given up  | half_open | -                  |  1  0  0  0 -1 | 0 3 | -
recovering, no share left   | late given up at last  | half_open | -                  |  0  1  0  0 -1 | 0 2 | -
recovering, no share left   | late answered          | half_open | -                  |  0  0  0  0  0 | 0 2 | -
recovering, no share left   | no connection          | half_open | -                  |  0  1  0  0  0 | 1 0 | -
recovering, no share left   | sign of life           | half_open | -                  |  0  0  0  0  0 | 0 2 | -
recovering, no share left   | closing sign of life   | half_open | -                  |  0  0  0  0  0 | 0 2 | -
recovering, no share left   | acquire                | half_open | rejected half_open |  0  0  0  1  0 | 0 2 | -
recovering, no share left   | acquire, others silent | half_open | rejected half_open |  0  0  0  1  0 | 0 2 | -
recovering, no share left   | force open             | open      | -                  |  0  0  0  0  0 | 0 0 | -
recovering, no share left   | reset                  | closed    | -                  |  0  0  0  0  0 | 0 0 | -
recovering, no share left   | reconfigure            | half_open | -                  |  0  0  0  0  0 | 0 2 | -
recovering, no share left   | time passes            | half_open | -                  |  0  0  0  0  0 | 0 2 | -
recovering, time is up      | success                | half_open | -                  |  1  0  0  0 -1 | 0 3 | -
recovering, time is up      | failure                | half_open | -                  |  0  1  0  0 -1 | 1 0 | -
recovering, time is up      | timeout                | half_open | -                  |  0  1  0  0 -1 | 1 0 | -
recovering, time is up      | uncounted timeout      | half_open | -                  |  0  0  1  0 -1 | 0 2 | -
recovering, time is up      | ignored                | half_open | -                  |  0  0  1  0 -1 | 0 2 | -
recovering, time is up      | hold for 500 ms        | open      | -                  |  0  1  0  0 -1 | 1 0 | 500
recovering, time is up      | settled again          | half_open | -                  |  0  0  1  0 -1 | 0 2 | -
recovering, time is up      | late success           | half_open | -                  |  1  0  0  0 -1 | 0 2 | -
recovering, time is up      | late failure           | half_open | -                  |  0  1  0  0 -1 | 0 2 | -
recovering, time is up      | late timeout           | half_open | -                  |  0  1  0  0 -1 | 0 2 | -
recovering, time is up      | late ignored           | half_open | -                  |  0  0  1  0 -1 | 0 2 | -
recovering, time is up      | late hold              | half_open | -                  |  0  1  0  0 -1 | 0 2 | -
recovering, time is up      | answered               | half_open | -                  |  0  0  0  0  0 | 0 2 | -
recovering, time is up      | answered, then broken  | half_open | -                  |  0  1  0  0 -1 | 1 0 | -
recovering, time is up      | answered a second ago  | closed    | permit             |  0  0  0  0  1 | 0 0 | -
recovering, time is up      | given up               | half_open | -                  |  0  1  0  0 -1 | 1 0 | -
recovering, time is up      | given up at last       | half_open | -                  |  0  1  0  0 -1 | 1 0 | -
recovering, time is up      | answered and given up  | half_open | -                  |  1  0  0  0 -1 | 0 3 | -
recovering, time is up      | late given up at last  | half_open | -                  |  0  1  0  0 -1 | 0 2 | -
recovering, time is up      | late answered          | half_open | -                  |  0  0  0  0  0 | 0 2 | -
recovering, time is up      | no connection          | half_open | -                  |  0  1  0  0  0 | 1 0 | -
recovering, time is up      | sign of life           | half_open | -                  |  0  0  0  0  0 | 0 2 | -
recovering, time is up      | closing sign of life   | half_open | -                  |  0  0  0  0  0 | 0 2 | -
recovering, time is up      | acquire                | closed    | permit             |  0  0  0  0  1 | 0 0 | -
recovering, time is up      | acquire, others silent | closed    | permit             |  0  0  0  0  1 | 0 0 | -
recovering, time is up      | force open             | open      | -                  |  0  0  0  0  0 | 0 0 | -
recovering, time is up      | reset                  | closed    | -                  |  0  0  0  0  0 | 0 0 | -
recovering, time is up      | reconfigure            | half_open | -                  |  0  0  0  0  0 | 0 2 | -
recovering, time is up      | time passes            | half_open | -                  |  0  0  0  0  0 | 0 2 | -
window of calls             | success                | closed    | -                  |  1  0  0  0 -1 | 0 1 | -
window of calls             | failure                | open      | -                  |  0  1  0  0 -1 | 2 0 | 100
window of calls             | timeout                | open      | -                  |  0  1  0  0 -1 | 2 0 | 100
window of calls             | uncounted timeout      | closed    | -                  |  0  0  1  0 -1 | 1 0 | -
window of calls             | ignored                | closed    | -                  |  0  0  1  0 -1 | 1 0 | -
window of calls             | hold for 500 ms        | open      | -                  |  0  1  0  0 -1 | 2 0 | 500
window of calls             | settled again          | closed    | -                  |  0  0  1  0 -1 | 1 0 | -
window of calls             | late success           | closed    | -                  |  1  0  0  0 -1 | 1 0 | -
window of calls             | late failure           | closed    | -                  |  0  1  0  0 -1 | 1 0 | -
window of calls             | late timeout           | closed    | -                  |  0  1  0  0 -1 | 1 0 | -
window of calls             | late ignored           | closed    | -                  |  0  0  1  0 -1 | 1 0 | -
window of calls             | late hold              | closed    | -                  |  0  1  0  0 -1 | 1 0 | -
window of calls             | answered               | closed    | -                  |  0  0  0  0  0 | 1 0 | -
window of calls             | answered, then broken  | open      | -                  |  0  1  0  0 -1 | 2 0 | 100
window of calls             | answered a second ago  | closed    | permit             |  0  0  0  0  1 | 1 0 | -
window of calls             | given up               | closed    | -                  |  0  0  1  0 -1 | 1 0 | -
window of calls             | given up at last       | open      | -                  |  0  1  0  0 -1 | 2 0 | 100
window of calls             | answered and given up  | closed    | -                  |  1  0  0  0 -1 | 0 1 | -
window of calls             | late given up at last  | closed    | -                  |  0  1  0  0 -1 | 1 0 | -
window of calls             | late answered          | closed    | -                  |  0  0  0  0  0 | 1 0 | -
window of calls             | no connection          | open      | -                  |  0  1  0  0  0 | 2 0 | 100
window of calls             | sign of life           | closed    | -                  |  0  0  0  0  0 | 1 0 | -
window of calls             | closing sign of life   | closed    | -                  |  0  0  0  0  0 | 1 0 | -
window of calls             | acquire                | closed    | permit             |  0  0  0  0  1 | 1 0 | -
window of calls             | acquire, others silent | closed    | permit             |  0  0  0  0  1 | 1 0 | -
window of calls             | force open             | open      | -                  |  0  0  0  0  0 | 1 0 | -
window of calls             | reset                  | closed    | -                  |  0  0  0  0  0 | 0 0 | -
window of calls             | reconfigure            | closed    | -                  |  0  0  0  0  0 | 1 0 | -
window of calls             | time passes            | closed    | -                  |  0  0  0  0  0 | 1 0 | -
`;

interface Cell {
  readonly state: string;
  readonly event: string;
  readonly outcome: string;
}

function cells(): Cell[] {
  return TABLE.trim()
    .split('\n')
    .map((line) => {
      const [state, event, ...outcome] = line.split('|').map((column) => column.trim());
      return { state: state!, event: event!, outcome: outcome.join(' | ').replace(/\s+/g, ' ') };
    });
}

function play(state: string, event: string): string {
  const scene = STATES[state]!();
  const { breaker, clock } = scene;
  const before = breaker.stats();
  const answer = EVENTS[event]!(scene);
  const after = breaker.stats();
  const { calls } = after;
  const deltas = (['success', 'failure', 'ignored', 'rejected', 'inFlight'] as const).map(
    (count) => calls[count] - before.calls[count],
  );
  const openFor = after.openUntil === null ? '-' : String(after.openUntil.getTime() - clock.wallNow());
  return [
    breaker.state,
    answer === undefined ? '-' : answer instanceof CircuitOpenError ? `rejected ${answer.state}` : 'permit',
    deltas.join(' '),
    `${after.consecutiveFailures} ${after.consecutiveSuccesses}`,
    openFor,
  ].join(' | ');
}

describe('The table of states and events', () => {
  it('has a line for every event in every state', () => {
    const pairs = Object.keys(STATES).flatMap((state) => Object.keys(EVENTS).map((event) => `${state} | ${event}`));
    expect(cells().map(({ state, event }) => `${state} | ${event}`)).to.deep.equal(pairs);
  });

  for (const state of Object.keys(STATES)) {
    it(`is what a circuit does that is ${state}`, () => {
      const lines = cells().filter((cell) => cell.state === state);
      const played = lines.map(({ event }) => ({ state, event, outcome: play(state, event) }));
      expect(played).to.deep.equal(lines);
    });
  }
});
