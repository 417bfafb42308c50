import { MAX_CAUSES, withoutStack } from './errors.js';

/**
 * What a breaker keeps of a failure: the error itself belongs to its caller, and may hold a response of megabytes or
 * another user's credentials.
 */
export interface FailureNote {
  readonly name: string;
  readonly message: string;
  readonly status: number | undefined;
  /** The first code along its chain of causes. */
  readonly code: string | undefined;
}

const MAX_LENGTH = 1_000;
const UNREADABLE: FailureNote = { name: 'Error', message: '', status: undefined, code: undefined };

export function noteOf(cause: unknown): FailureNote | undefined {
  if (cause === undefined) return undefined;
  try {
    return readNote(cause);
  } catch {
    // A getter of it throws.
    return UNREADABLE;
  }
}

function readNote(cause: unknown): FailureNote {
  if (cause === null || typeof cause !== 'object') {
    const message = typeof cause === 'function' ? 'a function was thrown' : short(String(cause));
    return { name: 'Error', message, status: undefined, code: undefined };
  }
  const { name, message } = cause as { name?: unknown; message?: unknown };
  return {
    name: typeof name === 'string' ? short(name) : 'Error',
    message: typeof message === 'string' ? short(message) : '',
    status: statusOf(cause),
    code: codeOf(cause),
  };
}

function statusOf(cause: object): number | undefined {
  const { status, statusCode } = cause as { status?: unknown; statusCode?: unknown };
  if (typeof status === 'number') return status;
  return typeof statusCode === 'number' ? statusCode : undefined;
}

function codeOf(cause: object): string | undefined {
  let current: unknown = cause;
  for (let depth = 0; depth < MAX_CAUSES && current !== null && typeof current === 'object'; depth++) {
    const { code, cause: next } = current as { code?: unknown; cause?: unknown };
    if (typeof code === 'string') return short(code);
    current = next;
  }
  return undefined;
}

function short(text: string): string {
  // Through a buffer: a slice would keep the whole of a long text in memory.
  return text.length <= MAX_LENGTH ? text : Buffer.from(text.slice(0, MAX_LENGTH)).toString();
}

/**
 * An error that stands for a failure in the `cause` of rejections. Without its code: client libraries make a call again
 * that failed with a connection code, wherever along `cause` they find it.
 */
export function errorOf({ name, message, status }: FailureNote): Error {
  const error = withoutStack(() => new Error(message));
  // Defined, never assigned: under --frozen-intrinsics nothing that Error.prototype has can be assigned.
  Object.defineProperty(error, 'name', { value: name, configurable: true, writable: true });
  if (status !== undefined) Object.defineProperty(error, 'status', { value: status, enumerable: true, writable: true });
  return error;
}
