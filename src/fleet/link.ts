import type { Advisor, Evidence } from '../breaker/advice.js';
import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
import type { Transition } from '../breaker/observer.js';
import { parseQuorum } from '../breaker/options.js';
import { CLOSED, HALF_OPEN, OPEN } from '../breaker/state.js';
import { windowMs } from '../breaker/window.js';
import type { Engine, EngineListener } from './engine.js';
import {
  LATE_MS,
  MISSED_HEARTBEATS,
  OLDEST_MS,
  UNUSED_MS,
  type Act,
  type Message,
  type Reply,
  type Request,
  type Result,
  type Steps,
  type Verdict,
} from './protocol.js';
import { MAX_RAMP_UP_MS, SHARE_OF_RAMP_UP, type FleetSettings } from './settings.js';

/** Time, chance and timers, so that tests can move them. */
export interface LinkSeams {
  /** Milliseconds that only ever grow: those of the breakers. */
  readonly now: () => number;
  readonly random: () => number;
  /** Calls back after that time, and keeps nothing alive. @returns ends it */
  readonly later: (ms: number, run: () => void) => () => void;
}

/** Who hears what a fleet does, besides the breakers. */
export interface LinkListener {
  /** The span of the last failing call of a breaker, as a `traceparent`; empty where there is none. */
  traceOf(breaker: CircuitBreaker): string;
  /** In mode `observe`: what the fleet would have done. */
  onAdvice(breaker: CircuitBreaker, advice: string): void;
  /** The engine can be asked from now on, or no longer. */
  onReach(isReached: boolean): void;
}

/** What the fleet says of one breaker, for whoever looks. */
export interface FleetView {
  readonly verdict: 'closed' | 'open';
  /** Hosts that saw it fail, objected, and are there. */
  readonly failing: number;
  readonly against: number;
  readonly hosts: number;
  /** What this process does about the verdict. */
  readonly stance: 'none' | 'accuses' | 'obeys' | 'objects';
  /** Which replica probes; `null` where none is known to. */
  readonly prober: string | null;
  /** The span of the failing call on the replica that the fleet heard last, as a `traceparent`. */
  readonly trace: string;
}

// The trouble of one breaker is told once in this time at most.
const ACCUSE_EVERY_MS = 50;
// Whoever has no answer by then goes on as without a fleet.
const PATIENCE_MS = 1_000;
// Without an answer for this long, the connection counts as dead and is made anew.
const DEAD_MS = 3_000;
// Spread of the moments at which replicas ask for a ticket, for each of them; who has just failed waits longer.
const ASK_SPREAD_MS = 2;
const FAILED_LAST_MS = 1_000;
const ASK_AGAIN_MS = 200;
const MAX_ACTS = 50;

/** What is known of one breaker of the fleet. */
class Member {
  verdict: Verdict | undefined;
  /** The verdict's times, which are the engine's, by our own clock. */
  since = 0;
  from = 0;
  until = 0;
  stance: FleetView['stance'] = 'none';
  /** In mode observe: the verdict has been told as advice. */
  advised = false;
  accusedAt = -Infinity;
  accusedStreak = 0;
  ticketUntil = -Infinity;
  /** The ticket is in use. */
  probes = false;
  asking = false;
  askAt = -Infinity;
  failedLast = false;
  /** When the circuit closes by the fleet's word. */
  closeAt = Infinity;
  prober: string | null = null;
  /** Spreads the moments at which those who are held for too long probe by themselves. */
  patience = 1;
  examine = false;

  constructor(readonly breaker: CircuitBreaker) {}
}

interface Posted {
  readonly act: Act;
  readonly done: ((result: Result, sentAt: number) => void) | undefined;
}

/**
 * One replica: tells the fleet what its breakers see, and its breakers what the fleet says.
 *
 * Never in a call's way: what a call asks is answered from memory, and everything that is sent is sent later. With an
 * engine that is away, slow, full, empty or refusing, breakers do what they do without a fleet.
 */
