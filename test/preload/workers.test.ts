import { expect } from 'chai';
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HealthInFull } from '../../src/console/api.js';
import { expectMetrics } from '../deploy/prometheus.js';
import { METRICS_ADDRESS, sample, scrape, startApp, stopApps, type App } from '../support/app.js';
import { PRELOAD } from '../support/child.js';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/files.js';
import { installLaterLines, LATER_LINES } from '../support/node-lines.js';
import { serve, stopServers } from '../support/servers.js';

const SUCCEEDED = 'circuit_breaker_successful_calls_total';

/** A scrape that a real Prometheus parser is content with. */
async function scrapeWell(address: string): Promise<string> {
  const page = await scrape(address);
  expectMetrics(page);
  return page;
}

/** The successful calls of everyone, by the label of the worker; those of no worker at ''. */
function callsByWorker(page: string): Record<string, number> {
  const lines = page.split('\n').filter((line) => line.startsWith(`${SUCCEEDED}{`));
  return Object.fromEntries(
    lines.map((line) => [/worker="([^"]*)"/.exec(line)?.[1] ?? '', Number(/\} (\d+)/.exec(line)![1])]),
  );
}

type Told = Record<string, unknown>;

/** Gives orders to an application of several workers, and hears what they say. */
class Boss {
  readonly #said: Told[] = [];
  readonly #waiting = new Set<() => void>();

