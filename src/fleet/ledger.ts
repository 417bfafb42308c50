import {
  FIRST_DISPUTE_MS,
  FORGET_DISPUTES_MS,
  FORGOTTEN_MS,
  LATE_MS,
  LONGEST_DISPUTE_MS,
  LONGEST_HEARING_MS,
  MISSED_HEARTBEATS,
  OLDEST_MS,
  SHARE_OF_OUTAGE,
  UNUSED_MS,
  type Act,
  type Message,
  type Reply,
  type Request,
  type Result,
  type Steps,
  type Verdict,
} from './protocol.js';

interface Vote {
  readonly kind: 'accuse' | 'object';
  /** When the trouble began that is accused for. */
  readonly at: number;
  readonly streak: number;
  readonly seen: number;
  readonly domain: string;
}

/** What is known of one breaker. */
interface Case {
  readonly votes: Map<string, Vote>;
  /** When each ticket ends. */
  readonly tickets: Map<string, number>;
  verdict: Verdict | undefined;
  /** Of the last verdict, also where it is over. */
  epoch: number;
  grantedAt: number;
  successes: number;
  failures: number;
  /** Since when the circuit has not been closed; when it was closed, and after how long. */
  troubleSince: number;
  closedAt: number;
  troubleMs: number;
  /** Openings in a row that lasted as long as the options say, or longer. */
  fullOpenings: number;
  /** The longest that the target has asked to be left alone. */
  heldUntil: number;
  disputes: number;
  disputedUntil: number;
}

interface Count {
  readonly accusers: number;
  readonly objectors: number;
  readonly weight: number;
  /** When the trouble of each accuser began, the earliest first. */
  readonly begins: readonly number[];
}

const DONE: Result = { is: 'done' };
const VOID: Result = { is: 'void' };
const NONE: Result = { is: 'none' };
const GRANTED: Result = { is: 'granted' };

/**
 * The engine's rules, in memory: what the script does in Redis, for the processes and threads of one machine and for
 * simulations. A test holds the two against each other, step by step.
 */
export class Ledger {
  readonly #live = new Map<string, number>();
  readonly #hosts = new Map<string, number>();
  readonly #cases = new Map<string, Case>();
  #rev = 0;

  /** @param publish hears what all replicas are told */
  constructor(private readonly publish: (message: Message) => void) {}

