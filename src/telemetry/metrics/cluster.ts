// Collects the numbers of cluster workers.
import type { ChildProcess } from 'node:child_process';
import type { Cluster, Worker } from 'node:cluster';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import {
  Inquiries,
  quietly,
  Reports,
  type Report,
  type Reporter,
  type Respondent,
  type WorkerAnswer,
} from './reports.js';

/**
 * Node hands on messages with a `cmd` like this as `internalMessage`, not as `message`: the application sees none of them
 * at either end, and a process without us takes no notice.
 */
const COMMAND = 'NODE_OTEL_BREAKER';
// Two releases of this package may meet here.
const VERSION = 2;

type Message =
  | { readonly act: 'hello' }
  | { readonly act: 'welcome' }
  | { readonly act: 'ask'; readonly round: number }
  | { readonly act: 'answer'; readonly round: number; readonly reports: readonly Report[] }
  | { readonly act: 'question'; readonly round: number; readonly question: unknown; readonly only?: string | undefined }
  | { readonly act: 'reply'; readonly round: number; readonly answers: readonly WorkerAnswer[] }
  | { readonly act: 'news'; readonly news: unknown };

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
  const inquiries = new Inquiries<Worker>(PATIENCE_MS);
  const announced: unknown[] = [];

  function hear(worker: Worker, message: Message | undefined): void {
    // What is told of `own`, by its name among all workers.
    const under = <T extends { readonly worker: string }>(own: T) => ({ ...own, worker: nameOf(worker, own.worker) });
    switch (message?.act) {
      case 'hello':
        reports.heard(worker, 0, []);
        if (welcomes()) send(worker.process, { act: 'welcome' });
        for (const news of announced) send(worker.process, { act: 'news', news });
        break;
      case 'answer':
        reports.heard(worker, message.round, message.reports.map(under));
        break;
      case 'reply':
        inquiries.heard(worker, message.round, message.answers.map(under));
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
    get size() {
      return reports.workers().length;
    },
    ask: async (question, only) => {
      const asked = reports.workers().filter((worker) => only === undefined || ownNameOf(worker, only) !== undefined);
      const answers = await inquiries.ask(asked, (round) => {
        for (const worker of asked) {
          const own = only === undefined ? undefined : ownNameOf(worker, only);
          send(worker.process, { act: 'question', round, question, only: own });
        }
      });
      return asked.flatMap((worker) => answers.get(worker) ?? [{ worker: String(worker.id), answer: undefined }]);
    },
    announce: (news) => {
      announced.push(news);
      for (const worker of reports.workers()) send(worker.process, { act: 'news', news });
    },
    stop: () => {
      unsubscribe('child_process', onChild);
      for (const [worker, listener] of listening) worker.process.off(INTERNAL, listener);
      listening.clear();
      reports.clear();
      inquiries.clear();
    },
  };
}

/** The name of what a worker calls `own`, among all workers. */
function nameOf({ id }: Worker, own: string): string {
  return own === '' ? String(id) : `${id}-${own}`;
}

/** What the worker itself calls the one that is named so here; `undefined` where it is another worker's. */
function ownNameOf({ id }: Worker, name: string): string | undefined {
  if (name === String(id)) return '';
  return name.startsWith(`${id}-`) ? name.slice(`${id}-`.length) : undefined;
}

/**
 * Says hello to the primary of this process, and tells it the numbers whenever it asks.
 *
 * @param tell never rejects
 * @param onWelcome the primary publishes them
 * @param respondent answers what the console of the primary asks; never rejects
 * @returns stops that
 */
export function reportToPrimary(
  tell: () => Promise<readonly Report[]>,
  onWelcome: () => void,
  respondent: Respondent,
): () => void {
  const reply = (message: Message) => quietly(() => send(process as Channel, message));
  function hear(message: Message | undefined): void {
    switch (message?.act) {
      case 'welcome':
        return onWelcome();
      case 'news':
        return respondent.hear(message.news);
      case 'ask': {
        const { round } = message;
        return void tell().then((reports) => reply({ act: 'answer', round, reports }));
      }
      case 'question': {
        const { round, question, only } = message;
        return void respondent.answer(question, only).then((answers) => reply({ act: 'reply', round, answers }));
      }
    }
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
