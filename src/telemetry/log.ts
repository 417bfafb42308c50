import { writeSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { diag, DiagLogLevel, type DiagLogger } from '@opentelemetry/api';
import { logLevelName, variables } from '../environment.js';
import { PACKAGE } from '../version.js';

type Level = 'error' | 'warn' | 'info' | 'debug';

const LEVELS: Readonly<Record<Level, DiagLogLevel>> = {
  error: DiagLogLevel.ERROR,
  warn: DiagLogLevel.WARN,
  info: DiagLogLevel.INFO,
  debug: DiagLogLevel.DEBUG,
};

const diagLogger: DiagLogger = diag.createComponentLogger({ namespace: PACKAGE.name });
let printUpTo: DiagLogLevel = DiagLogLevel.NONE;

/**
 * Prints to stderr what OpenTelemetry's diag would swallow because it has no logger, up to `OTEL_LOG_LEVEL` (default
 * `info`). For the preload, which runs where nobody may have set one; stdout stays the application's own.
 */
export function printWithoutDiag(env = variables()): void {
  const level: unknown = DiagLogLevel[logLevelName(env) as keyof typeof DiagLogLevel];
  // A number: of the enum's reverse side, "30" would be one of its names.
  printUpTo = typeof level === 'number' ? level : DiagLogLevel.INFO;
}

/** One line to OpenTelemetry's diag, or to stderr where the preload found no logger behind it. */
export const log: Readonly<Record<Level, (message: string, ...details: unknown[]) => void>> = {
  error: (message, ...details) => write('error', message, details),
  warn: (message, ...details) => write('warn', message, details),
  info: (message, ...details) => write('info', message, details),
  debug: (message, ...details) => write('debug', message, details),
};

function write(level: Level, text: string, details: unknown[]): void {
  // Whoever has a line to write is in the middle of somebody's call: a logger that throws must not become its error.
  try {
    const message = oneLine(text);
    if (hasDiagLogger()) diagLogger[level](message, ...details);
    else if (LEVELS[level] <= printUpTo) print([message, ...details.map(describe)].join(': '));
  } catch {
    // There is nobody left to tell.
  }
}

function print(message: string): void {
  const line = `${PACKAGE.name}: ${message}\n`;
  // A thread's stderr is piped into that of the main thread, which an error would end without anything to be done here.
  if (!isMainThread) return void writeSync(STDERR, line);
  const { stderr } = process;
  stderr.write(line, (error) => {
    if (error) outlive(stderr);
  });
}

const STDERR = 2;

let outlived: NodeJS.WriteStream | undefined;

/**
 * Where nobody reads stderr any more, the stream has an error for each write, and one that nobody listens for ends the
 * process. Heard for good: the error of our line makes the next one end it, also where the application writes that.
 */
function outlive(stderr: NodeJS.WriteStream): void {
  if (outlived === stderr) return;
  outlived = stderr;
  stderr.on('error', () => {});
}

/** What was thrown may be anything: an object without a prototype has no text, and a getter may throw. */
function describe(detail: unknown): string {
  try {
    return String(detail instanceof Error ? detail.message : detail);
  } catch {
    return 'an error that cannot be read';
  }
}

/** Names of hosts stand in messages, and a line end in one must not look like the next line of a log. */
function oneLine(text: string): string {
  return text.replace(
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Whether OpenTelemetry's diag has a logger to write to. */
export function hasDiagLogger(): boolean {
  // Where the API keeps its globals, one object for all copies of major version 1.
  const globals = (globalThis as Record<symbol, { diag?: unknown } | undefined>)[Symbol.for('opentelemetry.js.api.1')];
  return globals?.diag !== undefined;
}
