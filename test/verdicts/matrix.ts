import { once } from 'node:events';
import { join } from 'node:path';
import { PRELOAD, spawnNode } from '../support/child.js';
import { MariadbServer } from '../support/mariadb-server.js';
import { MongoServer } from '../support/mongo-server.js';
import { PostgresServer } from '../support/postgres-server.js';
import { RedisServer } from '../support/redis-server.js';
import { MailServer } from '../support/smtp-server.js';
import { serveHttp2, serveNobody, serveProxy, serveSilence, serveWeb, type FarEnd } from './far-ends.js';

/** What happens to calls, and how the table calls it. */
export const HAPPENINGS = {
  silent: 'never answers, given up after 1.2 s',
  timeout: 'never answers, given up after 0.5 s',
  cancel: 'cancelled by its caller after 0.2 s',
  syn: 'SYNs are dropped',
  tls: 'TLS never answers',
  reset: 'connection reset late',
  stale: 'kept connection reset at once',
  unread: 'good status, body unread',
  cut: 'body cut',
  events: 'event stream left at its last message',
  poll: 'long poll left early',
  mock: 'mock without a socket',
} as const;

export type Happening = keyof typeof HAPPENINGS;

/** What the breaker must say of each call, and whether the circuit then opens. */
export type Verdict = 'failure, opens' | 'failure' | 'ignored' | 'success' | 'no call';

/** One way of using one library, and the verdict on each thing that can happen to it; what is not there cannot. */
export interface Way {
  readonly title: string;
  readonly system: 'http' | 'http2' | 'redis' | 'postgresql' | 'mysql' | 'mongodb' | 'smtp';
  readonly verdicts: Readonly<Partial<Record<Happening, Verdict>>>;
}

/** All ways that are in one file of `clients/`, tried in one process. */
export interface Library {
  readonly file: string;
  readonly ways: readonly Way[];
}

/**
 * What `verdicts.md` says of every HTTP client. Only these two depend on the client: whether a caller that gives up within
 * `abandonedAfter` says to the request that time ran out, and whether connections are kept, so that one can be stale.
 */
function web(
  title: string,
  { namesTimeouts, keepsConnections }: { namesTimeouts: boolean; keepsConnections: boolean },
): Way {
  return {
    title,
    system: 'http',
    verdicts: {
      silent: 'failure, opens',
      timeout: namesTimeouts ? 'failure, opens' : 'ignored',
      cancel: 'ignored',
      syn: 'failure, opens',
      tls: 'failure, opens',
      reset: 'failure, opens',
      stale: keepsConnections ? 'ignored' : 'success',
      unread: 'success',
      cut: 'failure, opens',
      events: 'success',
      poll: 'ignored',
      mock: 'no call',
    },
  };
}

function webByHttp2(title: string, namesTimeouts: boolean): Way {
  // No library for tests answers in its place.
  const { mock: _, ...verdicts } = web(title, { namesTimeouts, keepsConnections: true }).verdicts;
  // A session that is lost fails its requests: nobody sends them again.
  return { title, system: 'http2', verdicts: { ...verdicts, stale: 'failure' } };
}

const NAMED = { namesTimeouts: true, keepsConnections: true };
const UNNAMED = { namesTimeouts: false, keepsConnections: true };

function redis(title: string): Way {
  return {
    title,
    system: 'redis',
    verdicts: {
      silent: 'failure, opens',
      timeout: 'failure, opens',
      cancel: 'ignored',
      syn: 'failure, opens',
      tls: 'failure, opens',
      reset: 'failure, opens',
      // ioredis connects and sends the command again.
      stale: 'success',
      cut: 'failure, opens',
      // A blocking command.
      poll: 'ignored',
    },
  };
}

function nodeRedis(title: string): Way {
  // It sends no command again.
  return { ...redis(title), verdicts: { ...redis(title).verdicts, stale: 'failure' } };
}

const DATABASE = {
  silent: 'failure, opens',
  timeout: 'failure, opens',
  cancel: 'ignored',
  syn: 'failure, opens',
  tls: 'failure, opens',
  reset: 'failure, opens',
  cut: 'failure, opens',
} as const;

