import type { Attributes } from '@opentelemetry/api';
import { log } from '../log.js';
import type { BreakerNumbers, Numbers, ProcessNumbers, Standing } from './metrics.js';
import { setTimeout, clearTimeout } from '../../breaker/real-time.js';

/** What a worker has counted: another thread of this process, or another process of a cluster. */
export interface Report {
  /** How it is told apart from the others. */
  readonly worker: string;
  readonly breakers: readonly BreakerNumbers[];
  readonly process: ProcessNumbers;
  /** Of breakers whose numbers leave elsewhere, such as through an SDK of the worker. */
  readonly standings?: readonly Standing[];
}

/** What one worker answers to a question of the console: plain data, `undefined` where it did not answer in time. */
export interface WorkerAnswer {
  readonly worker: string;
  readonly answer: unknown;
}

/** What a worker does with what the console asks and tells; telemetry passes it on and knows nothing of it. */
export interface Respondent {
  /** @param only the one worker that is meant, as this one's asker knows it; '' is this one, default all */
  answer(question: unknown, only?: string): Promise<readonly WorkerAnswer[]>;
  hear(news: unknown): void;
}

/** Somebody who knows of workers. */
export interface Reporter {
  /** What they have counted so far; of those that are busy, what they last said. */
  reports(): Promise<readonly Report[]>;
  /**
   * Asks them something else than numbers, and waits once for those that are busy.
   *
   * @param only the one worker that is meant; default all
   */
  ask(question: unknown, only?: string): Promise<readonly WorkerAnswer[]>;
  /** How many there are. */
  readonly size: number;
  /** Tells them something, and those that come later as well. Nobody answers. */
  announce(news: unknown): void;
  stop(): void;
}

export interface Askable<Worker> {
  /** Asks all workers for their reports, which come in by `heard`. */
  ask(round: number): void;
  /** Everything is forgotten of one that is not. */
  isAlive(worker: Worker): boolean;
  /** How long to wait for those that answered the last time, in milliseconds. */
  readonly patience: number;
}

interface Known {
  reports: readonly Report[];
  /** The last round that it has answered. */
  round: number;
  /** It did not answer in time: not waited for until it answers again. */
  late: boolean;
}

/**
 * The reports of a set of workers, asked for when somebody wants to know.
 *
 * A worker may be busy for seconds, stuck, or about to end: it is waited for once, and then stands with what it last said
 * until it answers or is gone.
 */
export class Reports<Worker> {
  readonly #known = new Map<Worker, Known>();
  readonly #workers: Askable<Worker>;
  #round = 0;
  #pending: Promise<void> | undefined;
  #answered: (() => void) | undefined;

  constructor(workers: Askable<Worker>) {
    this.#workers = workers;
  }

  /** @param round the one that it answers; 0 where nobody asked */
  heard(worker: Worker, round: number, reports: readonly Report[]): void {
    // Here too: workers may come and go for years without anybody asking.
    this.#forgetDead();
    this.#known.set(worker, { reports, round, late: false });
    this.#answered?.();
  }

  /** Those that have been heard and live. */
  workers(): Worker[] {
    this.#forgetDead();
    return [...this.#known.keys()];
  }

  async all(): Promise<Report[]> {
    this.#forgetDead();
    if (this.#known.size === 0) return [];
    // Two scrapers at a time share the answers.
    await (this.#pending ??= this.#ask().finally(() => (this.#pending = undefined)));
    this.#forgetDead();
    return Array.from(this.#known.values(), ({ reports }) => reports).flat();
  }

  clear(): void {
    this.#known.clear();
    this.#answered?.();
  }

  #ask(): Promise<void> {
    const round = ++this.#round;
    const owing = () => [...this.#known.values()].filter((known) => known.round < round && !known.late);
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#answered = undefined;
        for (const known of owing()) known.late = true;
        resolve();
      };
      const timer = setTimeout(end, this.#workers.patience);
      timer.unref();
      this.#answered = () => void (owing().length === 0 && end());
      this.#workers.ask(round);
      this.#answered?.();
    });
  }

  #forgetDead(): void {
    for (const worker of this.#known.keys()) if (!this.#workers.isAlive(worker)) this.#known.delete(worker);
  }
}

interface Inquiry<Worker> {
  readonly owing: Set<Worker>;
  readonly answers: Map<Worker, readonly WorkerAnswer[]>;
  end(): void;
}

/** Questions to workers, each with answers of its own. Who did not answer in time is not waited for until it does. */
export class Inquiries<Worker> {
  readonly #open = new Map<number, Inquiry<Worker>>();
  readonly #late = new Set<Worker>();
  #round = 0;

  /** @param patience how long to wait, in milliseconds */
  constructor(private readonly patience: number) {}

  /** @param send puts the question to all of them */
  ask(
    workers: readonly Worker[],
    send: (round: number) => void,
  ): Promise<ReadonlyMap<Worker, readonly WorkerAnswer[]>> {
    const answers = new Map<Worker, readonly WorkerAnswer[]>();
    if (workers.length === 0) return Promise.resolve(answers);
    const round = ++this.#round;
    for (const worker of this.#late) if (!workers.includes(worker)) this.#late.delete(worker);
    return new Promise((resolve) => {
      const owing = new Set(workers.filter((worker) => !this.#late.has(worker)));
      const end = () => {
        clearTimeout(timer);
        this.#open.delete(round);
        for (const worker of owing) this.#late.add(worker);
        resolve(answers);
      };
      const timer = setTimeout(end, this.patience);
      timer.unref();
      this.#open.set(round, { owing, answers, end });
      send(round);
      if (owing.size === 0) end();
    });
  }

  heard(worker: Worker, round: number, answers: readonly WorkerAnswer[]): void {
    this.#late.delete(worker);
    const inquiry = this.#open.get(round);
    if (inquiry === undefined) return;
    inquiry.answers.set(worker, answers);
    inquiry.owing.delete(worker);
    if (inquiry.owing.size === 0) inquiry.end();
  }

  clear(): void {
    for (const inquiry of this.#open.values()) inquiry.end();
    this.#late.clear();
  }
}

/** Does something for a message or an event that the application knows nothing of: an error must not become its own. */
export function quietly(act: () => void): void {
  try {
    act();
  } catch (error) {
    log.warn('what workers tell may be missing', error);
  }
}

/** The numbers of workers, each under a label of its own. */
export function labelled(reports: readonly Report[]): Numbers {
  return {
    breakers: reports.flatMap(({ worker, breakers }) => breakers.map((one) => underWorker(worker, one))),
    processes: reports.map(({ worker, process }) => ({ ...process, labels: { worker } })),
  };
}

/** What the health of workers is judged by, each under a label of its own. */
export function labelledStandings(reports: readonly Report[]): Standing[] {
  return reports.flatMap(({ worker, breakers, standings = [] }) =>
    [...breakers, ...standings].map((one) => underWorker(worker, one)),
  );
}

function underWorker<T extends Standing>(worker: string, one: T): T {
  return { ...one, labels: { ...one.labels, worker } satisfies Attributes };
}
