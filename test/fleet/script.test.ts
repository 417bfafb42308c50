import { createHash } from 'node:crypto';
import { expect } from 'chai';
import Redis from 'ioredis';
import { Ledger } from '../../src/fleet/ledger.js';
import type { Act, Message, Reply, Request, Steps, Verdict } from '../../src/fleet/protocol.js';
import { keyOfBreaker, keysOf, SCRIPT } from '../../src/fleet/script.js';
import { Random } from '../support/random.js';
import { RedisServer } from '../support/redis-server.js';

// The engine's clock is the server's own; here it is moved.
const TIME = "redis.call('TIME')";
const MOVED = SCRIPT.replace(TIME, '{ math.floor(tonumber(ARGV[3]) / 1000), (tonumber(ARGV[3]) % 1000) * 1000 }');
const SHA = createHash('sha1').update(MOVED).digest('hex');

const NAMESPACE = 'shop';
const KEYS = keysOf(NAMESPACE);
const STEPS: Steps = { initial: 200, open: 3_000, backoff: 1.5, max: 10_000, window: 30_000 };
const MAX = 2;
const ACTS = 100_000;

interface Replica {
  readonly id: string;
  readonly domain: string;
  rev: number;
  /** What it last heard of each breaker. */
  readonly epochs: Map<string, number>;
}

/** Requests of a few replicas that do anything at all, on a clock that jumps. */
class Walk {
  readonly requests: { readonly request: Request; readonly now: number; readonly flushed: boolean }[] = [];
  acts = 0;
  #now = 1_700_000_000_000;
  readonly #replicas: readonly Replica[];

