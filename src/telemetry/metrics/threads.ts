import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { BroadcastChannel, threadId, type Worker } from 'node:worker_threads';
import { quietly, Reports, type Report, type Reporter } from './reports.js';

// All threads of a process share these names, and nothing else does. Two, so that no thread hears what others answer.
const QUESTIONS = 'otel-breaker.threads.1.questions';
const ANSWERS = 'otel-breaker.threads.1.answers';
// Half of what a cluster's primary waits for a worker, which may have threads.
const PATIENCE_MS = 500;

interface Answer {
  /** The question's; 0 where nobody asked. */
  readonly round: number;
  readonly thread: number;
  /** The threads that it has started itself. */
  readonly threads: readonly number[];
  readonly numbers: ThreadNumbers;
}

/** What a thread has counted itself. */
type ThreadNumbers = Omit<Report, 'worker'>;

/** The threads that this one starts. Nothing of the application's gets a listener or is kept from being collected. */
class StartedThreads {
  readonly #threads = new Map<number, WeakRef<Worker>>();
  readonly #onThread: (event: unknown) => void;

  constructor(onStart: () => void = () => {}) {
    this.#onThread = (event) => {
      const { worker } = event as { worker: Worker };
      this.ids();
      this.#threads.set(worker.threadId, new WeakRef(worker));
      quietly(onStart);
    };
    subscribe('worker_threads', this.#onThread);
  }

  /** Those that run. */
  ids(): number[] {
    // An ended thread has the id -1.
    for (const [id, worker] of this.#threads) if (worker.deref()?.threadId !== id) this.#threads.delete(id);
    return [...this.#threads.keys()];
  }

  stop(): void {
    unsubscribe('worker_threads', this.#onThread);
    this.#threads.clear();
  }
}

/** Hears the other threads of this process, in the main one. Nothing is opened before there is one. */
export function listenToThreads(): Reporter {
  const started = new StartedThreads(open);
  let channels: { questions: BroadcastChannel; answers: BroadcastChannel } | undefined;
  const startedBy = new Map<number, readonly number[]>();
  const reports = new Reports<number>({
    patience: PATIENCE_MS,
    isAlive: (thread) => alive().has(thread),
    ask: (round) => channels?.questions.postMessage(round),
  });

  /** Those that run, and those that these have started, as they said. */
  function alive(): Set<number> {
    const threads = new Set(started.ids());
    for (const thread of threads) for (const child of startedBy.get(thread) ?? []) threads.add(child);
    for (const thread of startedBy.keys()) if (!threads.has(thread)) startedBy.delete(thread);
    return threads;
  }

  function open(): void {
    if (channels !== undefined) return;
    channels = { questions: quietChannel(QUESTIONS), answers: quietChannel(ANSWERS) };
    channels.answers.onmessage = (event) => quietly(() => hear((event as { data: Answer }).data));
  }

  function hear({ round, thread, threads, numbers }: Answer): void {
    startedBy.set(thread, threads);
    reports.heard(thread, round, [{ worker: `thread-${thread}`, ...numbers }]);
  }

  return {
    reports: () => reports.all(),
    stop: () => {
      started.stop();
      channels?.questions.close();
      channels?.answers.close();
      channels = undefined;
      reports.clear();
    },
  };
}

/**
 * Tells the main thread the numbers of this one, whenever it asks.
 *
 * @returns `begin`, to be called when there is something to tell: threads without breakers, and that start none, stay unheard of
 */
export function reportToMainThread(tell: () => ThreadNumbers): { begin(): void; stop(): void } {
  // At once, before the new thread has anything to tell: nobody else knows that it runs.
  const started = new StartedThreads(() => {
    if (questions === undefined) begin();
    else answer(0);
  });
  let questions: BroadcastChannel | undefined;

  function answer(round: number): void {
    const message: Answer = { round, thread: threadId, threads: started.ids(), numbers: tell() };
    // Opened for each answer: an open one would be sent the answers of all other threads.
    const answers = new BroadcastChannel(ANSWERS);
    answers.postMessage(message);
    answers.close();
  }

  function begin(): void {
    if (questions !== undefined) return;
    questions = quietChannel(QUESTIONS);
    questions.onmessage = (event) => quietly(() => answer((event as { data: number }).data));
    quietly(() => answer(0));
  }

  return {
    begin,
    stop: () => {
      started.stop();
      questions?.close();
    },
  };
}

/** A channel that keeps no thread alive. */
function quietChannel(name: string): BroadcastChannel {
  const channel = new BroadcastChannel(name);
  channel.unref();
  return channel;
}
