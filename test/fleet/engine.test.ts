import { expect } from 'chai';
import Redis, { Cluster } from 'ioredis';
import Redis5 from 'ioredis5';
import { CircuitBreaker } from '../../src/breaker/circuit-breaker.js';
import { CircuitOpenError } from '../../src/breaker/errors.js';
import { CircuitBreakerRegistry } from '../../src/breaker/registry.js';
import { Fleet } from '../../src/fleet/fleet.js';
import { DEFAULTS, type FleetSettings } from '../../src/fleet/settings.js';
import { captureDiag } from '../support/log.js';
import { RedisCluster, RedisServer } from '../support/redis-server.js';

const REFUSED = new Error('connect ECONNREFUSED');

/** Waits for something that a real server brings about. */
async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 15_000;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`It did not come to this: ${what}`);
    await new Promise((next) => setTimeout(next, 5));
  }
}

interface Process {
  readonly breaker: CircuitBreaker;
  readonly fleet: Fleet;
}

const started: Process[] = [];

/** A process of a fleet, but for the process. */
function startProcess(domain: string, settings: Partial<FleetSettings>): Process {
  const registry = new CircuitBreakerRegistry();
  const breaker = new CircuitBreaker('http://target', {
    fleet: true,
    failureThreshold: 3,
    openDuration: 400,
    initialOpenDuration: 400,
  });
  breaker.timeCalls();
  const fleet = Fleet.start(
    { breakers: registry, traceOf: () => '' },
    {
      ...DEFAULTS,
      mode: 'enforce',
      url: undefined,
      connect: undefined,
      namespace: 'shop',
      rampUp: 0,
      domain,
      ...settings,
    },
  )!;
  registry.observe({
    onAdded: (one) => fleet.watch(one),
    onRemoved: (one) => fleet.forget(one),
    onFailure: (one) => fleet.onFailure(one),
    onProbeSuccess: (one) => fleet.onProbeSuccess(one),
    onTransition: (one, transition) => fleet.onTransition(one, transition),
    onRejection: () => {},
  });
  registry.register(breaker);
  const process = { breaker, fleet };
  started.push(process);
  return process;
}

async function startFleet(settings: Partial<FleetSettings>): Promise<Process[]> {
  const all = ['a', 'b', 'c'].map((domain) => startProcess(domain, settings));
  await until('all are there', () => all.every(({ fleet }) => fleet.state.connected && fleet.state.hosts >= 1));
  // Each has to hear of the others: by its next heartbeat.
  await until('all know each other', () => all.some(({ fleet }) => fleet.state.hosts === 3));
  return all;
}

function fail({ breaker }: Process): void {
  const permit = breaker.tryAcquire();
  if (!(permit instanceof CircuitOpenError)) permit.failure(REFUSED);
}

function call({ breaker }: Process): boolean {
  const permit = breaker.tryAcquire();
  if (permit instanceof CircuitOpenError) return false;
  permit.success();
  return true;
}

/** The target dies for two of three. */
async function die([a, b]: readonly Process[]): Promise<void> {
  for (let round = 0; round < 4; round++) {
    fail(a!);
    fail(b!);
    await new Promise((next) => setTimeout(next, 60));
  }
}