export class Link implements Advisor<CircuitBreaker>, EngineListener {
  readonly id: string;
  commands = { ok: 0, failed: 0 };
  /** Replicas and hosts that live, as last heard. */
  replicas = 0;
  hosts = 0;
  /** Milliseconds that the last answer took. */
  delay = 0;
  #settings: FleetSettings;
  readonly #engine: Engine;
  readonly #listener: LinkListener;
  readonly #seams: LinkSeams;
  readonly #members = new Map<CircuitBreaker, Member>();
  readonly #byName = new Map<string, Member>();
  /** Verdicts on breakers that are not here, or not yet. */
  readonly #book = new Map<string, Verdict>();
  /** Those for whom something is to be looked at when the time comes. */
  readonly #restless = new Set<Member>();
  #posted: Posted[] = [];
  /** When the requests without an answer were sent, the oldest first. */
  readonly #pending: number[] = [];
  #rev = 0;
  /** From our clock to the engine's; unknown before the first answer. */
  #offset: number | undefined;
  /** The most hosts that were lately there, and until when that counts. */
  #size = 0;
  #sizeUntil = 0;
  #flushing = false;
  #cancelTimer: (() => void) | undefined;
  #timerAt = Infinity;
  #beatAt = Infinity;
  #wasReached = false;
  /** The engine refused what it was asked last. */
  #isRefused = false;
  #stopped = false;

  /** @param id no other replica has it */
  constructor(id: string, settings: FleetSettings, engine: Engine, listener: LinkListener, seams: LinkSeams) {
    this.id = id;
    this.#settings = settings;
    this.#engine = engine;
    this.#listener = listener;
    this.#seams = seams;
  }