export const LIBRARIES: readonly Library[] = [
  {
    file: 'http',
    ways: [
      web('http, setTimeout()', NAMED),
      web('http, AbortSignal.timeout()', NAMED),
      web('http, a timer and destroy(error)', UNNAMED),
    ],
  },
  {
    file: 'http2',
    ways: [
      webByHttp2('http2, setTimeout()', true),
      webByHttp2('http2, AbortSignal.timeout()', true),
      webByHttp2('http2, a timer and close()', false),
    ],
  },
  { file: 'axios', ways: [web('axios, timeout', NAMED), web('axios, signal', UNNAMED)] },
  { file: 'got', ways: [web('got, timeout', NAMED), web('got, signal', UNNAMED)] },
  {
    file: 'node-fetch',
    ways: [
      web('node-fetch 2, timeout', UNNAMED),
      web('node-fetch 2, signal', UNNAMED),
      web('node-fetch 3, signal', UNNAMED),
    ],
  },
  { file: 'superagent', ways: [web('superagent, timeout()', { namesTimeouts: false, keepsConnections: false })] },
  {
    file: 'fetch',
    ways: [
      web('fetch, AbortSignal.timeout()', NAMED),
      web('fetch, AbortController', UNNAMED),
      web('ky, timeout', UNNAMED),
    ],
  },
  {
    file: 'undici',
    ways: [
      web('undici 7, request()', UNNAMED),
      web('undici 7, request(), AbortSignal.timeout()', NAMED),
      web('undici 7, stream()', UNNAMED),
      web('undici 7, fetch()', UNNAMED),
      web('undici 6, request()', UNNAMED),
    ],
  },
  { file: 'llm', ways: [web('openai, timeout', UNNAMED), web('anthropic, timeout', UNNAMED)] },
  {
    file: 'aws',
    ways: [
      web('AWS SDK 3, socketTimeout', UNNAMED),
      web('AWS SDK 3, requestTimeout', NAMED),
      web('AWS SDK 3, abortSignal', UNNAMED),
    ],
  },
  { file: 'redis', ways: [redis('ioredis 6'), redis('ioredis 5')] },
  { file: 'node-redis', ways: [nodeRedis('node-redis 6'), nodeRedis('node-redis 5')] },
  {
    file: 'mysql2',
    ways: [
      { title: 'mysql2', system: 'mysql', verdicts: DATABASE },
      { title: 'mysql2, Pool', system: 'mysql', verdicts: { ...DATABASE, stale: 'failure' } },
    ],
  },
  {
    file: 'mongodb',
    ways: [
      {
        title: 'mongodb',
        system: 'mongodb',
        // It sends an operation again that has lost its connection.
        verdicts: { ...DATABASE, stale: 'success' },
      },
    ],
  },
  {
    file: 'pg',
    ways: [
      { title: 'pg', system: 'postgresql', verdicts: DATABASE },
      // A session is lost with its connection: nobody could send its statement again.
      { title: 'pg-pool', system: 'postgresql', verdicts: { ...DATABASE, stale: 'failure' } },
    ],
  },
  {
    file: 'nodemailer',
    ways: [
      { title: 'nodemailer, socketTimeout', system: 'smtp', verdicts: DATABASE },
      {
        title: 'nodemailer, signal',
        system: 'smtp',
        verdicts: { silent: 'failure, opens', timeout: 'ignored', cancel: 'ignored' },
      },
      // It sends a message again that has lost its connection.
      { title: 'nodemailer, pool', system: 'smtp', verdicts: { ...DATABASE, stale: 'success' } },
    ],
  },
];

const WAYS: readonly Way[] = LIBRARIES.flatMap(({ ways }) => ways);

/** What a breaker said of one thing that happened. */
export interface Seen {
  readonly verdict: string;
  /** What callers saw and the breaker counted, for a reader of a failed test. */
  readonly details: string;
}

interface Report {
  readonly before: number;
  readonly calls: number;
  /** No call had a good answer before. */
  readonly cold?: boolean;
  /** There may be more of them, or fewer where an attempt takes longer. */
  readonly atLeast?: boolean;
  /** So many calls go on waiting. */
  readonly waiting?: number;
  readonly saw: readonly string[];
  readonly counts?: Readonly<Record<'success' | 'failure' | 'ignored' | 'rejected' | 'inFlight', number>>;
  readonly state: string;
}

