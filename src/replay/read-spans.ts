import { createReadStream, statSync } from 'node:fs';
import { basename } from 'node:path';
import type { Readable } from 'node:stream';
import { BadInput } from './bad-input.js';
import { CallOrder, type OnCall } from './call-order.js';
import type { Calls } from './calls.js';
import { LEFT_OUT, type LeftOut } from './report.js';
import { readSpan, type Span } from './span.js';
import { SpanScanner } from './span-scanner.js';

const STANDARD_INPUT = '-';
// Large pieces: each is scanned at once.
const CHUNK_BYTES = 256 * 1024;

/** What was read, so far or in all. */
export interface ReadSoFar {
  bytes: number;
  /** Of all files; `undefined` where one of them is standard input. */
  readonly totalBytes: number | undefined;
  spans: number;
  calls: number;
  /** When the first call began, and the last. */
  fromMs: number;
  toMs: number;
  readonly leftOut: Record<LeftOut, number>;
  readonly sampling: Sampling;
}

/** What traces say of how many there were for each that was kept. */
export interface Sampling {
  /** Calls of traces that say so. */
  sampled: number;
  /** How many calls all calls stand for, as far as traces say so. */
  standFor: number;
}

/**
 * Reads the calls of files, in the order of their start.
 *
 * @param onProgress called between pieces
 * @throws BadInput, or the system's error where a file cannot be read
 */
export async function readCalls(
  files: readonly string[],
  input: Readable,
  calls: Calls,
  onCall: OnCall,
  onProgress: (soFar: ReadSoFar) => void,
): Promise<ReadSoFar> {
  const soFar: ReadSoFar = {
    bytes: 0,
    totalBytes: files.includes(STANDARD_INPUT) ? undefined : files.reduce((sum, file) => sum + statSync(file).size, 0),
    spans: 0,
    calls: 0,
    fromMs: Infinity,
    toMs: -Infinity,
    leftOut: Object.fromEntries(Object.keys(LEFT_OUT).map((reason) => [reason, 0])) as Record<LeftOut, number>,
    sampling: { sampled: 0, standFor: 0 },
  };
  const order = new CallOrder(onCall);
  for (const file of files) {
    const name = file === STANDARD_INPUT ? 'standard input' : basename(file);
    const before = soFar.spans;
    const scanner = new SpanScanner(name, (text, line) => take(readText(name, text, line), soFar, calls, order));
    const stream = file === STANDARD_INPUT ? input : createReadStream(file, { highWaterMark: CHUNK_BYTES });
    for await (const chunk of stream) {
      const bytes = chunk as Buffer;
      scanner.write(bytes);
      soFar.bytes += bytes.length;
      onProgress(soFar);
    }
    scanner.end();
    if (soFar.spans === before) {
      throw new BadInput(
        name,
        1,
        'there is no span in it; expected traces as JSON: of OTLP (resourceSpans, scopeSpans, spans) or of Jaeger (data, spans)',
      );
    }
  }
  order.end();
  return soFar;
}

function readText(file: string, text: string, line: number): Span {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const { message } = error as Error;
    const position = Number(/position (\d+)/.exec(message)?.[1] ?? 0);
    const at = line + text.slice(0, position).split('\n').length - 1;
    // Without the piece of the text that Node quotes.
    const [what] = message.split(/, (?:"|\.\.\.)| in JSON/);
    throw new BadInput(file, at, `${what}; expected a span as JSON`);
  }
  const span = readSpan(value);
  if (span === undefined) {
    throw new BadInput(file, line, 'it has no traceId and no traceID; expected a span of OTLP or of Jaeger');
  }
  return span;
}

function take(span: Span, soFar: ReadSoFar, calls: Calls, order: CallOrder): void {
  soFar.spans++;
  const reason = calls.read(span);
  if (reason !== undefined) {
    soFar.leftOut[reason]++;
    return;
  }
  const start = span.startMs!;
  if (!order.add(start, span.durationMs!, calls.target, calls.ending, calls.longRunning)) {
    soFar.leftOut.late++;
    return;
  }
  soFar.calls++;
  if (start < soFar.fromMs) soFar.fromMs = start;
  if (start > soFar.toMs) soFar.toMs = start;
  const share = span.traceState === '' ? 1 : shareKept(span.traceState);
  if (share < 1) soFar.sampling.sampled++;
  soFar.sampling.standFor += 1 / share;
}

const MAX_THRESHOLD = 2 ** 56;

/**
 * The share of traces that were kept, by OpenTelemetry's threshold: `ot=th:c` keeps a quarter.
 *
 * @see https://opentelemetry.io/docs/specs/otel/trace/tracestate-handling/#sampling-threshold-value-th
 */
export function shareKept(traceState: string): number {
  const threshold = /(?:^|,)\s*ot=(?:[^,]*;)?th:([0-9a-f]{1,14})(?:[;,\s]|$)/.exec(traceState)?.[1];
  if (threshold === undefined) return 1;
  return 1 - parseInt(threshold.padEnd(14, '0'), 16) / MAX_THRESHOLD;
}