  start(): void {
    this.#engine.start(this);
    this.#beatAt = this.#seams.now() + this.#settings.heartbeat * this.#seams.random();
    this.#wakeAt(this.#beatAt);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelTimer?.();
    this.#engine.stop();
    for (const breaker of [...this.#members.keys()]) this.forget(breaker);
  }

  /** Takes new numbers and another mode; not another engine. */
  set settings(settings: FleetSettings) {
    this.#settings = settings;
  }

  get settings(): FleetSettings {
    return this.#settings;
  }

  /** Whether the engine answers, and answers in time. */
  get isReached(): boolean {
    return this.#isReached(this.#seams.now());
  }

  /** From now on the breaker is one of the fleet's. */
  watch(breaker: CircuitBreaker): void {
    if (this.#stopped || this.#members.has(breaker)) return;
    const member = new Member(breaker);
    this.#members.set(breaker, member);
    this.#byName.set(breaker.name, member);
    breaker.advisor = this;
    breaker.fleetState = CLOSED;
    const verdict = this.#book.get(breaker.name);
    // Its observers hear of it first.
    if (verdict !== undefined) this.#soon(member);
  }

  forget(breaker: CircuitBreaker): void {
    const member = this.#members.get(breaker);
    if (member === undefined) return;
    this.#members.delete(breaker);
    this.#restless.delete(member);
    // It gets another name only where it is not watched.
    this.#byName.delete(breaker.name);
    breaker.advisor = undefined;
    breaker.fleetState = undefined;
    member.verdict = undefined;
  }

  mayProbe(breaker: CircuitBreaker, now: number): boolean {
    const member = this.#members.get(breaker);
    if (member === undefined || this.#settings.mode !== 'enforce') return true;
    // The fleet has closed it, and this one's turn comes in a moment.
    if (member.closeAt !== Infinity) return false;
    const { verdict } = member;
    if (verdict === undefined || !this.#isReached(now)) return true;
    if (this.#isHeldTooLong(member, now)) return true;
    if (member.probes && !breaker.evidence().isProbing) member.probes = false;
    if (!member.probes && now < member.ticketUntil) return true;
    this.#ask(member, now);
    return false;
  }

  onProbe(breaker: CircuitBreaker): void {
    const member = this.#members.get(breaker);
    if (member === undefined || member.ticketUntil === -Infinity) return;
    member.probes = true;
    this.#wakeAt(this.#seams.now() + this.#settings.lease / 2);
  }

  onProbeSuccess(breaker: CircuitBreaker): void {
    this.#settle(this.#members.get(breaker), true);
  }

  onFailure(breaker: CircuitBreaker): void {
    const member = this.#members.get(breaker);
    if (member === undefined || member.examine) return;
    member.examine = true;
    this.#soon(member);
  }

  /** The breaker's circuit has changed, by its own calls, by hand, or by our own word. */
  onTransition(breaker: CircuitBreaker, { from, to, by }: Transition): void {
    const member = this.#members.get(breaker);
    if (member === undefined || by === 'fleet') return;
    if (to === 'open' && from === 'half_open') this.#settle(member, false);
    if (to === 'open') {
      if (member.stance === 'objects') member.stance = 'none';
      member.examine = true;
      this.#soon(member);
    } else if (to === 'closed') {
      member.closeAt = Infinity;
      if (member.stance === 'accuses') this.#withdraw(member);
      member.stance = 'none';
    }
  }

  /** A connection to the target was made: a probe need not wait for the end of the opening. */
  onSignOfLife(breaker: CircuitBreaker): void {
    const member = this.#members.get(breaker);
    if (member?.verdict === undefined) return;
    member.askAt = -Infinity;
    this.#ask(member, this.#seams.now(), true);
  }

  viewOf(breaker: CircuitBreaker): FleetView | undefined {
    const member = this.#members.get(breaker);
    if (member === undefined) return undefined;
    const { verdict, stance, prober } = member;
    return {
      verdict: verdict === undefined ? 'closed' : 'open',
      failing: verdict?.failing ?? 0,
      against: verdict?.against ?? 0,
      hosts: Math.max(verdict?.hosts ?? 0, this.hosts),
      stance,
      prober: verdict === undefined ? null : prober,
      trace: verdict?.trace ?? '',
    };
  }

  onConnected(): void {
    if (this.#stopped) return;
    this.#pending.length = 0;
    this.#send([]);
  }

  onMessage(message: Message): void {
    if (this.#stopped || this.#offset === undefined) return;
    const now = this.#seams.now();
    // What comes after the process stood still is history: what is true now, the engine knows.
    if (Math.abs(now + this.#offset - message.now) > LATE_MS) return this.#sync();
    const member = this.#byName.get(message.name);
    if (message.is === 'lease') {
      if (member?.verdict?.epoch !== message.epoch) return;
      member.prober = message.by;
      if (message.by !== this.id) member.askAt = Math.max(member.askAt, this.#toOwn(message.next));
      return;
    }
    // An answer that was sent later has been here already.
    if (message.rev <= this.#rev) return;
    if (message.prev === this.#rev) this.#rev = message.rev;
    else this.#sync();
    if (message.is === 'open') {
      this.#book.set(message.name, message.verdict);
      if (member !== undefined) this.#isOpened(member, message.verdict, now);
    } else {
      this.#book.delete(message.name);
      if (member?.verdict !== undefined && member.verdict.epoch <= message.epoch)
        this.#isEnded(member, message.is, now);
    }
  }

  #isReached(now: number): boolean {
    return this.#engine.isConnected && !this.#isRefused && !(now - this.#pending[0]! > PATIENCE_MS);
  }

  #toOwn(time: number): number {
    return time - this.#offset!;
  }

  /** The dead-man rule: nobody who should have come has come. */
  #isHeldTooLong({ verdict, until, patience }: Member, now: number): boolean {
    return now - until > this.#longestWait(verdict!) * patience;
  }

  /** How long after the end of an opening somebody is expected to probe. */
  #longestWait({ openFor }: Verdict): number {
    return Math.max(2 * this.#settings.lease, openFor);
  }

  #isOpened(member: Member, verdict: Verdict, now: number): void {
    const { breaker } = member;
    const isNew = member.verdict?.epoch !== verdict.epoch;
    // Nobody ended it, or nobody told us: too old to hold anybody.
    if (this.#toOwn(verdict.until) + this.#longestWait(verdict) < now) return;
    member.verdict = verdict;
    member.since = this.#toOwn(verdict.since);
    member.from = this.#toOwn(verdict.from);
    member.until = this.#toOwn(verdict.until);
    member.closeAt = Infinity;
    breaker.fleetState = OPEN;
    if (isNew) {
      member.ticketUntil = member.askAt = -Infinity;
      member.probes = member.asking = member.advised = false;
      member.prober = null;
      member.patience = 1 + this.#seams.random();
      if (member.stance === 'objects') member.stance = 'none';
    }
    // A circuit that is open already only waits for as long as all do.
    if (breaker.stateCode === OPEN) this.#obey(member, now);
    else this.#soon(member);
  }

  #isEnded(member: Member, how: 'lift' | 'close' | 'lost', now: number): void {
    const { breaker, verdict } = member;
    const openFor = verdict?.openFor ?? 0;
    member.verdict = undefined;
    member.ticketUntil = -Infinity;
    member.probes = member.asking = false;
    member.prober = null;
    breaker.fleetState = CLOSED;
    const { mode, rampUp } = this.#settings;
    if (mode !== 'enforce' || how === 'lost') {
      if (member.stance !== 'accuses') member.stance = 'none';
      return;
    }
    if (how === 'lift') {
      // Not where its own calls have opened it: to these the target still fails.
      if (breaker.isAdvised)
        breaker.closeAdvised(
          `the fleet took it back: ${verdict!.failing} of ${verdict!.hosts} replicas saw it fail, and others reach it`,
        );
      if (member.stance !== 'accuses') member.stance = 'none';
      return;
    }
    if (breaker.isInUse) return void (member.stance = 'none');
    const ramp = breaker.stateCode === HALF_OPEN ? 0 : (rampUp ?? Math.min(openFor * SHARE_OF_RAMP_UP, MAX_RAMP_UP_MS));
    member.closeAt = now + ramp * this.#seams.random();
    this.#restless.add(member);
    this.#wakeAt(member.closeAt);
  }

  /** What only has to be looked at when the turn of the event loop is over. */
  #soon(member: Member): void {
    this.#restless.add(member);
    this.#wakeAt(this.#seams.now());
  }

  #wakeAt(at: number): void {
    if (this.#stopped || at >= this.#timerAt) return;
    this.#cancelTimer?.();
    this.#timerAt = at;
    this.#cancelTimer = this.#seams.later(Math.max(0, at - this.#seams.now()), () => {
      this.#timerAt = Infinity;
      this.#wake();
    });
  }

  #wake(): void {
    if (this.#stopped) return;
    const now = this.#seams.now();
    for (const member of [...this.#restless]) {
      const next = this.#look(member, now);
      if (next === Infinity) this.#restless.delete(member);
      else this.#wakeAt(next);
    }
    const isReached = this.#isReached(now);
    if (isReached !== this.#wasReached) {
      this.#wasReached = isReached;
      this.#listener.onReach(isReached);
    }
    if (now - this.#pending[0]! > DEAD_MS) {
      this.#pending.length = 0;
      this.#engine.restart();
    }
    if (now >= this.#beatAt) this.#beat(now);
    this.#flush();
    // Until its answer is there, or overdue, or the connection is given up.
    if (this.#pending.length > 0)
      this.#wakeAt(Math.max(now + 100, this.#pending[0]! + (isReached ? PATIENCE_MS + 1 : DEAD_MS + 1)));
    this.#wakeAt(this.#beatAt);
  }

  /** @returns when it is to be looked at again; Infinity: when something happens */
  #look(member: Member, now: number): number {
    const { breaker } = member;
    if (member.verdict === undefined && breaker.fleetState === CLOSED) {
      const verdict = this.#book.get(breaker.name);
      if (verdict !== undefined && member.closeAt === Infinity) this.#isOpened(member, verdict, now);
    }
    if (now >= member.closeAt) {
      member.closeAt = Infinity;
      if (member.stance !== 'accuses') member.stance = 'none';
      breaker.closeAdvised('the fleet closed it: probes of other replicas succeeded');
    }
    let next = member.closeAt;
    if (member.examine) {
      member.examine = false;
      this.#examine(member, now);
      if (member.examine) next = Math.min(next, member.accusedAt + ACCUSE_EVERY_MS);
    }
    if (member.stance === 'accuses' && !breaker.isTripped) {
      const { streak } = breaker.evidence();
      if (streak === 0 && breaker.isInUse) this.#withdraw(member);
      // By then the fleet has forgotten it, too.
      else if (now - member.accusedAt > OLDEST_MS) member.stance = 'none';
      else next = Math.min(next, now + ACCUSE_EVERY_MS);
    }
    if (member.verdict !== undefined && member.stance !== 'obeys' && member.stance !== 'objects' && breaker.isInUse) {
      next = Math.min(next, this.#hear(member, now));
    }
    return next;
  }

  /** The fleet says that the target is dead, and our circuit lets calls through. */
  #hear(member: Member, now: number): number {
    if (this.#knowsBetter(member)) {
      member.stance = 'objects';
      this.#post({ act: 'object', name: member.breaker.name, epoch: member.verdict!.epoch });
      return Infinity;
    }
    // To whom it fails as well need not wait for what others may object.
    const isFailing = member.breaker.evidence().streak > 0;
    if (now < member.from && !isFailing) return Math.min(member.from, now + ACCUSE_EVERY_MS);
    this.#obey(member, now);
    return Infinity;
  }

  /** Whether a call of ours that began after the trouble began has succeeded. */
  #knowsBetter({ breaker, since }: Member): boolean {
    const { lastSuccessStart, streak, isFailing } = breaker.evidence();
    return lastSuccessStart > since && streak === 0 && !isFailing;
  }

  #obey(member: Member, now: number): void {
    const { breaker } = member;
    const { failing, hosts } = member.verdict!;
    if (this.#isHeldTooLong(member, now)) return;
    const votes = `${failing} of ${hosts} replicas saw it fail`;
    if (this.#settings.mode !== 'enforce') {
      if (!member.advised && breaker.isInUse) this.#listener.onAdvice(breaker, votes);
      member.advised = true;
      // It did not open: nothing of this verdict is to be looked at any more.
      if (member.stance === 'none') member.stance = 'obeys';
      return;
    }
    if (member.stance !== 'accuses' || !breaker.isTripped) member.stance = 'obeys';
    // It is over, and waits for a probe as ours does.
    if (breaker.stateCode === OPEN && member.until <= now) return;
    breaker.openAdvised(Math.max(1, member.until - now), `the fleet opened it: ${votes}`);
  }

  /** Calls have failed, or the circuit has opened. */
  #examine(member: Member, now: number): void {
    const { breaker } = member;
    if (breaker.isPanic?.(now, breaker) === true) return;
    const evidence = breaker.evidence();
    // Open by a verdict that the engine has forgotten: what a probe has shown makes the next one.
    const isAlone = !breaker.isAdvised || member.verdict === undefined;
    if (breaker.stateCode === OPEN && isAlone) return this.#accuseOpen(member, evidence, now);
    if (!breaker.isInUse || evidence.streak === 0) return;
    // It stayed closed, by its objection or by hand, and now it fails here as well.
    if (member.verdict !== undefined && member.stance !== 'obeys' && now >= member.from) {
      this.#accuse(member, evidence, evidence.streak, 0, now);
      this.#obey(member, now);
      return;
    }
    if (evidence.failures > 1 && evidence.streak < 2) return;
    if (member.stance === 'accuses' && evidence.streak === member.accusedStreak) return;
    if (now < member.accusedAt + ACCUSE_EVERY_MS) {
      member.examine = true;
      return;
    }
    this.#accuse(member, evidence, evidence.streak, 0, now);
  }

  /** Its own calls have opened it: full weight. Where the target asked for it, that is no more than one failure. */
  #accuseOpen(member: Member, evidence: Evidence, now: number): void {
    const { breaker } = member;
    const left = breaker.openLeft;
    // By hand.
    if (left === undefined) return;
    if (breaker.isTripped) this.#accuse(member, evidence, breaker.config.failureThreshold, 0, now);
    else this.#accuse(member, evidence, Math.max(1, evidence.streak), breaker.isAdvised ? 0 : Math.round(left), now);
  }

  #accuse(member: Member, { troubleSince }: Evidence, streak: number, hold: number, now: number): void {
    const { breaker } = member;
    const { name } = breaker;
    member.accusedAt = now;
    member.accusedStreak = streak;
    if (member.stance !== 'obeys') member.stance = 'accuses';
    this.#restless.add(member);
    this.#wakeAt(now + ACCUSE_EVERY_MS);
    this.#post({
      act: 'accuse',
      name,
      age: Math.max(0, Math.round(now - troubleSince) || 0),
      streak,
      threshold: breaker.config.failureThreshold,
      steps: stepsOf(breaker),
      hold,
      trace: this.#listener.traceOf(breaker),
    });
  }

  #withdraw(member: Member): void {
    member.stance = 'none';
    member.accusedStreak = 0;
    this.#post({ act: 'withdraw', name: member.breaker.name });
  }

  #ask(member: Member, now: number, early = false): void {
    if (member.asking || now < member.askAt) return;
    member.asking = true;
    const wait = this.#seams.random() * ASK_SPREAD_MS * this.replicas + (member.failedLast ? FAILED_LAST_MS : 0);
    this.#seams.later(wait, () => {
      const { verdict, breaker } = member;
      if (!member.asking || this.#stopped) return;
      // Meanwhile somebody else has a ticket, or all is over.
      if (verdict === undefined || this.#seams.now() < member.askAt) return void (member.asking = false);
      const { epoch } = verdict;
      this.#post(
        { act: 'lease', name: breaker.name, epoch, max: breaker.config.halfOpenMaxCalls, early },
        (result, sentAt) => this.#isAnswered(member, epoch, result, sentAt),
      );
      this.#flush();
    });
  }

  #isAnswered(member: Member, epoch: number, result: Result, sentAt: number): void {
    member.asking = false;
    if (member.verdict?.epoch !== epoch) return;
    const now = this.#seams.now();
    switch (result.is) {
      case 'granted':
        member.failedLast = false;
        member.prober = this.id;
        // From when it was asked for, so that it never lasts longer here than there.
        member.ticketUntil = sentAt + this.#settings.lease;
        return;
      case 'wait':
        member.askAt = now + (result.wait ?? UNUSED_MS);
        return;
      case 'none':
        // The engine has forgotten it, and so must we, or it would come back.
        this.#book.delete(member.breaker.name);
        return this.#isEnded(member, 'lost', now);
      default:
        member.askAt = now + ASK_AGAIN_MS;
        this.#sync();
    }
  }

  /** A probe of ours has ended. */
  #settle(member: Member | undefined, ok: boolean): void {
    if (member?.verdict === undefined) return;
    const { breaker, verdict } = member;
    const hasTicket = member.ticketUntil !== -Infinity;
    if (!hasTicket && this.#settings.mode === 'enforce') return;
    member.ticketUntil = -Infinity;
    member.probes = false;
    member.failedLast = !ok;
    const { needed, tolerated } = proofOf(breaker);
    this.#post({
      act: 'settle',
      name: breaker.name,
      epoch: verdict.epoch,
      ok,
      free: !hasTicket,
      max: breaker.config.halfOpenMaxCalls,
      needed,
      tolerated,
      steps: stepsOf(breaker),
    });
    this.#wakeAt(this.#seams.now());
  }

  /** Says again what still holds: the engine forgets what nobody repeats. */
  #beat(now: number): void {
    const { heartbeat, lease } = this.#settings;
    let next = heartbeat * (0.9 + 0.2 * this.#seams.random());
    for (const member of this.#members.values()) {
      const { breaker, verdict } = member;
      if (breaker.stateCode === OPEN && breaker.isTripped && breaker.isPanic?.(now, breaker) !== true) {
        this.#accuseOpen(member, breaker.evidence(), now);
      } else if (verdict !== undefined && member.stance === 'objects') {
        if (this.#knowsBetter(member)) this.#post({ act: 'object', name: breaker.name, epoch: verdict.epoch });
      }
      if (verdict !== undefined && member.probes) {
        if (breaker.evidence().isProbing) {
          next = Math.min(next, lease / 2);
          const { epoch } = verdict;
          this.#post({ act: 'renew', name: breaker.name, epoch }, (result, sentAt) => {
            if (result.is === 'done' && member.verdict?.epoch === epoch) member.ticketUntil = sentAt + lease;
          });
        } else member.probes = false;
      }
      if (verdict !== undefined && breaker.stateCode === OPEN && breaker.isAdvised && this.#isLateWitness(member)) {
        member.stance = 'objects';
        this.#post({ act: 'object', name: breaker.name, epoch: verdict.epoch });
        breaker.closeAdvised('its own calls that began after the trouble succeeded');
      }
    }
    this.#beatAt = now + next;
    this.#sync();
  }

  /** A call that was under way when the circuit opened has succeeded, and began after the trouble. */
  #isLateWitness({ breaker, since }: Member): boolean {
    const { lastSuccessStart, streak } = breaker.evidence();
    // After a probe that failed, one that succeeded before it says nothing any more.
    return lastSuccessStart > since && streak === 0;
  }

  #post(act: Act, done?: Posted['done']): void {
    this.#posted.push({ act, done });
    this.#wakeAt(this.#seams.now());
  }

  #sync(): void {
    this.#flushing = true;
    this.#wakeAt(this.#seams.now());
  }

  #flush(): void {
    if (this.#posted.length === 0 && !this.#flushing) return;
    this.#flushing = false;
    const posted = this.#posted;
    this.#posted = [];
    if (!this.#engine.isConnected) {
      for (const { done } of posted) done?.({ is: 'late' }, 0);
      return;
    }
    do this.#send(posted.splice(0, MAX_ACTS));
    while (posted.length > 0);
  }

  #send(posted: readonly Posted[]): void {
    const sentAt = this.#seams.now();
    const { domain, quorum, quorumShare, agreement, hearing, lease, heartbeat } = this.#settings;
    const request: Request = {
      id: this.id,
      domain,
      rev: this.#rev,
      at: this.#offset === undefined ? 0 : Math.round(sentAt + this.#offset),
      size: sentAt < this.#sizeUntil ? this.#size : 0,
      quorum,
      share: quorumShare,
      agreement,
      hearing,
      lease,
      heartbeat,
      acts: posted.map(({ act }) => act),
    };
    this.#pending.push(sentAt);
    this.#wakeAt(sentAt + PATIENCE_MS + 1);
    this.#engine.send(request, (reply) => {
      const at = this.#pending.indexOf(sentAt);
      if (at !== -1) this.#pending.splice(at, 1);
      const now = this.#seams.now();
      if (reply === undefined || this.#stopped || now - sentAt > PATIENCE_MS) {
        this.commands.failed++;
        this.#isRefused = reply === undefined;
        this.#wakeAt(now);
        for (const { done } of posted) done?.({ is: 'late' }, sentAt);
        return;
      }
      this.commands.ok++;
      this.#isRefused = false;
      this.#take(reply, sentAt, now);
      posted.forEach(({ done }, index) => done?.(reply.results[index] ?? { is: 'void' }, sentAt));
    });
  }

  #take(reply: Reply, sentAt: number, now: number): void {
    this.delay = now - sentAt;
    this.#offset = reply.now - (sentAt + now) / 2;
    this.replicas = reply.replicas;
    this.hosts = reply.hosts;
    // After everything was forgotten there, a few who are back first would seem to be all.
    if (reply.hosts >= this.#size || now >= this.#sizeUntil) {
      this.#size = reply.hosts;
      this.#sizeUntil = now + MISSED_HEARTBEATS * this.#settings.heartbeat;
    }
    if (!this.#wasReached) this.#wakeAt(now);
    const { book } = reply;
    // Older than what a message has told meanwhile, or of an engine that has forgotten everything.
    if (book === undefined || reply.rev <= this.#rev) return;
    this.#rev = reply.rev;
    this.#book.clear();
    for (const [name, verdict] of Object.entries(book)) this.#book.set(name, verdict);
    for (const member of this.#members.values()) {
      const verdict = book[member.breaker.name];
      const known = member.verdict;
      if (verdict === undefined) {
        if (known !== undefined) this.#isEnded(member, 'lost', now);
      } else if (known?.epoch !== verdict.epoch || known.until !== verdict.until) this.#isOpened(member, verdict, now);
    }
  }
}

function stepsOf({ config }: CircuitBreaker): Steps {
  const { initialOpenDuration, openDuration, openBackoff, maxOpenDuration, window } = config;
  return {
    initial: initialOpenDuration,
    open: openDuration,
    backoff: openBackoff,
    max: maxOpenDuration,
    window: windowMs(window),
  };
}

/** `'3 of 5'`: three successes close the circuit, and two failures on the way are tolerated. */
function proofOf({ config }: CircuitBreaker): { readonly needed: number; readonly tolerated: number } {
  const { needed, of } = parseQuorum(config.successThreshold)!;
  return { needed, tolerated: of - needed };
}