  /** As after FLUSHALL. */
  clear(): void {
    for (const map of [this.#live, this.#hosts, this.#cases]) map.clear();
    this.#rev = 0;
  }

  /** @param now milliseconds of the engine's clock */
  apply(request: Request, now: number): Reply {
    const { id, domain, heartbeat, at } = request;
    const oldest = now - MISSED_HEARTBEATS * heartbeat;
    for (const [member, heard] of this.#live) if (heard < oldest) this.#live.delete(member);
    for (const [member, heard] of this.#hosts) if (heard < oldest) this.#hosts.delete(member);
    this.#live.set(id, now);
    this.#hosts.set(domain, now);
    const isLate = at === 0 || Math.abs(now - at) > LATE_MS;
    const results = request.acts.map((act) => (isLate ? { is: 'late' as const } : this.#do(act, request, now)));
    const reply = { now, rev: this.#rev, replicas: this.#live.size, hosts: this.#hosts.size, results };
    return request.rev === this.#rev ? reply : { ...reply, book: this.#book(now) };
  }

  #book(now: number): Record<string, Verdict> {
    const book: Record<string, Verdict> = {};
    for (const [name, { verdict }] of this.#cases) {
      if (verdict !== undefined && now <= verdict.until + FORGOTTEN_MS) book[name] = verdict;
    }
    return book;
  }

  #do(act: Act, request: Request, now: number): Result {
    const known = this.#case(act.name, now);
    switch (act.act) {
      case 'accuse':
        return this.#accuse(known, act, request, now);
      case 'object':
        return this.#object(known, act, request, now);
      case 'withdraw':
        if (known.votes.get(request.id)?.kind === 'accuse') known.votes.delete(request.id);
        return DONE;
      case 'lease':
        return this.#lease(known, act, request, now);
      case 'renew':
        if (known.verdict?.epoch !== act.epoch || !(now < known.tickets.get(request.id)!)) return VOID;
        known.tickets.set(request.id, now + request.lease);
        return DONE;
      case 'settle':
        return this.#settle(known, act, request, now);
    }
  }

  #case(name: string, now: number): Case {
    let known = this.#cases.get(name);
    if (known === undefined) {
      known = {
        votes: new Map(),
        tickets: new Map(),
        verdict: undefined,
        epoch: 0,
        grantedAt: 0,
        successes: 0,
        failures: 0,
        troubleSince: 0,
        closedAt: 0,
        troubleMs: 0,
        fullOpenings: 0,
        heldUntil: 0,
        disputes: 0,
        disputedUntil: 0,
      };
      this.#cases.set(name, known);
    }
    if (known.verdict !== undefined && now > known.verdict.until + FORGOTTEN_MS) known.verdict = undefined;
    return known;
  }

  #accuse(known: Case, act: Act & { act: 'accuse' }, request: Request, now: number): Result {
    const { streak, threshold, age, hold } = act;
    const vote: Vote = {
      kind: 'accuse',
      at: now - age,
      streak: Math.min(streak, threshold),
      seen: now,
      domain: request.domain,
    };
    known.votes.set(request.id, vote);
    if (hold > 0) known.heldUntil = Math.max(known.heldUntil, now + hold);
    if (known.verdict !== undefined) {
      if (known.heldUntil > known.verdict.until) {
        this.#open(act.name, known, { ...known.verdict, until: known.heldUntil }, now);
      }
      return DONE;
    }
    const count = this.#count(known, request, now);
    const size = Math.max(this.#hosts.size, request.size);
    const needed = Math.min(Math.max(request.quorum, Math.ceil(request.share * size)), Math.floor(size / 2) + 1);
    const doubled = now < known.disputedUntil ? Math.min(2 * needed, size) : needed;
    if (count.accusers < doubled || count.weight < Math.max(threshold, needed) || !agrees(count, request)) return DONE;

    const recent = count.begins.filter((begin) => now - begin <= OLDEST_MS);
    const since = recent.length === 0 ? now - OLDEST_MS : recent[Math.floor(recent.length / 4)]!;
    const took = recent.length === 0 ? 0 : recent.at(-1)! - recent[0]!;
    const from = now + Math.max(request.hearing, Math.min(took, LONGEST_HEARING_MS));
    known.troubleSince = now - (now - known.closedAt < act.steps.window ? known.troubleMs : 0);
    const openFor = nextStep(known, act.steps, now);
    const verdict = {
      epoch: this.#nextRev(now),
      since,
      from,
      until: Math.max(from + openFor, known.heldUntil),
      openFor,
      failing: count.accusers,
      against: count.objectors,
      hosts: size,
      trace: act.trace,
    };
    known.epoch = verdict.epoch;
    this.#begin(known);
    this.#open(act.name, known, verdict, now);
    return DONE;
  }

  #object(known: Case, { name, epoch }: Act & { act: 'object' }, request: Request, now: number): Result {
    if (epoch !== known.epoch) return VOID;
    known.votes.set(request.id, { kind: 'object', at: now, streak: 0, seen: now, domain: request.domain });
    if (known.verdict === undefined || agrees(this.#count(known, request, now), request)) return DONE;
    if (now - known.disputedUntil > FORGET_DISPUTES_MS) known.disputes = 0;
    known.disputedUntil = now + Math.min(FIRST_DISPUTE_MS * 2 ** known.disputes++, LONGEST_DISPUTE_MS);
    this.#end(name, known, 'lift', now);
    return DONE;
  }

  #lease(known: Case, act: Act & { act: 'lease' }, request: Request, now: number): Result {
    const { verdict, tickets } = known;
    if (verdict === undefined) return NONE;
    if (verdict.epoch !== act.epoch) return VOID;
    if (now < verdict.until && !act.early) return { is: 'wait', wait: verdict.until - now };
    for (const [holder, until] of tickets) if (now >= until) tickets.delete(holder);
    if (!tickets.has(request.id)) {
      if (tickets.size > 0 && now - known.grantedAt < UNUSED_MS) {
        return { is: 'wait', wait: UNUSED_MS - (now - known.grantedAt) };
      }
      if (tickets.size >= act.max) return { is: 'wait', wait: UNUSED_MS };
      known.grantedAt = now;
    }
    tickets.set(request.id, now + request.lease);
    this.publish({
      is: 'lease',
      name: act.name,
      now,
      epoch: verdict.epoch,
      next: known.grantedAt + UNUSED_MS,
      by: request.id,
    });
    return GRANTED;
  }

  #settle(known: Case, act: Act & { act: 'settle' }, request: Request, now: number): Result {
    const { verdict, tickets } = known;
    if (verdict === undefined) return NONE;
    if (verdict.epoch !== act.epoch) return VOID;
    for (const [holder, until] of tickets) if (now >= until) tickets.delete(holder);
    const isFree = act.free && now >= verdict.until && tickets.size < act.max;
    if (!tickets.delete(request.id) && !isFree) return VOID;
    if (act.ok) {
      if (++known.successes >= act.needed) this.#close(act.name, known, now);
      return DONE;
    }
    known.votes.set(request.id, { kind: 'accuse', at: now, streak: 1, seen: now, domain: request.domain });
    if (++known.failures <= act.tolerated) return DONE;
    const openFor = nextStep(known, act.steps, now);
    this.#begin(known);
    known.epoch = this.#nextRev(now);
    const until = Math.max(now + openFor, known.heldUntil);
    this.#open(act.name, known, { ...verdict, epoch: known.epoch, from: now, until, openFor }, now);
    return DONE;
  }

  #close(name: string, known: Case, now: number): void {
    known.closedAt = now;
    known.troubleMs = now - known.troubleSince;
    known.fullOpenings = known.heldUntil = 0;
    known.votes.clear();
    this.#end(name, known, 'close', now);
  }

  #begin(known: Case): void {
    known.tickets.clear();
    known.successes = known.failures = 0;
  }

  #open(name: string, known: Case, verdict: Verdict, now: number): void {
    known.verdict = verdict;
    const prev = this.#rev;
    this.#rev = Math.max(this.#nextRev(now), verdict.epoch);
    this.publish({ is: 'open', name, now, rev: this.#rev, prev, verdict });
  }

  #end(name: string, known: Case, is: 'lift' | 'close', now: number): void {
    known.verdict = undefined;
    known.tickets.clear();
    const prev = this.#rev;
    this.#rev = this.#nextRev(now);
    this.publish({ is, name, now, rev: this.#rev, prev, epoch: known.epoch });
  }

  // Grows even after everything was forgotten: clocks do.
  #nextRev(now: number): number {
    return Math.max(this.#rev + 1, now);
  }

  /** Counts hosts. One with a word for and one against the target speaks against the verdict: it can be reached from there. */
  #count({ votes, verdict }: Case, { heartbeat }: Request, now: number): Count {
    const oldest = now - Math.max(OLDEST_MS, 2 * heartbeat);
    const accusers = new Map<string, Vote>();
    const objectors = new Set<string>();
    for (const [id, vote] of votes) {
      // While the circuit is open nobody sees it fail: what opened it stands.
      if (vote.seen < oldest && (verdict === undefined || vote.kind === 'object')) votes.delete(id);
      else if (vote.kind === 'object') objectors.add(vote.domain);
      else {
        const other = accusers.get(vote.domain);
        const streak = Math.max(vote.streak, other?.streak ?? 0);
        accusers.set(vote.domain, { ...vote, streak, at: Math.min(vote.at, other?.at ?? Infinity) });
      }
    }
    for (const domain of objectors) accusers.delete(domain);
    const counted = [...accusers.values()];
    return {
      accusers: counted.length,
      objectors: objectors.size,
      weight: counted.reduce((sum, { streak }) => sum + streak, 0),
      begins: counted.map(({ at }) => at).sort((a, b) => a - b),
    };
  }
}

function agrees({ accusers, objectors }: Count, { agreement }: Request): boolean {
  return accusers >= agreement * (accusers + objectors);
}

function nextStep(known: Case, { initial, open, backoff, max }: Steps, now: number): number {
  const share = Math.max(initial, Math.ceil((now - known.troubleSince) * SHARE_OF_OUTAGE));
  return share < open ? share : Math.min(Math.floor(open * backoff ** known.fullOpenings++), max);
}
