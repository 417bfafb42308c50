import type { WorkerAnswer } from '../telemetry/metrics/reports.js';
import type { RowPatch, Snapshot, Tick, TraceView, TransitionView } from './api.js';
import { EMPTY, pastOf, reduce, type State } from './live-store.js';
import type { News, Question, ThreadConsole } from './thread-console.js';

/** The other threads and cluster workers that one console shows. */
export interface Workers {
  ask(question: Question, only?: string): Promise<readonly WorkerAnswer[]>;
  announce(news: unknown): void;
  /** How many there are. */
  readonly size: number;
}

/** How far the news of one thread have been heard. */
interface Heard {
  newsId: number;
  /** Its breakers, and the numbers that events know them by. */
  readonly ids: Map<string, number>;
  sequence: number;
  panic: string | null;
  rulesProblem: string | null;
  tracing: boolean;
  hidden: number;
}

const OWN = '';

/**
 * The breakers of all threads and workers, as events tell of them.
 *
 * It keeps what a page would know that has been open all along, and so can tell one that has just been opened everything.
 */
export class Overview {
  readonly #own: ThreadConsole;
  readonly #workers: Workers;
  readonly #onTick: (tick: Tick) => void;
  readonly #heard = new Map<string, Heard>();
  #state: State = EMPTY;
  #lastId = 0;
  #lastSequence = 0;
  #isAsking = false;
  /** Whether the others have been heard. */
  #isComplete = false;

  /** @param onTick is told what is different */
  constructor(own: ThreadConsole, workers: Workers, onTick: (tick: Tick) => void) {
    this.#own = own;
    this.#workers = workers;
    this.#onTick = onTick;
  }

  /** Looks at this thread. */
  refreshOwn(): void {
    this.#tell([[OWN, this.#own.news(this.#newsIds())]]);
  }

  /** Looks at this thread, and at the others as soon as they have answered. */
  async refresh(): Promise<void> {
    this.refreshOwn();
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      const answers = await this.#workers.ask({ ask: 'news', have: this.#newsIds() });
      // Nobody may look any longer.
      if (!this.#isAsking) return;
      const news = answers.filter(({ answer }) => answer !== undefined && answer !== null);
      const gone = this.#goneSince(answers);
      this.#isComplete = true;
      if (news.length + gone.length === 0) return;
      this.#tell(
        news.map(({ worker, answer }) => [worker, answer as News]),
        gone,
      );
    } finally {
      this.#isAsking = false;
    }
  }

  /** Nobody looks. */
  forget(): void {
    this.#isAsking = this.#isComplete = false;
    this.#heard.clear();
    this.#state = EMPTY;
    this.#own.forget();
  }

  snapshot(about: Pick<Snapshot, 'service' | 'version' | 'admin'>): Snapshot {
    const { now, panic, rulesProblem, tracing, hidden, rows, transitions, traces } = this.#state;
    return {
      now: new Date(now).toISOString(),
      ...about,
      panic,
      rulesProblem,
      tracing,
      hidden,
      incomplete: this.#isIncomplete,
      changed: Array.from(rows, ([id, row]) => [id, { ...row.view, past: pastOf(row) }]),
      removed: [],
      transitions,
      traces,
    };
  }

  get #isIncomplete(): boolean {
    return !this.#isComplete && this.#workers.size > 0;
  }

  #newsIds(): number[] {
    return Array.from(this.#heard.values(), ({ newsId }) => newsId);
  }

  /** Workers that are not there any more. Those of a process that stands still are. */
  #goneSince(answers: readonly WorkerAnswer[]): string[] {
    const present = new Set(answers.map(({ worker }) => worker));
    const silent = answers.filter(({ answer }) => answer === undefined).map(({ worker }) => `${worker}-`);
    return [...this.#heard.keys()].filter(
      (worker) => worker !== OWN && !present.has(worker) && !silent.some((prefix) => worker.startsWith(prefix)),
    );
  }

  #tell(all: readonly (readonly [worker: string, news: News])[], gone: readonly string[] = []): void {
    const changed: RowPatch[] = [];
    const removed: number[] = [];
    const transitions: TransitionView[] = [];
    const traces: TraceView[] = [];
    for (const worker of gone) {
      removed.push(...this.#heard.get(worker)!.ids.values());
      this.#heard.delete(worker);
    }
    for (const [key, news] of all) {
      // What is different from something that was forgotten since.
      if (!news.whole && !this.#heard.has(key)) continue;
      const worker = key === OWN ? null : key;
      const heard = this.#heardOf(key);
      heard.newsId = news.id;
      heard.panic = news.panic;
      heard.rulesProblem = news.rulesProblem;
      heard.tracing = news.tracing;
      heard.hidden = news.hidden;
      const names = new Set(news.changed.map(([name]) => name));
      for (const name of news.whole ? heard.ids.keys() : news.removed) {
        if (news.whole && names.has(name)) continue;
        const id = heard.ids.get(name);
        if (id !== undefined) removed.push(id);
        heard.ids.delete(name);
      }
      for (const [name, patch] of news.changed) {
        let id = heard.ids.get(name);
        if (id === undefined) heard.ids.set(name, (id = ++this.#lastId));
        changed.push([id, patch.name === undefined ? patch : { ...patch, worker }]);
      }
      const { sequence } = heard;
      for (const transition of [...news.transitions].reverse()) {
        if (transition.sequence <= sequence) continue;
        heard.sequence = transition.sequence;
        transitions.unshift({ ...transition, worker, sequence: ++this.#lastSequence });
      }
      traces.push(...news.traces.map((trace) => ({ ...trace, worker })));
    }
    const everyone = [...this.#heard];
    const tick: Tick = {
      now: new Date().toISOString(),
      panic: everyone.map(([key, { panic }]) => panicWords(key, panic)).find((words) => words !== null) ?? null,
      rulesProblem: everyone.map(([, { rulesProblem }]) => rulesProblem).find((problem) => problem !== null) ?? null,
      tracing: everyone.some(([, { tracing }]) => tracing),
      hidden: everyone.reduce((sum, [, { hidden }]) => sum + hidden, 0),
      incomplete: this.#isIncomplete,
      changed,
      removed,
      transitions,
      traces,
    };
    this.#state = reduce(this.#state, { kind: 'tick', data: tick });
    this.#onTick(tick);
  }

  #heardOf(key: string): Heard {
    let heard = this.#heard.get(key);
    if (heard === undefined) {
      heard = { newsId: 0, ids: new Map(), sequence: 0, panic: null, rulesProblem: null, tracing: false, hidden: 0 };
      this.#heard.set(key, heard);
    }
    return heard;
  }
}

function panicWords(worker: string, panic: string | null): string | null {
  return panic === null || worker === OWN ? panic : `In worker ${worker}: ${panic}`;
}