interface MockReport {
  readonly kind: string;
  readonly counts?: unknown;
  readonly saw: readonly string[];
}

interface Reports {
  readonly seen: Readonly<Record<string, Readonly<Partial<Record<Happening, Report | readonly MockReport[]>>>>>;
  /** The longest time for which the process did not get to listen. */
  readonly stoodMs: number;
}

// A text of 100 characters begins; a row of 100 bytes does.
const HALF_A_REPLY = Buffer.from('$100\r\nhalf');
const HALF_A_ROW = Buffer.from('D\0\0\0\x64\0\x01', 'latin1');
// A message of 100 bytes begins.
const HALF_A_MESSAGE = Buffer.from('\x64\0\0\0\x01', 'latin1');
const HALF_A_MULTILINE_REPLY = Buffer.from('250-half');
const HALF_A_PACKET = Buffer.from('\x64\0\0\x01\x01', 'latin1');

// From 100 ms on, a breaker takes it for a reason why an answer was not heard.
const STOOD_MS = 80;

/** The real servers behind what happens to calls of Redis, PostgreSQL, MySQL, MongoDB and SMTP, and a place where no connection can be made. */
export class Backends {
  private constructor(
    readonly redis: RedisServer,
    readonly postgres: PostgresServer,
    readonly mariadb: MariadbServer,
    readonly mongodb: MongoServer,
    readonly mail: MailServer,
    /** One for each way. */
    private readonly nobody: readonly FarEnd[],
  ) {}

  static async start(): Promise<Backends> {
    const started = [
      RedisServer.start(),
      PostgresServer.start(),
      MariadbServer.start(),
      MongoServer.start(),
      MailServer.start(),
      serveNobody(WAYS.length),
    ] as const;
    return new Backends(...(await Promise.all(started)));
  }

  nobodyFor(way: Way): FarEnd {
    return this.nobody[WAYS.indexOf(way)]!;
  }

  async stop(): Promise<void> {
    const { redis, postgres, mariadb, mongodb, mail } = this;
    const servers = [redis.remove(), postgres.stop(), mariadb.stop(), mongodb.kill(), mail.stop()];
    await Promise.all([...servers, ...this.nobody.map((farEnd) => farEnd.stop())]);
  }
}

/** By way and by what happened. */
export type SeenVerdicts = Readonly<Record<string, Readonly<Record<string, Seen>>>>;

/** What a process of its own finds out about one library. */
export class Trial {
  /** All of it. */
  static async of(library: Library, backends: Backends): Promise<SeenVerdicts> {
    const trial = new Trial(library, backends);
    try {
      await trial.load();
      return await trial.run();
    } finally {
      await trial.end();
    }
  }

  readonly #farEnds: FarEnd[] = [];
  #child: ReturnType<typeof spawnNode> | undefined;
  #stderr = '';

  constructor(
    private readonly library: Library,
    private readonly backends: Backends,
  ) {}

  /** Starts it; resolves when it has loaded everything, so that loading takes no time from what is timed. */
  async load(): Promise<void> {
    const ends: Record<string, Record<string, object>> = {};
    for (const way of this.library.ways) {
      const happenings = Object.keys(way.verdicts).filter((happening) => happening !== 'mock');
      if (isWeb(way.system)) happenings.push('warm');
      ends[way.title] = {};
      for (const happening of happenings) ends[way.title]![happening] = await this.#farEnd(way, happening);
    }
    const child = spawnNode({
      program: join(__dirname, 'child.cjs'),
      programArgs: [this.library.file],
      nodeArgs: PRELOAD,
      env: { VERDICTS: JSON.stringify(ends), OTEL_BREAKER_METRICS: 'off', AWS_EC2_METADATA_DISABLED: 'true' },
      ipc: true,
    });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
    this.#child = child;
    await this.#message();
  }

