import { allowsColour } from '../environment.js';
import { get, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import type { CircuitState } from '../breaker/state.js';
import type { Message, Row, State } from './live-store.js';
import { callsPerSecond, EMPTY, reduce, sortRows } from './live-store.js';
import { clock, percent, perSecond, STATE_SIGNS, STATE_WORDS, untilProbe } from './format.js';

const DEFAULT_ADDRESS = 'http://127.0.0.1:9464';
const RETRY_MS = 1_000;
const TIMELINE_LINES = 6;
const TREND_SECONDS = 20;
const COLUMNS = [30, 12, 14, 8, 9, 9];

/** Where `top` draws: a terminal, or whatever the output of a command is piped into. */
export interface TopOutput {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
}

export interface TopOptions {
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
  { signal, colour = output.isTTY === true && allowsColour() }: TopOptions = {},
): Promise<number> {
  const url = addressOf(address ?? DEFAULT_ADDRESS);
  if (url === undefined) {
    output.write(`"${printable(address ?? '')}" is no address. Use a URL, host:port or a port.\n`);
    return 1;
  }
  if (output.isTTY !== true) return printOnce(output, url, colour, signal);
  // Left to Node, Ctrl-C would end the process with the terminal still on the other screen, and without a cursor.
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort();
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  try {
    return await followIn(output, url, colour, AbortSignal.any([interrupted.signal, ...(signal ? [signal] : [])]));
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  }
}

async function printOnce(output: TopOutput, url: URL, colour: boolean, signal: AbortSignal | undefined) {
  try {
    for await (const message of readMessages(url, signal)) {
      output.write(`${draw(reduce(EMPTY, message), colour, Infinity, 120).join('\n')}\n`);
      return 0;
    }
    return 1;
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

async function followIn(output: TopOutput, url: URL, colour: boolean, signal: AbortSignal | undefined) {
  let state = EMPTY;
  let trouble = '';
  const show = () => {
    const lines = draw(state, colour, output.rows ?? 24, output.columns ?? 80, trouble || `${url.host}, Ctrl-C ends`);
    output.write(`${HOME}${lines.map((line) => `${line}${CLEAR_LINE}`).join('\n')}${CLEAR_BELOW}`);
  };
  output.write(ENTER_SCREEN);
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
    output.write(LEAVE_SCREEN);
  }
  return 0;
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

/** The screen as lines, none wider and not more of them than it has room for. */
export function draw(state: State, colour: boolean, height: number, width: number, note = ''): string[] {
  const paint = (kind: keyof typeof COLOURS, text: string) => (colour ? `\x1b[${COLOURS[kind]}m${text}\x1b[0m` : text);
  const rows = sortRows(state.rows.values());
  const count = (circuit: CircuitState) => rows.filter(({ view }) => view.state === circuit).length;
  const summary = (['open', 'half_open', 'closed'] as const).map(
    (circuit) => `${count(circuit)} ${STATE_WORDS[circuit]}`,
  );
  const head = fit(
    `${printable(state.service) || 'otel-breaker'}: ${summary.join(', ')}${note && `   ${note}`}`,
    width,
  );
  const panic = state.panic === null ? '' : fit(`panic, no call is rejected: ${printable(state.panic)}`, width);

  const changes = state.transitions.slice(0, TIMELINE_LINES).map(({ at, name, to, reason }) => {
    const text = `${clock(at)}  ${STATE_SIGNS[to]} ${STATE_WORDS[to].padEnd(9)}  ${printable(name)}: ${printable(reason)}`;
    return paint(to, fit(text, width));
  });
  const timeline = changes.length === 0 ? [] : ['', ...changes];
  const room = Math.max(height - timeline.length - 3, 1);
  const shown = rows.length > room ? rows.slice(0, Math.max(room - 1, 0)) : rows;
  const hidden = rows.length - shown.length;
  return [
    paint('strong', head),
    panic && paint('open', panic),
    paint(
      'quiet',
      fit(line(['breaker', 'state', 'next probe', 'failing', 'calls', 'rejected'], 'last seconds'), width),
    ),
    ...shown.map((row) => paint(row.view.state, fit(describe(row, state.now), width))),
    ...(hidden > 0 ? [paint('quiet', fit(`… and ${hidden} more`, width))] : []),
    ...timeline,
  ].slice(0, height);
}

function describe(row: Row, now: number): string {
  const { view } = row;
  const mode = view.mode === 'enforce' ? '' : ` (${view.mode})`;
  return line(
    [
      `${printable(view.name)}${mode}`,
      `${STATE_SIGNS[view.state]} ${STATE_WORDS[view.state]}`,
      view.state === 'open' ? untilProbe(view.openUntil, now) : '',
      percent(view.failureRate),
      perSecond(callsPerSecond(row)),
      String(view.calls.rejected + view.unenforced),
    ],
    trend(row),
  );
}

function line(cells: readonly string[], last: string): string {
  return `${cells.map((cell, index) => fit(cell, COLUMNS[index]!).padEnd(COLUMNS[index]!)).join('  ')}  ${last}`;
}

const BARS = ' ▁▂▃▄▅▆▇█';

function trend({ rates }: Row): string {
  const sums = rates.slice(-TREND_SECONDS).map(({ succeeded, failed, rejected }) => succeeded + failed + rejected);
  const top = Math.max(1, ...sums);
  return sums.map((sum) => BARS[Math.ceil((sum / top) * (BARS.length - 1))]).join('');
}

/** Names and reasons come from elsewhere, and a terminal obeys what it is told in control characters. */
function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, '�');
}

function fit(text: string, width: number): string {
  const characters = [...text];
  return characters.length <= width ? text : `${characters.slice(0, Math.max(width - 1, 0)).join('')}…`;
}
