import type { ChildProcess } from 'node:child_process';
import type { Cluster, Worker } from 'node:cluster';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { quietly, Reports, type Report, type Reporter } from './reports.js';

/**
 * Node hands on messages with a `cmd` like this as `internalMessage`, not as `message`: the application sees none of them
 * at either end, and a process without us takes no notice.
 */
const COMMAND = 'NODE_OTEL_BREAKER';
// Two releases of this package may meet here.
const VERSION = 1;

type Message =
  | { readonly act: 'hello' }
  | { readonly act: 'welcome' }
  | { readonly act: 'ask'; readonly round: number }
  | { readonly act: 'answer'; readonly round: number; readonly reports: readonly Report[] };

const INTERNAL = 'internalMessage';
// A scraper waits for ten seconds by default, and a worker's own threads have half of this.
const PATIENCE_MS = 1_000;

type Channel = Pick<ChildProcess, 'connected' | 'send'>;

/** Whether this process was forked by `node:cluster`. */
export function isClusterWorker(): boolean {
  // Asked for by name only where there is a channel to a parent: a module that an application never needs stays unloaded.
  return process.send !== undefined && loadCluster().isWorker;
}

/**
 * Hears the workers of a cluster. One that says hello is welcomed, and from then on asked for its numbers.
 *
 * @param welcomes whether numbers of workers would leave from here
 */
export function listenToWorkers(welcomes: () => boolean): Reporter {
  const listening = new Map<Worker, (message: unknown) => void>();
  const reports = new Reports<Worker>({
    patience: PATIENCE_MS,
    isAlive: (worker) => listening.has(worker) && worker.isConnected() && !worker.isDead(),
    ask: (round) => {
      for (const worker of listening.keys()) send(worker.process, { act: 'ask', round });
    },
  });

  function hear(worker: Worker, message: Message | undefined): void {
    if (message?.act === 'hello' && welcomes()) {
      reports.heard(worker, 0, []);
      send(worker.process, { act: 'welcome' });
    } else if (message?.act === 'answer') {
      const under = (own: string) => (own === '' ? String(worker.id) : `${worker.id}-${own}`);
      reports.heard(
        worker,
        message.round,
        message.reports.map((report) => ({ ...report, worker: under(report.worker) })),
      );
    }
  }

  // Told of each child without a listener on anything of the application's. Cluster makes a worker of it right after.
  function onChild(event: unknown): void {
    const { process: child } = event as { process: ChildProcess };
    process.nextTick(() => {
      const worker = Object.values(loadCluster().workers ?? {}).find((one) => one?.process === child);
      if (worker === undefined) return;
      for (const one of listening.keys()) if (one.isDead()) listening.delete(one);
      const listener = (message: unknown) => quietly(() => hear(worker, read(message)));
      listening.set(worker, listener);
      worker.process.on(INTERNAL, listener);
    });
  }

  subscribe('child_process', onChild);
  return {
    reports: () => reports.all(),
    stop: () => {
      unsubscribe('child_process', onChild);
      for (const [worker, listener] of listening) worker.process.off(INTERNAL, listener);
      listening.clear();
      reports.clear();
    },
  };
}

/**
 * Says hello to the primary of this process, and tells it the numbers whenever it asks.
 *
 * @param tell never rejects
 * @param onWelcome the primary publishes them
 * @returns stops that
 */
export function reportToPrimary(tell: () => Promise<readonly Report[]>, onWelcome: () => void): () => void {
  function hear(message: Message | undefined): void {
    if (message?.act === 'welcome') onWelcome();
    if (message?.act !== 'ask') return;
    const { round } = message;
    const answer = (reports: readonly Report[]) => send(process as Channel, { act: 'answer', round, reports });
    void tell().then((reports) => quietly(() => answer(reports)));
  }
  const listener = (message: unknown) => quietly(() => hear(read(message)));
  process.on(INTERNAL, listener);
  send(process as Channel, { act: 'hello' });
  return () => process.off(INTERNAL, listener);
}

function read(message: unknown): Message | undefined {
  const { cmd, version } = (message ?? {}) as { cmd?: unknown; version?: unknown };
  return cmd === COMMAND && version === VERSION ? (message as Message) : undefined;
}

function send(to: Channel, message: Message): void {
  // With a callback, an error is told there; without, it would be an event of the application's process.
  if (to.connected) to.send({ cmd: COMMAND, version: VERSION, ...message }, () => {});
}

function loadCluster(): Cluster {
  return require('node:cluster') as Cluster;
}