  constructor(private readonly random: Random) {
    this.#replicas = Array.from({ length: 7 }, (_, index) => ({
      id: `r${index}`,
      domain: `host${Math.floor(index / 2)}`,
      rev: 0,
      epochs: new Map<string, number>(),
    }));
  }

  next(): Request {
    const { random } = this;
    this.#now += random.below(40) === 0 ? random.below(40_000) : random.below(120);
    const replica = random.pick(this.#replicas);
    const count = random.below(5);
    this.acts += count;
    return {
      id: replica.id,
      domain: replica.domain,
      rev: random.below(3) === 0 ? 0 : replica.rev,
      at: random.below(50) === 0 ? 0 : this.#now - (random.below(30) === 0 ? 2_001 : random.below(500)),
      size: random.below(4),
      quorum: 1 + random.below(3),
      share: random.pick([0, 0.1, 0.5]),
      agreement: random.pick([0.3, 0.6, 1]),
      hearing: 50,
      lease: 5_000,
      heartbeat: 5_000,
      acts: Array.from({ length: count }, () => this.#act(replica)),
    };
  }

  get now(): number {
    return this.#now;
  }

  heard(request: Request, reply: Reply, verdicts: ReadonlyMap<string, Verdict>): void {
    const replica = this.#replicas.find(({ id }) => id === request.id)!;
    replica.rev = reply.rev;
    for (const [name, { epoch }] of verdicts) if (this.random.below(4) > 0) replica.epochs.set(name, epoch);
  }

  #act(replica: Replica): Act {
    const { random } = this;
    const name = random.pick(['http://a', 'http://b', 'redis://c:6379', 'with "quotes" and ü']);
    const epoch = replica.epochs.get(name) ?? 1;
    switch (random.below(7)) {
      case 0:
      case 1:
        return {
          act: 'accuse',
          name,
          age: random.below(15_000),
          streak: 1 + random.below(7),
          threshold: 5,
          steps: STEPS,
          hold: random.below(20) === 0 ? random.below(20_000) : 0,
          trace: random.below(2) === 0 ? '' : `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
        };
      case 2:
        return random.below(3) === 0 ? { act: 'object', name, epoch } : { act: 'withdraw', name };
      case 3:
      case 4:
        return { act: 'lease', name, epoch, max: MAX, early: random.below(10) === 0 };
      case 5:
        return { act: 'renew', name, epoch };
      default:
        return {
          act: 'settle',
          name,
          epoch,
          ok: random.below(3) > 0,
          free: random.below(8) === 0,
          max: MAX,
          needed: 2,
          tolerated: random.below(2),
          steps: STEPS,
        };
    }
  }
}

/** What must hold whatever happens, seen from outside. */
class Invariants {
  readonly verdicts = new Map<string, Verdict>();
  readonly #tickets = new Map<string, Map<string, number>>();
  #rev = 0;
  openings = 0;
  closings = 0;

  messages(messages: readonly Message[], request: Request, reply: Reply): void {
    for (const message of messages) {
      if (message.is === 'lease') {
        const tickets = this.#ticketsOf(message.name);
        for (const [id, until] of tickets) if (message.now >= until) tickets.delete(id);
        tickets.set(message.by, message.now + request.lease);
        expect(tickets.size, `tickets of ${message.name}`).at.most(MAX);
        continue;
      }
      expect(message.rev).above(this.#rev);
      this.#rev = message.rev;
      if (message.is === 'open') {
        const known = this.verdicts.get(message.name);
        const { verdict } = message;
        if (known === undefined) {
          this.openings++;
          const size = Math.max(reply.hosts, request.size);
          const quorum = Math.min(Math.max(request.quorum, Math.ceil(request.share * size)), Math.floor(size / 2) + 1);
          expect(verdict.failing, 'no verdict without a quorum').at.least(quorum);
          expect(verdict.failing).at.least(request.agreement * (verdict.failing + verdict.against));
        } else expect(verdict.epoch).at.least(known.epoch);
        if (verdict.epoch !== known?.epoch) this.#tickets.delete(message.name);
        this.verdicts.set(message.name, verdict);
      } else {
        if (message.is === 'close') this.closings++;
        this.verdicts.delete(message.name);
        this.#tickets.delete(message.name);
      }
    }
  }

  /** Before the request is done. Only holders settle, unless they say that they have no ticket. */
  settles({ acts, id }: Request, now: number, replies: Reply): void {
    acts.forEach((act, index) => {
      if (act.act !== 'settle' || act.free || replies.results[index]?.is !== 'done') return;
      // Granted or renewed by an act before it in the same request, it is not known yet.
      const before = acts.slice(0, index).filter(({ name }) => name === act.name);
      if (before.some((other) => other.act === 'lease' || other.act === 'renew')) return;
      const until = this.#ticketsOf(act.name).get(id);
      expect(until, `the ticket that ${id} settled`).above(now);
    });
  }

  /** A ticket that was renewed or used. */
  done({ acts, id, lease }: Request, now: number, reply: Reply): void {
    acts.forEach((act, index) => {
      if (reply.results[index]?.is !== 'done') return;
      const tickets = this.#ticketsOf(act.name);
      if (act.act === 'renew') tickets.set(id, now + lease);
      // Another one may have been granted since, in the same request.
      const again = acts.some(
        (other, at) => at > index && other.name === act.name && reply.results[at]?.is === 'granted',
      );
      if (act.act === 'settle' && !again) tickets.delete(id);
    });
  }

  forget(): void {
    this.verdicts.clear();
    this.#tickets.clear();
  }

  #ticketsOf(name: string): Map<string, number> {
    let tickets = this.#tickets.get(name);
    if (tickets === undefined) this.#tickets.set(name, (tickets = new Map<string, number>()));
    return tickets;
  }
}

describe('The script of a fleet', function () {
  let server: RedisServer;
  let redis: Redis;
  let subscriber: Redis;

  before(async () => {
    server = await RedisServer.start();
    redis = new Redis(server.url);
    subscriber = new Redis(server.url);
    await redis.script('LOAD', MOVED);
  });

  after(async () => {
    redis.disconnect();
    subscriber.disconnect();
    await server.remove();
  });

  it(`does what the ledger does, ${ACTS.toLocaleString('en')} acts at random`, async function () {
    this.timeout(120_000);
    expect(SCRIPT.split(TIME)).length(2);
    const heard: string[] = [];
    subscriber.on('message', (_channel, text: string) => heard.push(text));
    await subscriber.subscribe(KEYS.channel);

    const walk = new Walk(new Random(20_261_126));
    const chance = new Random(7);
    const invariants = new Invariants();
    const told: Message[] = [];
    const ledger = new Ledger((message) => told.push(message));
    while (walk.acts < ACTS) {
      const pipeline = redis.pipeline();
      const expected: { request: Request; reply: Reply }[] = [];
      for (let step = 0; step < 250; step++) {
        if (chance.below(3_000) === 0) {
          pipeline.flushall();
          expected.push({ request: walk.next(), reply: undefined as never });
          ledger.clear();
          invariants.forget();
          continue;
        }
        const request = walk.next();
        const names = request.acts.map(({ name }) => keyOfBreaker(NAMESPACE, name));
        const keys = [KEYS.live, KEYS.hosts, KEYS.book, ...names];
        pipeline.evalsha(SHA, keys.length, ...keys, JSON.stringify(request), KEYS.channel, String(walk.now));
        const before = told.length;
        const reply = ledger.apply(request, walk.now);
        invariants.settles(request, walk.now, reply);
        invariants.messages(told.slice(before), request, reply);
        invariants.done(request, walk.now, reply);
        walk.heard(request, reply, invariants.verdicts);
        expected.push({ request, reply });
      }
      const results = (await pipeline.exec())!;
      results.forEach(([error, text], index) => {
        if (error !== null) throw error;
        const { request, reply } = expected[index]!;
        if (reply === undefined) return;
        const answer = JSON.parse(String(text)) as Reply;
        // An empty list is written as an empty object there.
        if (request.acts.length === 0) expect(answer.results).deep.equal({});
        else expect(answer.results, JSON.stringify(request)).deep.equal(reply.results);
        expect({ ...answer, results: [] }, JSON.stringify(request)).deep.equal({ ...reply, results: [] });
      });
      // What was published is what the ledger told, in its order.
      for (let wait = 0; heard.length < told.length && wait < 500; wait++)
        await new Promise((next) => setTimeout(next, 2));
      expect(heard.splice(0).map((text) => JSON.parse(text) as Message)).deep.equal(told.splice(0));
    }
    // The walk goes everywhere.
    expect(invariants.openings).above(300);
    expect(invariants.closings).above(100);
  });
});
