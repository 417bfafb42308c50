import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../support/random.js';
import type { ClientName } from './backends.js';
import { addUp, type Caller, type Outcomes } from './caller.js';
import { BEHAVIOURS, type Behaviour, type MisbehavingProxy } from './misbehaving-proxy.js';

/** How much of everything: a short form for each run of the tests, a long one for `npm run chaos`. */
export interface Extent {
  /** How long a fault goes on. */
  readonly faultMs: number;
  readonly atOnce: number;
  /** How long a server that flaps stays up, and down. */
  readonly flapMs: number;
}

export const SHORT: Extent = { faultMs: 1_500, atOnce: 4, flapMs: 200 };
export const LONG: Extent = { faultMs: 6_000, atOnce: 8, flapMs: 1_000 };

/** After so long a call's own client gives up. */
export const TIMEOUT_MS = 500;

// Enough to open any circuit, if they counted.
const BLOCKED_CALLS = 24;

/** The place of one fault and one client. */
export interface Scene {
  readonly caller: Caller;
  readonly proxy: MisbehavingProxy;
  readonly random: Random;
  readonly extent: Extent;
  /** Calls, for as long as the fault goes on. */
  call(): Promise<Outcomes>;
  /** Calls until the circuit has been open. */
  callUntilOpened(): Promise<Outcomes>;
}

export interface Fault {
  readonly name: string;
  /** What has to come of it: `opens`, `stays closed`, or what suits the client. */
  readonly circuit: 'opens' | 'stays closed' | 'either';
  /** Clients that may go on as if nothing were wrong. */
  readonly unnoticedBy?: readonly ClientName[];
  /** Whether it begins before the client has made a single call. */
  readonly fromTheStart?: true;
  /** The name that is called rather than an address. */
  readonly host?: string;
  begin?(scene: Scene): Promise<void>;
  run(scene: Scene): Promise<Outcomes>;
  end?(scene: Scene): Promise<void>;
}

/** A server, or the way to it, that behaves like this for as long as it lasts. */
function behaving(name: string, behaviour: Behaviour, circuit: Fault['circuit']): Fault {
  return {
    name,
    circuit,
    begin: ({ proxy }) => proxy.behave(behaviour),
    run: (scene) => scene.call(),
  };
}

/** A server that is now like this and now like that, each for so many milliseconds. */
function changing(name: string, next: (scene: Scene, turn: number) => readonly [Behaviour, ms: number]): Fault {
  return {
    name,
    circuit: 'either',
    run: async (scene) => {
      const state = { calling: true };
      const calls = scene.call().finally(() => (state.calling = false));
      for (let turn = 0; state.calling; turn++) {
        const [behaviour, ms] = next(scene, turn);
        await scene.proxy.behave(behaviour);
        await Promise.race([calls, delay(ms)]);
      }
      return calls;
    },
  };
}

export const FAULTS: readonly Fault[] = [
  behaving('refuses connections', 'refuse', 'opens'),
  behaving('resets connections', 'reset', 'opens'),
  behaving('never answers', 'never answer', 'opens'),
  behaving('stops half-way through its answer', 'stop half-way', 'opens'),
  behaving('sends garbage', 'garbage', 'opens'),
  behaving('answers byte by byte', 'byte by byte', 'either'),
  behaving('closes kept connections under a request', 'close when used again', 'either'),
  changing('flaps', ({ extent }, turn) => [turn % 2 === 0 ? 'refuse' : 'pass', extent.flapMs]),
  changing('says in bursts that it cannot work', ({ random }, turn) => [
    turn % 2 === 0 ? 'error answers' : 'pass',
    50 + random.below(250),
  ]),
  changing('does any of this in turn', ({ random }) => [random.pick(BEHAVIOURS), 50 + random.below(400)]),
  {
    name: 'has a name that cannot be looked up',
    circuit: 'opens',
    // They keep the addresses that they have.
    unnoticedBy: ['grpc', 'nodemailer', 'nodemailer-pool'],
    host: 'server.test',
    begin: async ({ caller, proxy }) => {
      await caller.dns(true);
      proxy.hangUp();
    },
    run: (scene) => scene.call(),
    end: ({ caller }) => caller.dns(false),
  },
  {
    name: 'is well, but we have no file descriptors left',
    circuit: 'stays closed',
    fromTheStart: true,
    begin: ({ caller }) => caller.descriptors(true),
    run: (scene) => scene.call(),
    end: ({ caller }) => caller.descriptors(false),
  },
  {
    // Every probe ends without a verdict then, and has to give its slot back.
    name: 'fails, and then we have no file descriptors left',
    circuit: 'opens',
    begin: ({ proxy }) => proxy.behave('refuse'),
    run: async (scene) => {
      const before = await scene.callUntilOpened();
      await scene.caller.descriptors(true);
      await scene.proxy.behave('pass');
      return addUp(before, await scene.call());
    },
    end: ({ caller }) => caller.descriptors(false),
  },
  {
    name: 'is well, but our event loop is blocked',
    circuit: 'stays closed',
    // What has come is read before the limit of a socket is looked at.
    unnoticedBy: ['mongodb'],
    begin: ({ proxy }) => proxy.behave('late'),
    run: ({ caller }) => caller.block(BLOCKED_CALLS, 3 * TIMEOUT_MS),
  },
];
