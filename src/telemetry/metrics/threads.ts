import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { BroadcastChannel, threadId, type Worker } from 'node:worker_threads';
import { Inquiries, quietly, Reports, type Report, type Reporter } from './reports.js';

// All threads of a process share these names, and nothing else does. Two, so that no thread hears what others answer.
const QUESTIONS = 'otel-breaker.threads.2.questions';
const ANSWERS = 'otel-breaker.threads.2.answers';
// Half of what a cluster's primary waits for a worker, which may have threads.
const PATIENCE_MS = 500;

/** What all threads hear. */
type Question =
  | { readonly about: 'numbers'; readonly round: number }
  | {
      readonly about: 'console';
      readonly round: number;
      readonly question: unknown;
      readonly only?: string | undefined;
    }
  | { readonly about: 'news'; readonly news: unknown };

type Answer =
  | {
      readonly about: 'numbers';
      /** The question's; 0 where nobody asked. */
      readonly round: number;
      readonly thread: number;
      /** The threads that it has started itself. */
      readonly threads: readonly number[];
      readonly numbers: ThreadNumbers;
    }
  | { readonly about: 'console'; readonly round: number; readonly thread: number; readonly answer: unknown };

/** The console's side of a thread. */
export interface ThreadRespondent {
  answer(question: unknown): unknown;
  hear(news: unknown): void;
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
    ask: (round) => put({ about: 'numbers', round }),
  });
  const inquiries = new Inquiries<number>(PATIENCE_MS);
  const announced: unknown[] = [];

  function put(question: Question): void {
    channels?.questions.postMessage(question);
  }

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

  function hear(answer: Answer): void {
    const { thread, round } = answer;
    const worker = nameOf(thread);
    if (answer.about === 'console') return inquiries.heard(thread, round, [{ worker, answer: answer.answer }]);
    startedBy.set(thread, answer.threads);
    reports.heard(thread, round, [{ worker, ...answer.numbers }]);
    // It says by itself that it is there; whoever knows the news already takes no notice.
    if (round === 0) for (const news of announced) put({ about: 'news', news });
  }

  return {
    reports: () => reports.all(),
    get size() {
      return reports.workers().length;
    },
    ask: async (question, only) => {
      const asked = reports.workers().filter((thread) => only === undefined || nameOf(thread) === only);
      const answers = await inquiries.ask(asked, (round) => put({ about: 'console', round, question, only }));
      return asked.flatMap((thread) => answers.get(thread) ?? [{ worker: nameOf(thread), answer: undefined }]);
    },
    announce: (news) => {
      announced.push(news);
      put({ about: 'news', news });
    },
    stop: () => {
      started.stop();
      channels?.questions.close();
      channels?.answers.close();
      channels = undefined;
      reports.clear();
      inquiries.clear();
    },
  };
}

function nameOf(thread: number): string {
  return `thread-${thread}`;
}

/**
 * Tells the main thread the numbers of this one, whenever it asks.
 *
 * @param respondent answers what the console of the main thread asks
 * @returns `begin`, to be called when there is something to tell: threads without breakers, and that start none, stay unheard of
 */
export function reportToMainThread(
  tell: () => ThreadNumbers,
  respondent: ThreadRespondent,
): { begin(): void; stop(): void } {
  // At once, before the new thread has anything to tell: nobody else knows that it runs.
  const started = new StartedThreads(() => {
    if (questions === undefined) begin();
    else tellNumbers(0);
  });
  let questions: BroadcastChannel | undefined;

  function tellNumbers(round: number): void {
    answer({ about: 'numbers', round, thread: threadId, threads: started.ids(), numbers: tell() });
  }

  function hear(question: Question): void {
    if (question.about === 'numbers') return tellNumbers(question.round);
    if (question.about === 'news') return respondent.hear(question.news);
    const { round, only } = question;
    if (only !== undefined && only !== nameOf(threadId)) return;
    answer({ about: 'console', round, thread: threadId, answer: respondent.answer(question.question) });
  }

  function answer(message: Answer): void {
    // Opened for each answer: an open one would be sent the answers of all other threads.
    const answers = new BroadcastChannel(ANSWERS);
    answers.postMessage(message);
    answers.close();
  }

  function begin(): void {
    if (questions !== undefined) return;
    questions = quietChannel(QUESTIONS);
    questions.onmessage = (event) => quietly(() => hear((event as { data: Question }).data));
    quietly(() => tellNumbers(0));
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
