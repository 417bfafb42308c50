/** What a rejected call is answered with in the place of a `503`: http, http2, undici and fetch. */
export interface RespondWith {
  /** From 200 to 599; default 200. */
  readonly status?: number | undefined;
  /** Besides the type of the body, which is known of JSON, texts and files. */
  readonly headers?: Readonly<Record<string, string | number>> | undefined;
  /** A string, bytes, or any other value, which is sent as JSON. At most 64 KB; not set: none. */
  readonly body?: unknown;
  /** A file in the place of `body`, read with the rules: relative to the rules file, in code to the working directory. */
  readonly file?: string | undefined;
}

/** A body as it is sent. */
export interface Body {
  readonly bytes: Buffer;
  readonly type: string | undefined;
}

/** What is wrong with a part of an answer, in words. */
interface Words {
  readonly consequence: string;
  readonly allowed: string;
}

export const MAX_BODY_BYTES = 64 * 1_024;
export const RESPOND_WITH_KEYS: readonly (keyof RespondWith)[] = ['status', 'headers', 'body', 'file'];

const DEFAULT_STATUS = 200;
const HEADER_NAME = /^[\w!#$%&'*+.^`|~-]+$/;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
// What the length and the connection are is not for rules to say.
const OWN_HEADERS = /^(?:content-length|transfer-encoding|connection|keep-alive|trailer|upgrade|x-otel-breaker)$/i;

export function statusOf({ status = DEFAULT_STATUS }: RespondWith): number {
  return status;
}

/** The body of an answer. @throws where its value cannot be written as JSON */
export function bodyOf({ body }: RespondWith): Body {
  if (body === undefined) return { bytes: Buffer.alloc(0), type: undefined };
  if (typeof body === 'string') return { bytes: Buffer.from(body), type: 'text/plain; charset=utf-8' };
  // Copied: whoever gets it may write into it.
  if (body instanceof Uint8Array) return { bytes: Buffer.from(body), type: 'application/octet-stream' };
  return { bytes: Buffer.from(JSON.stringify(body)), type: 'application/json' };
}

/** What is wrong with an answer, or `undefined` where nothing is. */
export function checkRespondWith(value: unknown): Words | undefined {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    return { consequence: 'it is no answer', allowed: 'Use "status", "headers", and "body" or "file".' };
  }
  const unknown = Object.keys(value).find((key) => !(RESPOND_WITH_KEYS as readonly string[]).includes(key));
  if (unknown !== undefined) {
    return { consequence: `"${unknown}" is no part of an answer`, allowed: `Use ${RESPOND_WITH_KEYS.join(', ')}.` };
  }
  for (const key of RESPOND_WITH_KEYS) {
    const part = (value as RespondWith)[key];
    const problem = part === undefined ? undefined : checkAnswerPart(key, part);
    if (problem !== undefined) return { ...problem, consequence: `${key}: ${problem.consequence}` };
  }
  return checkAnswerTogether(value);
}

/** What is wrong with one part of an answer by itself. */
export function checkAnswerPart(key: keyof RespondWith, value: unknown): Words | undefined {
  switch (key) {
    case 'status':
      if (Number.isInteger(value) && (value as number) >= 200 && (value as number) <= 599) return undefined;
      return { consequence: 'no answer has such a status', allowed: 'Use a whole number from 200 to 599.' };
    case 'headers':
      return checkHeaders(value);
    case 'body':
      return checkBody(value);
    case 'file':
      if (typeof value === 'string' && value !== '') return undefined;
      return { consequence: 'no file can have it for a name', allowed: 'Use the path of a file.' };
  }
}

/** What is wrong with the parts of an answer together. */
export function checkAnswerTogether({ body, file }: RespondWith): Words | undefined {
  if (body === undefined || file === undefined) return undefined;
  return { consequence: 'an answer has one body, and here are two', allowed: 'Use "body" or "file".' };
}

function checkHeaders(value: unknown): Words | undefined {
  const allowed = 'Use names of headers with a text or a number each.';
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    return { consequence: 'there are no headers to read', allowed };
  }
  for (const [name, header] of Object.entries(value as Record<string, unknown>)) {
    if (!HEADER_NAME.test(name)) return { consequence: `"${name}" is no name of a header`, allowed };
    if (OWN_HEADERS.test(name)) {
      return { consequence: `"${name}" is written for each answer`, allowed: 'Use other headers.' };
    }
    const isText = typeof header === 'string' || typeof header === 'number';
    if (!isText || !HEADER_VALUE.test(String(header))) {
      return { consequence: `the value of "${name}" cannot be sent`, allowed };
    }
  }
  return undefined;
}

function checkBody(body: unknown): Words | undefined {
  let length: number;
  try {
    length = bodyOf({ body }).bytes.byteLength;
  } catch {
    return { consequence: 'it cannot be written as JSON', allowed: 'Use a text, or a value that JSON knows.' };
  }
  if (length <= MAX_BODY_BYTES) return undefined;
  return {
    consequence: `it has ${length} bytes, which each rejected call would get`,
    allowed: `Use at most ${MAX_BODY_BYTES} bytes.`,
  };
}