  constructor(readonly app: App) {
    app.child.on('message', (message) => {
      this.#said.push(message as Told);
      for (const look of this.#waiting) look();
    });
  }

  order(order: string, rest: Told = {}): void {
    this.app.child.send({ order, ...rest });
  }

  /** Waits for something that was said and not heard before, with these values; gives all of it. */
  hears(some: Told): Promise<Told> {
    return new Promise((resolve) => {
      const look = () => {
        const index = this.#said.findIndex((told) =>
          Object.entries(some).every(([key, value]) => (value === undefined ? key in told : told[key] === value)),
        );
        if (index < 0) return;
        this.#waiting.delete(look);
        resolve(this.#said.splice(index, 1)[0]!);
      };
      this.#waiting.add(look);
      look();
    });
  }
}

describe('metrics of several workers', () => {
  let upstream: string;
  let flags: string[];
  let broken: boolean;

  before(async () => {
    upstream = (await serve((_, response) => response.writeHead(broken ? 503 : 200).end())).origin;
  });
  beforeEach(() => {
    flags = [];
    broken = false;
  });
  afterEach(async () => {
    for (const flag of flags) rmSync(flag, { force: true });
    removeTemporaryDirectories();
    await stopApps();
  });
  after(stopServers);

  /** A file that workers stand still by while it is there. */
  function raiseFlag(): string {
    const flag = join(tmpdir(), `otel-breaker-flag-${process.pid}-${Math.random()}`);
    writeFileSync(flag, '');
    flags.push(flag);
    return flag;
  }

  async function start(
    fixture: string,
    env: NodeJS.ProcessEnv = {},
    nodeArgs: readonly string[] = PRELOAD,
    node?: string,
  ): Promise<Boss> {
    const program = join(__dirname, '../fixtures/workers', fixture);
    const whole = { UPSTREAM: upstream, ...env };
    return new Boss(startApp({ nodeArgs, env: whole, program, ipc: true, ...(node !== undefined && { node }) }));
  }

  async function addressOf({ app }: Boss): Promise<string> {
    return (await app.prints('stderr', METRICS_ADDRESS))[1]!;
  }

  /** What `/healthz` says, beside the metrics. */
  async function health(address: string): Promise<unknown> {
    const answer = await fetch(new URL('/healthz', address));
    const { total, open, unhealthy } = (await answer.json()) as HealthInFull;
    return { status: answer.status, total, open, unhealthy };
  }

  /** Rules of circuits that stay open for the whole test, however slow the machine is. */
  function longOpenings(): NodeJS.ProcessEnv {
    const file = join(temporaryDirectory(), 'rules.yaml');
    writeFileSync(file, 'defaults: { initialOpenDuration: 10m, openDuration: 10m }\n');
    return { OTEL_BREAKER_CONFIG: file };
  }

  describe('of a cluster', () => {
    async function startCluster(
      workers: number,
      env?: NodeJS.ProcessEnv,
      node?: string,
    ): Promise<{ boss: Boss; address: string }> {
      const boss = await start('cluster.cjs', env, PRELOAD, node);
      for (let id = 1; id <= workers; id++) {
        boss.order('fork');
        await boss.hears({ online: id });
      }
      return { boss, address: await addressOf(boss) };
    }

    async function call(boss: Boss, worker: number, calls: number): Promise<void> {
      boss.order('tell', { worker, calls });
      await boss.hears({ from: worker, called: calls });
    }

    it('are at one address, each with its label, and the primary has none', async () => {
      const { boss, address } = await startCluster(2);
      await call(boss, 1, 3);
      await call(boss, 2, 5);
      boss.order('call', { calls: 2 });
      await boss.hears({ called: 2 });
      const page = await scrapeWell(address);
      expect(callsByWorker(page)).to.deep.equal({ '': 2, 1: 3, 2: 5 });
      const of = (worker: string, name: string, more = {}) =>
        sample(page, `circuit_breaker_${name}`, { worker, name: upstream, ...more });
      expect(of('2', 'state')).to.equal(0);
      expect(of('2', 'calls_total', { status: 'allowed' })).to.equal(5);
      expect(of('2', 'call_duration_seconds_count')).to.equal(5);
      expect(of('2', 'call_duration_seconds_bucket', { le: '+Inf' })).to.equal(5);
      expect(of('2', 'call_duration_seconds_sum')).to.be.greaterThan(0);
      expect(boss.app.output.stderr.match(/metrics at/g)).to.have.length(1);
      await call(boss, 1, 4);
      expect(callsByWorker(await scrape(address))).to.deep.equal({ '': 2, 1: 7, 2: 5 });
    });

    it('are what health is judged by, of every worker', async () => {
      const { boss, address } = await startCluster(2, longOpenings());
      for (const worker of [1, 2]) await call(boss, worker, 1);
      expect(await health(address)).to.deep.equal({ status: 200, total: 2, open: 0, unhealthy: [] });
      broken = true;
      await call(boss, 2, 6);
      const unhealthy = [{ name: upstream, worker: '2' }];
      expect(await health(address)).to.deep.equal({ status: 503, total: 2, open: 1, unhealthy });
    });

    it('are gone with a worker that dies, and begin anew with the one that follows', async () => {
      const { boss, address } = await startCluster(3);
      for (const worker of [1, 2, 3]) await call(boss, worker, worker);
      expect(callsByWorker(await scrape(address))).to.deep.equal({ 1: 1, 2: 2, 3: 3 });
      boss.order('kill', { worker: 1 });
      await boss.hears({ exited: 1, signal: 'SIGKILL' });
      boss.order('tell', { worker: 2, exit: 7 });
      await boss.hears({ exited: 2, code: 7 });
      expect(callsByWorker(await scrapeWell(address))).to.deep.equal({ 3: 3 });
      boss.order('fork');
      await boss.hears({ online: 4 });
      await call(boss, 4, 6);
      boss.order('disconnect', { worker: 3 });
      await boss.hears({ exited: 3, code: 0 });
      expect(callsByWorker(await scrape(address))).to.deep.equal({ 4: 6 });
    });

    it('do not wait for a worker that stands still: its last numbers stay until it has new ones', async () => {
      const { boss, address } = await startCluster(2);
      for (const worker of [1, 2]) await call(boss, worker, 1);
      await scrape(address);
      const flag = raiseFlag();
      boss.order('tell', { worker: 1, standStillAt: flag });
      await boss.hears({ from: 1, standsStill: true });
      await call(boss, 2, 1);
      for (let time = 0; time < 3; time++) {
        expect(callsByWorker(await scrape(address))).to.deep.equal({ 1: 1, 2: 2 });
      }
      rmSync(flag);
      await call(boss, 1, 1);
      // What it had not answered yet comes before what it says of its calls.
      expect(callsByWorker(await scrape(address))).to.deep.equal({ 1: 2, 2: 2 });
    });

    it('pass by the messages of the application, its events and its exit codes', async () => {
      const account = async (nodeArgs: readonly string[]) => {
        const boss = await start('cluster.cjs', {}, nodeArgs);
        for (const id of [1, 2]) {
          boss.order('fork');
          await boss.hears({ online: id });
        }
        if (nodeArgs.length > 0) await addressOf(boss);
        for (const worker of [1, 2]) await call(boss, worker, worker);
        if (nodeArgs.length > 0) {
          const page = await scrape(await addressOf(boss));
          expect(callsByWorker(page)).to.deep.equal({ 1: 1, 2: 2 });
        }
        boss.order('tell', { worker: 1, report: true });
        const { seen: seenByWorker } = await boss.hears({ from: 1, seen: undefined });
        boss.order('report');
        const { seen, names } = await boss.hears({ seen: undefined });
        boss.order('tell', { worker: 1, exit: 3 });
        const exits = [await boss.hears({ exited: 1 })];
        boss.order('disconnect', { worker: 2 });
        exits.push(await boss.hears({ exited: 2 }));
        boss.order('end');
        const { code, stdout } = await boss.app.ends();
        return { seenByWorker, seen, names, exits, code, stdout };
      };
      const plain = await account([]);
      expect(plain.code).to.equal(0);
      expect(plain.seen).to.have.length.greaterThan(4);
      expect(await account(PRELOAD)).to.deep.equal(plain);
    });

    it('leave through the provider of a worker that has one, and not through the primary as well', async () => {
      const { boss, address } = await startCluster(1, { WORKER_SDK: 'true' });
      await call(boss, 1, 4);
      boss.order('tell', { worker: 1, read: true });
      expect(await boss.hears({ from: 1, read: undefined })).to.include({ read: 4 });
      expect(callsByWorker(await scrape(address))).to.deep.equal({});
      expect(boss.app.output.stderr.match(/metrics at/g)).to.have.length(1);
    });

    it('leave by a port of their own under a primary that is not ours, which sees no message of ours', async () => {
      const boss = await start('cluster.cjs', { BARE_PRIMARY: 'true' }, []);
      boss.order('fork');
      await boss.hears({ online: 1 });
      await call(boss, 1, 2);
      expect(callsByWorker(await scrape(await addressOf(boss)))).to.deep.equal({ '': 2 });
      boss.order('report');
      const message = { called: 2 };
      expect((await boss.hears({ seen: undefined })).seen).to.deep.equal([
        ['cluster', 1, message],
        ['worker', 1, message],
      ]);
      boss.order('end');
      boss.order('disconnect', { worker: 1 });
    });

    it('have those of their threads among them, on later lines of Node as well', async () => {
      await installLaterLines();
      for (const node of [process.execPath, ...Object.values(LATER_LINES.nodes)]) {
        const { boss, address } = await startCluster(2, {}, node);
        await call(boss, 1, 1);
        boss.order('tell', { worker: 2, thread: 3 });
        await boss.hears({ from: 2, called: 3 });
        expect(callsByWorker(await scrapeWell(address)), node).to.deep.equal({ 1: 1, '2-thread-1': 3 });
        boss.order('kill', { worker: 2 });
        await boss.hears({ exited: 2 });
        expect(callsByWorker(await scrapeWell(address)), node).to.deep.equal({ 1: 1 });
        boss.order('disconnect', { worker: 1 });
        await boss.hears({ exited: 1, code: 0 });
        boss.order('end');
        expect((await boss.app.ends()).code, node).to.equal(0);
      }
    });
  });

  describe('of worker threads', () => {
    async function startThreads(...threads: Told[]): Promise<{ boss: Boss; address: string }> {
      const boss = await start('threads.cjs', longOpenings());
      for (const [index, thread] of threads.entries()) {
        boss.order('start', thread);
        await boss.hears({ from: index, called: thread.calls });
        if (thread.nested !== undefined) await boss.hears({ from: index, called: thread.nested });
      }
      return { boss, address: await addressOf(boss) };
    }

    it('are at the address of the process, each with its label, threads of threads as well', async () => {
      const { boss, address } = await startThreads({ calls: 3 }, { calls: 5, nested: 7 });
      boss.order('call', { calls: 2 });
      await boss.hears({ called: 2 });
      const page = await scrapeWell(address);
      expect(callsByWorker(page)).to.deep.equal({ '': 2, 'thread-1': 3, 'thread-2': 5, 'thread-3': 7 });
      expect(sample(page, 'circuit_breaker_call_duration_seconds_count', { worker: 'thread-3' })).to.equal(7);
      expect(boss.app.output.stderr.match(/metrics at/g)).to.have.length(1);
    });

    it('are what health is judged by, of every thread', async () => {
      const { boss, address } = await startThreads({ calls: 1 });
      expect(await health(address)).to.deep.equal({ status: 200, total: 1, open: 0, unhealthy: [] });
      broken = true;
      boss.order('start', { calls: 1 });
      await boss.hears({ from: 1, called: 1 });
      boss.order('tell', { thread: 0, calls: 6 });
      await boss.hears({ from: 0, called: 6 });
      const unhealthy = [{ name: upstream, worker: 'thread-1' }];
      expect(await health(address)).to.deep.equal({ status: 503, total: 2, open: 1, unhealthy });
    });

    it('are gone with a thread that ends, is terminated, or whose parent is', async () => {
      const { boss, address } = await startThreads(
        { calls: 1 },
        { calls: 2 },
        { calls: 3, nested: 4 },
        { calls: 5, ends: true },
      );
      expect(await boss.hears({ exited: 3 })).to.include({ code: 0 });
      const before = callsByWorker(await scrape(address));
      expect(before).to.deep.equal({ 'thread-1': 1, 'thread-2': 2, 'thread-3': 3, 'thread-4': 4 });
      for (const thread of [1, 2]) {
        boss.order('terminate', { thread });
        await boss.hears({ exited: thread, code: 1 });
      }
      expect(callsByWorker(await scrapeWell(address))).to.deep.equal({ 'thread-1': 1 });
    });

    it('do not wait for a thread that stands still: its last numbers stay', async () => {
      const { boss, address } = await startThreads({ calls: 1 }, { calls: 2 });
      await scrape(address);
      const flag = raiseFlag();
      boss.order('tell', { thread: 0, standStillAt: flag });
      await boss.hears({ from: 0, standsStill: true });
      for (let time = 0; time < 3; time++) {
        expect(callsByWorker(await scrape(address))).to.deep.equal({ 'thread-1': 1, 'thread-2': 2 });
      }
    });

    it('leave through the provider of a thread that has one', async () => {
      const { address } = await startThreads({ calls: 1, sdk: true }, { calls: 2 });
      expect(callsByWorker(await scrape(address))).to.deep.equal({ 'thread-2': 2 });
    });

    it('keep no thread and no process from ending', async () => {
      const { boss, address } = await startThreads({ calls: 1, ends: true }, { calls: 2 });
      await scrape(address);
      expect(await boss.hears({ exited: 0 })).to.include({ code: 0 });
      boss.order('end');
      expect((await boss.app.ends()).code).to.equal(0);
    });
  });
});