  /** Lets everything happen. @returns what became of it, by way and happening */
  async run(): Promise<SeenVerdicts> {
    const message = this.#message();
    this.#child!.send('go');
    const reports = (await message) as Reports;
    const seen: Record<string, Record<string, Seen>> = {};
    for (const [title, happenings] of Object.entries(reports.seen)) {
      seen[title] = {};
      for (const [happening, report] of Object.entries(happenings)) {
        seen[title][happening] = judge(report, reports.stoodMs >= STOOD_MS);
      }
    }
    return seen;
  }

  async end(): Promise<void> {
    const child = this.#child;
    if (child?.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    }
    await Promise.all(this.#farEnds.map((farEnd) => farEnd.stop()));
  }

  async #message(): Promise<unknown> {
    const child = this.#child!;
    const died = once(child, 'exit').then(() => {
      throw new Error(`The process of ${this.library.file} ended:\n${this.#stderr}`);
    });
    const [message] = (await Promise.race([once(child, 'message'), died])) as [unknown];
    died.catch(() => {});
    return message;
  }

  async #farEnd(way: Way, happening: string): Promise<object> {
    const { system } = way;
    const { port } = happening === 'syn' ? this.backends.nobodyFor(way) : await this.#own(system, happening);
    const address = `127.0.0.1:${port}`;
    if (system === 'redis') return { port, breaker: `redis://${address}` };
    if (system === 'mongodb' || system === 'smtp') return { port, breaker: `${system}://${address}` };
    if (!isWeb(system)) {
      const { user, database } = system === 'mysql' ? this.backends.mariadb : this.backends.postgres;
      const options = { host: '127.0.0.1', port, user, database };
      return { options, breaker: `${system}://${address}/${database}` };
    }
    const url = `${happening === 'tls' ? 'https' : 'http'}://${address}`;
    return { url, breaker: url };
  }

  async #own(system: Way['system'], happening: string): Promise<FarEnd> {
    const farEnd = await this.#makeFarEnd(system, happening);
    this.#farEnds.push(farEnd);
    return farEnd;
  }

  #makeFarEnd(system: Way['system'], happening: string): Promise<FarEnd> {
    const { redis, postgres, mariadb, mongodb, mail } = this.backends;
    if (happening === 'tls') return serveSilence();
    switch (system) {
      case 'http':
        return serveWeb(happening);
      case 'http2':
        return serveHttp2(happening);
      case 'redis':
        return serveProxy(redis.port, happening, HALF_A_REPLY);
      case 'postgresql':
        return serveProxy(postgres.port, happening, HALF_A_ROW);
      case 'mysql':
        return serveProxy(mariadb.port, happening, HALF_A_PACKET);
      case 'mongodb':
        return serveProxy(mongodb.port, happening, HALF_A_MESSAGE);
      case 'smtp':
        return serveProxy(mail.port, happening, HALF_A_MULTILINE_REPLY);
    }
  }
}

function isWeb(system: Way['system']): boolean {
  return system === 'http' || system === 'http2';
}

function judge(report: Report | readonly MockReport[], hasStood: boolean): Seen {
  const details = JSON.stringify({ ...report, hasStood }, undefined, 2);
  if (!('state' in report)) {
    const counted = report.filter(({ counts }) => counts !== undefined).map(({ kind }) => kind);
    return { verdict: counted.length === 0 ? 'no call' : `calls of ${counted.join(' and ')}`, details };
  }
  const { before, cold = false, calls, atLeast = false, waiting = 0, counts, state } = report;
  if (counts === undefined) return { verdict: 'no breaker', details };
  const opens = state === 'closed' ? '' : ', opens';
  const isExcused = opens !== '' ? cold || hasStood : hasStood && counts.failure > counts.ignored;
  const told = Object.entries({
    success: counts.success - before,
    failure: counts.failure,
    // A target that may be starting is excused for a while, and so are some by a machine that is busy with other things.
    ignored: isExcused ? 0 : counts.ignored,
    rejected: opens === '' ? counts.rejected : 0,
    'in flight': counts.inFlight - waiting,
  }).filter(([, count]) => count !== 0);
  const [[outcome, count] = ['nothing', 0]] = told;
  const isPlain = told.length === 1 && (count === calls || atLeast || opens !== '' || hasStood);
  const verdict = isPlain ? outcome : `${told.map(([what, many]) => `${many} ${what}`).join(' + ')} of ${calls}`;
  return { verdict: verdict + opens, details };
}
