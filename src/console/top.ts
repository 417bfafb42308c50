import { allowsColour } from '../environment.js';
import { get, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import type { CircuitState } from '../breaker/state.js';
import type { Message, Row, State } from './live-store.js';
import { callsPerSecond, EMPTY, notServed, recentCalls, reduce, sum } from './live-store.js';
import {
  day,
  fleetTrouble,
  milliseconds,
  moment,
  percent,
  perSecond,
  progressOf,
  STATE_SIGNS,
  STATE_WORDS,
  untilProbe,
} from './format.js';
import { headline } from './headline.js';
import { ORDERS, sortRows, type Order } from './row-order.js';

const DEFAULT_ADDRESS = 'http://127.0.0.1:9464';
const RETRY_MS = 1_000;
const TIMELINE_LINES = 6;
const TREND_BUCKETS = 24;
const COLUMNS = [30, 12, 14, 10, 9, 9, 8];

/** Where `top` draws: a terminal, or whatever the output of a command is piped into. */
export interface TopOutput {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
}

/** Keys that are pressed: a terminal's input. */
export interface TopInput {
  readonly isTTY?: boolean | undefined;
  setRawMode?(raw: boolean): unknown;
  on(event: 'data', listener: (keys: Buffer | string) => void): unknown;
  off(event: 'data', listener: (keys: Buffer | string) => void): unknown;
  resume(): unknown;
  pause(): unknown;
}

/** Which breakers are shown, and in what order. */
export interface Choice {
  readonly sort: Order;
  /** A part of the name, of the worker or of the state; empty for all. */
  readonly filter: string;
}

export interface TopOptions extends Partial<Choice> {
  /** Where keys come from; without it, none are listened to. */
  readonly input?: TopInput | undefined;
  /** Ends it. */
  readonly signal?: AbortSignal | undefined;
  /** Whether to colour; default: in a terminal, unless NO_COLOR is set. */
  readonly colour?: boolean | undefined;
}

/**
 * The console's list of breakers in a terminal, live, until it is ended. Where the output is no terminal, it is written
 * once.
 *
 * @param address of a process under the preload: a URL, `host:port` or a port; default the preload's own default
 * @returns the exit code: 1 where nothing answered and there is no terminal to wait in, or where the address is none
 */
export async function runTop(
  address: string | undefined,
  output: TopOutput,
  { signal, input, sort = 'state', filter = '', colour = output.isTTY === true && allowsColour() }: TopOptions = {},
): Promise<number> {
  const choice: Choice = { sort, filter };
  const url = addressOf(address ?? DEFAULT_ADDRESS);
  if (url === undefined) {
    output.write(`"${printable(address ?? '')}" is no address. Use a URL, host:port or a port.\n`);
    return 1;
  }
  if (output.isTTY !== true) return printOnce(output, url, choice, colour, signal);
  // Left to Node, Ctrl-C would end the process with the terminal still on the other screen, and without a cursor.
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort();
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  try {
    const end = AbortSignal.any([interrupted.signal, ...(signal ? [signal] : [])]);
    return await followIn(output, url, new Keys(choice, input, interrupt), colour, end);
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  }
}

// Workers of a cluster are asked when somebody looks, and answer a moment after the first event.
const WORKERS_TAKE_MS = 1_500;

async function printOnce(
  output: TopOutput,
  url: URL,
  choice: Choice,
  colour: boolean,
  signal: AbortSignal | undefined,
): Promise<number> {
  let state = EMPTY;
  const enough = AbortSignal.timeout(WORKERS_TAKE_MS);
  try {
    for await (const message of readMessages(url, AbortSignal.any([enough, ...(signal ? [signal] : [])]))) {
      state = reduce(state, message);
      if (!state.incomplete) break;
    }
    if (!state.loaded) return 1;
    output.write(`${draw(state, colour, Infinity, 132, '', choice).join('\n')}\n`);
    return 0;
  } catch (error) {
    output.write(`${url.host} does not answer: ${printable((error as Error).message)}\n`);
    return 1;
  }
}

// The alternate screen, so that what stood in the terminal before is there again afterwards; and no cursor.
const ENTER_SCREEN = '\x1b[?1049h\x1b[?25l';
const LEAVE_SCREEN = '\x1b[?25h\x1b[?1049l';
// Each line is cleared to its end as it is written, and the rest of the screen at last: nothing flickers.
const HOME = '\x1b[H';
const CLEAR_LINE = '\x1b[K';
const CLEAR_BELOW = '\x1b[J';

async function followIn(output: TopOutput, url: URL, keys: Keys, colour: boolean, signal: AbortSignal) {
  let state = EMPTY;
  let trouble = '';
  const show = () => {
    const note = trouble || `${url.host}${keys.help}`;
    const lines = draw(state, colour, output.rows ?? 24, output.columns ?? 80, note, keys.choice);
    output.write(`${HOME}${lines.map((line) => `${line}${CLEAR_LINE}`).join('\n')}${CLEAR_BELOW}`);
  };
  output.write(ENTER_SCREEN);
  keys.start(show);
  try {
    while (!isAborted(signal)) {
      try {
        for await (const message of readMessages(url, signal)) {
          state = reduce(state, message);
          trouble = '';
          show();
        }
        trouble = `${url.host} has ended the connection, retrying`;
      } catch (error) {
        trouble = `${url.host} does not answer (${printable((error as Error).message)}), retrying`;
      }
      state = reduce(state, { kind: 'lost' });
      show();
      await pause(signal);
    }
  } finally {
    keys.stop();
    output.write(LEAVE_SCREEN);
  }
  return 0;
}

/** What is chosen by keys: `s` sorts by the next column, `/` filters by what is typed until Enter or Escape, `q` ends. */
class Keys {
  choice: Choice;
  #isTyping = false;
  readonly #input: TopInput | undefined;
  #listener = (_: Buffer | string): void => {};

  constructor(
    choice: Choice,
    input: TopInput | undefined,
    private readonly end: () => void,
  ) {
    this.choice = choice;
    this.#input = input?.isTTY === true ? input : undefined;
  }

  get help(): string {
    const { sort, filter } = this.choice;
    if (this.#isTyping) return `   /${filter}▏`;
    const filtered = filter === '' ? '' : `, filter "${printable(filter)}"`;
    return this.#input === undefined
      ? `${filtered}, Ctrl-C ends`
      : `   s: sorted by ${sort}   /: filter${filtered}   q: end`;
  }

  start(show: () => void): void {
    if (this.#input === undefined) return;
    this.#listener = (keys) => {
      // Pasted text and the codes of arrow keys come as one piece.
      for (const key of String(keys).replace(/\x1b\[[0-9;]*[A-Za-z~]/g, '')) this.#press(key);
      show();
    };
    this.#input.setRawMode?.(true);
    this.#input.on('data', this.#listener);
    this.#input.resume();
  }

  stop(): void {
    if (this.#input === undefined) return;
    this.#input.off('data', this.#listener);
    this.#input.setRawMode?.(false);
    this.#input.pause();
  }

  #press(key: string): void {
    const { sort, filter } = this.choice;
    // In raw mode, Ctrl-C is a key like any other.
    if (key === '\x03' || (key === 'q' && !this.#isTyping)) return this.end();
    if (this.#isTyping) {
      if (key === '\r' || key === '\n') this.#isTyping = false;
      else if (key === '\x1b') {
        this.#isTyping = false;
        this.choice = { sort, filter: '' };
      } else if (key === '\x7f' || key === '\b') this.choice = { sort, filter: filter.slice(0, -1) };
      else if (key >= ' ') this.choice = { sort, filter: filter + key };
    } else if (key === '/') this.#isTyping = true;
    else if (key === '\x1b') this.choice = { sort, filter: '' };
    else if (key === 's') this.choice = { sort: ORDERS[(ORDERS.indexOf(sort) + 1) % ORDERS.length]!, filter };
  }
}

// A function, so that the compiler does not take it for settled once it was looked at.
function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

function pause(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, RETRY_MS);
    signal?.addEventListener('abort', end);
    if (isAborted(signal)) end();
  });
}

async function* readMessages(url: URL, signal: AbortSignal | undefined): AsyncGenerator<Message> {
  const answer = await open(url, signal);
  if (answer === undefined) return;
  if (answer.statusCode !== 200) {
    answer.destroy();
    throw new Error(`it answered with status ${answer.statusCode}; is a console there?`);
  }
  let kind = '';
  try {
    for await (const line of createInterface({ input: answer })) {
      if (line.startsWith('event: ')) kind = line.slice('event: '.length);
      else if (line.startsWith('data: ')) {
        yield { kind, data: JSON.parse(line.slice('data: '.length)) as never } as Message;
      }
    }
  } finally {
    answer.destroy();
  }
}

/** @returns `undefined` where it was ended before there was an answer */
function open(url: URL, signal: AbortSignal | undefined): Promise<IncomingMessage | undefined> {
  return new Promise((resolve, reject) => {
    const request = get(new URL('events', url), (answer) => {
      // Ended on purpose or not: to a reader, the stream is at its end.
      answer.on('error', () => answer.destroy());
      resolve(answer);
    });
    request.on('error', (error) => (isAborted(signal) ? resolve(undefined) : reject(error)));
    signal?.addEventListener('abort', () => request.destroy(), { once: true });
    if (isAborted(signal)) request.destroy();
  });
}

function addressOf(text: string): URL | undefined {
  const full = /^\d+$/.test(text) ? `127.0.0.1:${text}` : text;
  try {
    const url = new URL(/^https?:\/\//.test(full) ? full : `http://${full}`);
    if (url.protocol !== 'http:') return undefined;
    if (!url.pathname.endsWith('/')) url.pathname += '/';
    return url;
  } catch {
    return undefined;
  }
}

const COLOURS: Readonly<Record<CircuitState | 'quiet' | 'strong', string>> = {
  closed: '32',
  open: '31;1',
  half_open: '33',
  quiet: '2',
  strong: '1',
};

const EVERYTHING: Choice = { sort: 'state', filter: '' };

/** The screen as lines, none wider and not more of them than it has room for. */
export function draw(
  state: State,
  colour: boolean,
  height: number,
  width: number,
  note = '',
  { sort, filter }: Choice = EVERYTHING,
): string[] {
  const paint = (kind: keyof typeof COLOURS, text: string) => (colour ? `\x1b[${COLOURS[kind]}m${text}\x1b[0m` : text);
  const all = sortRows(state.rows.values(), sort, state.now);
  const wanted = filter.toLowerCase();
  const rows = all.filter((row) => wanted === '' || textOf(row).includes(wanted));
  const count = (circuit: CircuitState) => all.filter(({ view }) => view.state === circuit).length;
  const summary = (['open', 'half_open', 'closed'] as const).map(
    (circuit) => `${count(circuit)} ${STATE_WORDS[circuit]}`,
  );
  const head = fit(
    `${printable(state.service) || 'otel-breaker'}: ${summary.join(', ')}${note && `   ${note}`}`,
    width,
  );
  const panic = state.panic === null ? '' : fit(`panic, no call is rejected: ${printable(state.panic)}`, width);
  const withoutFleet = fit(fleetTrouble(all.map(({ view }) => view)), width);
  const { level, text } = headline(state);
  const sentence = level === 'fine' ? '' : fit(printable(text), width);

  const today = day(new Date(state.now).toISOString());
  const changes = state.transitions.slice(0, TIMELINE_LINES).map(({ at, name, worker, to, reason }) => {
    const who = printable(worker === null ? name : `${name} (${worker})`);
    const text = `${moment(at, today)}  ${STATE_SIGNS[to]} ${STATE_WORDS[to].padEnd(9)}  ${who}: ${printable(reason)}`;
    return paint(to, fit(text, width));
  });
  const timeline = changes.length === 0 ? [] : ['', ...changes];
  const room = Math.max(height - timeline.length - (sentence === '' ? 3 : 4) - (withoutFleet === '' ? 0 : 1), 1);
  const shown = rows.length > room ? rows.slice(0, Math.max(room - 1, 0)) : rows;
  const hidden = rows.length - shown.length + state.hidden;
  return [
    paint('strong', head),
    panic && paint('open', panic),
    ...(withoutFleet === '' ? [] : [paint('half_open', withoutFleet)]),
    ...(sentence === '' ? [] : [paint(level === 'open' ? 'open' : 'half_open', sentence)]),
    paint('quiet', fit(line(TITLES, 'last two minutes'), width)),
    ...shown.map((row) => paint(row.view.state, fit(describe(row, state.now), width))),
    ...(hidden > 0 ? [paint('quiet', fit(`… and ${hidden} more`, width))] : []),
    ...(rows.length < all.length && shown.length === 0 ? [paint('quiet', 'None of that kind.')] : []),
    ...timeline,
  ].slice(0, height);
}

const MIN_NAME = 8;
const TITLES = ['breaker', 'state', 'next probe', 'not served', 'calls', 'rejected', 'p95'];

function textOf({ view: { name, worker, state, mode } }: Row): string {
  return `${name} ${worker === null ? '' : `worker ${worker}`} ${STATE_WORDS[state]} ${mode}`.toLowerCase();
}

function describe(row: Row, now: number): string {
  const { view } = row;
  const remarks = [view.worker === null ? '' : `worker ${view.worker}`, view.mode === 'enforce' ? '' : view.mode];
  const said = remarks.filter((each) => each !== '').join(', ');
  const remark = said && ` (${said})`;
  return line(
    [
      // Where there is no room for both, the name is cut: the remark tells rows of one name apart.
      `${fit(printable(view.name), Math.max(COLUMNS[0]! - remark.length, MIN_NAME))}${remark}`,
      `${STATE_SIGNS[view.state]} ${STATE_WORDS[view.state]}`,
      view.state === 'open' ? untilProbe(view.openUntil, now) : progressOf(view),
      percent(notServed(row, now)),
      perSecond(callsPerSecond(row, now)),
      String(view.calls.rejected),
      view.latency === null ? '' : milliseconds(view.latency.p95),
    ],
    trend(row, now),
  );
}

function line(cells: readonly string[], last: string): string {
  return `${cells.map((cell, index) => fit(cell, COLUMNS[index]!).padEnd(COLUMNS[index]!)).join('  ')}  ${last}`;
}

const BARS = ' ▁▂▃▄▅▆▇█';

function trend(row: Row, now: number): string {
  const sums = recentCalls(row, now).slice(-TREND_BUCKETS).map(sum);
  const top = Math.max(1, ...sums);
  return sums.map((calls) => BARS[Math.ceil((calls / top) * (BARS.length - 1))]).join('');
}

/** Names and reasons come from elsewhere, and a terminal obeys what it is told in control characters. */
function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, '�');
}

function fit(text: string, width: number): string {
  const characters = [...text];
  return characters.length <= width ? text : `${characters.slice(0, Math.max(width - 1, 0)).join('')}…`;
}
