import type { ChildProcess } from 'node:child_process';
import type { Cluster, Worker } from 'node:cluster';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { BroadcastChannel, isMainThread } from 'node:worker_threads';
import type { Engine, EngineListener } from './engine.js';
import { Ledger } from './ledger.js';
import type { Message, Reply, Request } from './protocol.js';
import { setTimeout, clearTimeout } from '../breaker/real-time.js';

// All threads of a process share these names. Two, so that no thread hears what others ask.
const UP = 'otel-breaker.fleet.1.up';
const DOWN = 'otel-breaker.fleet.1.down';
// As with numbers: Node hands such messages on as `internalMessage`, which no application sees.
const COMMAND = 'NODE_OTEL_BREAKER_FLEET';
const INTERNAL = 'internalMessage';

interface Upward {
  readonly from: string;
  readonly number: number;
  readonly request: Request | undefined;
}
type Downward =
  | { readonly to: string; readonly number: number; readonly reply: Reply | undefined }
  | { readonly to: undefined; readonly message: Message };

type Channel = Pick<ChildProcess, 'connected' | 'send'>;

/**
 * The fleet of one machine: the ledger is in the main thread of the first process, its threads ask it through a channel, and
 * the workers of its cluster through theirs. Nothing is opened for a process that has neither.
 */
export function createLocalEngine(id: string): Engine {
  if (!isMainThread) return new RemoteEngine(id, byBroadcast);
  return isWorker() ? new WorkerEngine(id) : new Hub();
}

function isWorker(): boolean {
  return process.send !== undefined && loadCluster().isWorker;
}

function loadCluster(): Cluster {
  return require('node:cluster') as Cluster;
}

/** Whole milliseconds that only grow, the same in all threads. */
function now(): number {
  return Math.floor(performance.timeOrigin + performance.now());
}

/** Passes what threads ask on, and what they are told. */
class ThreadDesk {
  #channels: { readonly up: BroadcastChannel; readonly down: BroadcastChannel } | undefined;
  readonly #onThread = () => this.#open();