describe('A fleet over Redis', () => {
  let server: RedisServer;

  beforeEach(async () => {
    server = await RedisServer.start();
  });

  afterEach(async () => {
    for (const { fleet } of started.splice(0)) fleet.stop();
    await server.remove();
  });

  it('opens together, lets one probe, and closes together', async () => {
    const all = await startFleet({ url: server.url });
    await die(all);
    const quiet = all[2]!;
    await until('the third is open', () => quiet.breaker.state === 'open');
    expect(quiet.breaker.isAdvised).equal(true);
    await until('one probes and all are closed', () => {
      call(quiet);
      return quiet.breaker.state === 'closed';
    });
    expect(quiet.fleet.numbers.failed).equal(0);
  });

  it('makes the client that the application has for it', async () => {
    const all = await startFleet({ connect: () => new Redis(server.url, { lazyConnect: true }) });
    await die(all);
    await until('the third is open', () => all[2]!.breaker.state === 'open');
  });

  it('takes a client of ioredis 5', async () => {
    const all = await startFleet({ connect: () => new Redis5(server.url, { lazyConnect: true }) });
    await die(all);
    await until('the third is open', () => all[2]!.breaker.state === 'open');
  });

  it('takes a cluster, where all of its keys are in one slot', async () => {
    const cluster = await RedisCluster.start();
    try {
      const all = await startFleet({ connect: () => new Cluster(cluster.startupNodes, { lazyConnect: true }) });
      await die(all);
      const quiet = all[2]!;
      await until('the third is open', () => quiet.breaker.state === 'open');
      await until('one probes and all are closed', () => {
        call(quiet);
        return quiet.breaker.state === 'closed';
      });
      expect(quiet.fleet.numbers.failed).equal(0);
    } finally {
      for (const { fleet } of started.splice(0)) fleet.stop();
      await cluster.remove();
    }
  });

  it('keeps fleets of other namespaces apart', async () => {
    const shop = await startFleet({ url: server.url });
    const other = startProcess('d', { url: server.url, namespace: 'other' });
    await until('the other is there', () => other.fleet.state.connected);
    await die(shop);
    await until('the third is open', () => shop[2]!.breaker.state === 'open');
    expect(other.breaker.state).equal('closed');
  });

  // What a process does within so long, a fleet's server being away, it must do as without a fleet.
  const FAULTS: Readonly<Record<string, (server: RedisServer) => Promise<void> | void>> = {
    killed: (redis) => redis.kill(),
    'standing still': (redis) => redis.pause(),
    'emptied by FLUSHALL': async (redis) => void (await redis.command('FLUSHALL')),
    'without room': async (redis) => {
      await redis.command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
      await redis.command('CONFIG', 'SET', 'maxmemory', '1');
    },
    'refusing scripts': async (redis) => {
      await redis.command('ACL', 'SETUSER', 'default', '-evalsha', '-eval');
    },
    'without its subscribers': async (redis) => void (await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub')),
    'without its scripts': async (redis) => void (await redis.command('SCRIPT', 'FLUSH')),
  };
  for (const [fault, strike] of Object.entries(FAULTS)) {
    it(`recovers as without a fleet while the server is ${fault}`, async () => {
      const all = await startFleet({ url: server.url });
      await die(all);
      await until('the third is open', () => all[2]!.breaker.state === 'open');
      await strike(server);
      // Two seconds and more of the dead-man rule are not waited for: half a second open, a second for the answer.
      const began = performance.now();
      await until('all have closed by probes', () => {
        for (const each of all) call(each);
        return all.every(({ breaker }) => breaker.state === 'closed');
      });
      expect(performance.now() - began).below(6_000);
    });
  }

  it('goes on together when the server is back, empty', async () => {
    const all = await startFleet({ url: server.url });
    await server.kill();
    await until('it is noticed', () => all.every(({ fleet }) => !fleet.state.connected));
    await server.start();
    await until('all are back', () => all.every(({ fleet }) => fleet.state.connected));
    await until('all know each other', () => all.some(({ fleet }) => fleet.state.hosts === 3));
    await die(all);
    await until('the third is open', () => all[2]!.breaker.state === 'open');
  });

  it('needs no more rights than the documentation says', async () => {
    const rights = '~ob1:{shop}:* &ob1:{shop} -@all +evalsha +eval +subscribe +info +client|setname +time +zadd';
    const more = '+zremrangebyscore +zcard +hget +hset +hdel +hgetall +pexpire +publish';
    await server.command('ACL', 'SETUSER', 'fleet', 'on', '>secret', ...rights.split(' '), ...more.split(' '));
    const all = await startFleet({ url: server.url.replace('redis://', 'redis://fleet:secret@') });
    await die(all);
    await until('the third is open', () => all[2]!.breaker.state === 'open');
    expect(all[2]!.fleet.numbers.failed).equal(0);
  });

  it('says once that the server cannot be reached, and goes on', async () => {
    const lines = captureDiag();
    await server.kill();
    const alone = startProcess('a', { url: server.url });
    await until('it is said', () => lines.some((line) => line.includes('the fleet cannot be reached')));
    for (let round = 0; round < 3; round++) fail(alone);
    expect(alone.breaker.state).equal('open');
    await until('it closes by its own probes', () => call(alone) && alone.breaker.state === 'closed');
    expect(lines.filter((line) => line.includes('cannot be reached'))).length(1);
    expect(lines.join('\n')).not.contain('secret');
  });
});