  constructor(private readonly receive: (upward: Upward, answer: (downward: Downward) => void) => void) {
    subscribe('worker_threads', this.#onThread);
  }

  tell(downward: Downward): void {
    this.#channels?.down.postMessage(downward);
  }

  stop(): void {
    unsubscribe('worker_threads', this.#onThread);
    this.#channels?.up.close();
    this.#channels?.down.close();
    this.#channels = undefined;
  }

  #open(): void {
    if (this.#channels !== undefined) return;
    const up = quietChannel(UP);
    this.#channels = { up, down: quietChannel(DOWN) };
    up.onmessage = (event) =>
      quietly(() => this.receive((event as { data: Upward }).data, (downward) => this.tell(downward)));
  }
}

/** Where the ledger is. */
class Hub implements Engine {
  readonly isConnected = true;
  #listener: EngineListener | undefined;
  readonly #ledger = new Ledger((message) => this.#publish(message));
  readonly #threads = new ThreadDesk((upward, answer) => this.#receive(upward, answer));
  readonly #workers = new Map<Worker, (message: unknown) => void>();
  readonly #onChild = (event: unknown) => this.#listenTo((event as { process: ChildProcess }).process);

  constructor() {
    // At once: an application may start its workers before anything else.
    subscribe('child_process', this.#onChild);
  }

  start(listener: EngineListener): void {
    this.#listener = listener;
    listener.onConnected();
  }

  send(request: Request, done: (reply: Reply | undefined) => void): void {
    done(this.#ledger.apply(request, now()));
  }

  restart(): void {
    // Nothing to connect to.
  }

  stop(): void {
    unsubscribe('child_process', this.#onChild);
    for (const [worker, listener] of this.#workers) worker.process.off(INTERNAL, listener);
    this.#workers.clear();
    this.#threads.stop();
  }

  #receive({ from, number, request }: Upward, answer: (downward: Downward) => void): void {
    const reply = request === undefined ? undefined : this.#ledger.apply(request, now());
    answer({ to: from, number, reply });
  }

  #publish(message: Message): void {
    // Nobody hears of it within the call that brought it about.
    queueMicrotask(() => quietly(() => this.#listener?.onMessage(message)));
    const downward: Downward = { to: undefined, message };
    this.#threads.tell(downward);
    for (const worker of this.#workers.keys()) {
      if (worker.isDead()) this.#workers.delete(worker);
      else put(worker.process, downward);
    }
  }

  // Told of each child without a listener on anything of the application's. Cluster makes a worker of it right after.
  #listenTo(child: ChildProcess): void {
    process.nextTick(() =>
      quietly(() => {
        const worker = Object.values(loadCluster().workers ?? {}).find((one) => one?.process === child);
        if (worker === undefined) return;
        const listener = (message: unknown) =>
          quietly(() => {
            const upward = take<Upward>(message);
            if (upward !== undefined) this.#receive(upward, (downward) => put(worker.process, downward));
          });
        this.#workers.set(worker, listener);
        worker.process.on(INTERNAL, listener);
      }),
    );
  }
}

type Way = (hear: (downward: Downward) => void) => { put(upward: Upward): void; stop(): void };

/** The engine of whoever has to ask. */
class RemoteEngine implements Engine {
  isConnected = false;
  #listener: EngineListener | undefined;
  #way: ReturnType<Way> | undefined;
  #number = 0;
  #helloTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #open = new Map<number, (reply: Reply | undefined) => void>();

  constructor(
    private readonly id: string,
    private readonly find: Way,
  ) {}

  start(listener: EngineListener): void {
    this.#listener = listener;
    quietly(() => {
      this.#way = this.find((downward) => this.hear(downward));
      this.#hello(100);
    });
  }

  send(request: Request, done: (reply: Reply | undefined) => void): void {
    const number = ++this.#number;
    this.#open.set(number, done);
    this.#way?.put({ from: this.id, number, request });
  }

  restart(): void {
    this.isConnected = false;
    const open = [...this.#open.values()];
    this.#open.clear();
    for (const done of open) done(undefined);
    this.#hello(1_000);
  }

  stop(): void {
    clearTimeout(this.#helloTimer);
    this.#way?.stop();
  }

  protected hear(downward: Downward): void {
    if (downward.to === undefined) {
      if (this.isConnected) this.#listener!.onMessage(downward.message);
      return;
    }
    if (downward.to !== this.id) return;
    if (downward.number === 0 && !this.isConnected) {
      this.isConnected = true;
      clearTimeout(this.#helloTimer);
      this.#listener!.onConnected();
      return;
    }
    const done = this.#open.get(downward.number);
    this.#open.delete(downward.number);
    done?.(downward.reply);
  }

  /** Until somebody answers: there may be nobody who ever will. */
  #hello(wait: number): void {
    clearTimeout(this.#helloTimer);
    this.#way?.put({ from: this.id, number: 0, request: undefined });
    this.#helloTimer = setTimeout(() => this.#hello(Math.min(2 * wait, 30_000)), wait).unref();
  }
}

/** A worker of a cluster asks its primary, for its own threads as well. */
class WorkerEngine extends RemoteEngine {
  readonly #threads: ThreadDesk;
  readonly #askers = new Map<string, (downward: Downward) => void>();

  constructor(id: string) {
    super(id, byProcess);
    this.#threads = new ThreadDesk((upward, answer) => {
      this.#askers.set(upward.from, answer);
      put(process as Channel, upward);
    });
  }

  override stop(): void {
    super.stop();
    this.#threads.stop();
  }

  protected override hear(downward: Downward): void {
    if (downward.to === undefined) this.#threads.tell(downward);
    else this.#askers.get(downward.to)?.(downward);
    super.hear(downward);
  }
}

const byBroadcast: Way = (hear) => {
  const up = quietChannel(UP);
  const down = quietChannel(DOWN);
  down.onmessage = (event) => quietly(() => hear((event as { data: Downward }).data));
  // It hears nothing there: what others ask is none of its business.
  return {
    put: (upward) => up.postMessage(upward),
    stop: () => {
      up.close();
      down.close();
    },
  };
};

const byProcess: Way = (hear) => {
  const listener = (message: unknown) =>
    quietly(() => {
      const downward = take<Downward>(message);
      if (downward !== undefined) hear(downward);
    });
  process.on(INTERNAL, listener);
  return {
    put: (upward) => put(process as Channel, upward),
    stop: () => void process.off(INTERNAL, listener),
  };
};

function put(to: Channel, content: Upward | Downward): void {
  // With a callback, an error is told there; without, it would be an event of the application's process.
  if (to.connected) to.send({ cmd: COMMAND, content }, () => {});
}

function take<Content>(message: unknown): Content | undefined {
  const { cmd, content } = (message ?? {}) as { cmd?: unknown; content?: Content };
  return cmd === COMMAND ? content : undefined;
}

/** What others send must not become an error of the application. */
function quietly(act: () => void): void {
  try {
    act();
  } catch {
    // Without the fleet's word, each decides by itself.
  }
}

/** A channel that keeps no thread alive. */
function quietChannel(name: string): BroadcastChannel {
  const channel = new BroadcastChannel(name);
  channel.unref();
  return channel;
}
