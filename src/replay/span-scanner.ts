import { BadInput } from './bad-input.js';

const [TAB, LINE_END, RETURN, SPACE] = [9, 10, 13, 32];
const [QUOTE, COMMA, COLON, BACKSLASH] = [34, 44, 58, 92];
const [ARRAY, ARRAY_END, OBJECT, OBJECT_END] = [91, 93, 123, 125];
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];
const GZIP = 0x1f;
const ZSTD = 0x28;

/** What may come next, outside of spans. */
type Expected = 'document' | 'value' | 'value or ]' | 'key' | 'key or }' | ':' | ', or ]' | ', or }';

const WORDS: Readonly<Record<Expected, string>> = {
  document: 'a JSON document',
  value: 'a value',
  'value or ]': 'a value or "]"',
  key: 'a key in quotes',
  'key or }': 'a key in quotes or "}"',
  ':': '":"',
  ', or ]': '"," or "]"',
  ', or }': '"," or "}"',
};

// The one key that OTLP, Jaeger and Tempo have in common.
const SPANS = 'spans';
// Longer than any word or number of JSON.
const MAX_SCALAR = 400;
const SCALAR = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)$/;
const MAX_SPAN_BYTES = 32 * 1024 * 1024;

interface Container {
  readonly end: number;
  readonly isSpans: boolean;
}

/**
 * Finds spans in JSON of any size, piece by piece: the objects of each list that stands under the key `spans`, however
 * deep, in one document or in many. Nothing but the span at hand is in memory, and its text goes to `JSON.parse`, which
 * is faster than any parser of events.
 */
export class SpanScanner {
  #expected: Expected = 'document';
  readonly #stack: Container[] = [];
  #line = 1;
  /** Of the pair that is read: whether its value is a list of spans. */
  #key = '';
  // A text or a word that is under way.
  #inText = false;
  #isEscaped = false;
  #text = '';
  #scalar = '';
  // A span that is under way: how deep, where it began, and what of it came in earlier pieces.
  #inSpan = false;
  #depth = 0;
  #spanLine = 0;
  #parts: Buffer[] = [];
  #partBytes = 0;
  // How much of a byte order mark has been passed over.
  #markBytes = 0;

  /** @param onSpan gets the text of a span, and the line that it begins in */
  constructor(
    private readonly file: string,
    private readonly onSpan: (text: string, line: number) => void,
  ) {}

  /** @throws BadInput where it is no JSON */
  write(chunk: Buffer): void {
    let index = 0;
    while (index < chunk.length && chunk[index] === BYTE_ORDER_MARK[this.#markBytes]) {
      index++;
      this.#markBytes++;
    }
    // Nothing but a document may come there, and none begins like this.
    if (this.#markBytes === 0 && (chunk[0] === GZIP || chunk[0] === ZSTD)) {
      this.#fail('it is compressed; expected JSON. Unpack it on the way: zstd -dc FILE | otel-breaker replay -');
    }
    if (index < chunk.length) this.#markBytes = BYTE_ORDER_MARK.length;
    while (index < chunk.length) index = this.#inSpan ? this.#scanSpan(chunk, index) : this.#scanAround(chunk, index);
  }

  /** @throws BadInput where something is missing at the end */
  end(): void {
    if (this.#inSpan) this.#fail(`the file ends within a span; expected the rest of the one of line ${this.#spanLine}`);
    this.#endScalar();
    if (this.#inText) this.#fail('the file ends within a text; expected a quote');
    if (this.#expected !== 'document') this.#fail(`the file ends; expected ${WORDS[this.#expected]}`);
  }

  /** As far as the end of the span or of the chunk: what is well formed is left to `JSON.parse`. */
  #scanSpan(chunk: Buffer, from: number): number {
    let index = from;
    let depth = this.#depth;
    let inText = this.#inText;
    let lines = 0;
    if (this.#isEscaped) {
      index++;
      this.#isEscaped = false;
    }
    const end = chunk.length;
    while (index < end) {
      const byte = chunk[index++]!;
      if (inText) {
        if (byte === BACKSLASH) index++;
        else if (byte === QUOTE) inText = false;
      } else if (byte === QUOTE) inText = true;
      else if (byte === OBJECT || byte === ARRAY) depth++;
      else if (byte === OBJECT_END || byte === ARRAY_END) {
        if (--depth === 0) break;
      } else if (byte === LINE_END) lines++;
    }
    this.#isEscaped = index > end;
    this.#depth = depth;
    this.#inText = inText;
    index = Math.min(index, end);
    if (depth > 0) {
      this.#keep(chunk.subarray(from, index));
      this.#line += lines;
      return index;
    }
    this.#inSpan = false;
    const text =
      this.#partBytes === 0 ? chunk.toString('utf8', from, index) : this.#joined(chunk.subarray(from, index));
    this.onSpan(text, this.#spanLine);
    this.#line += lines;
    this.#expected = ', or ]';
    return index;
  }

  /** A copy: the buffer is used again for the next chunk. */
  #keep(part: Buffer): void {
    this.#partBytes += part.length;
    if (this.#partBytes > MAX_SPAN_BYTES) {
      this.#fail(`the span of line ${this.#spanLine} has more than ${MAX_SPAN_BYTES} bytes; expected its end`);
    }
    this.#parts.push(Buffer.from(part));
  }

  #joined(last: Buffer): string {
    const text = Buffer.concat([...this.#parts, last]).toString('utf8');
    this.#parts = [];
    this.#partBytes = 0;
    return text;
  }

  #scanAround(chunk: Buffer, from: number): number {
    for (let index = from; index < chunk.length; index++) {
      const byte = chunk[index]!;
      if (this.#inText) this.#takeInText(byte);
      else if (byte === LINE_END) {
        this.#endScalar();
        this.#line++;
      } else if (byte === SPACE || byte === RETURN || byte === TAB) this.#endScalar();
      else if (byte === OBJECT && this.#stack.at(-1)?.isSpans && this.#isValueExpected && this.#scalar === '') {
        this.#inSpan = true;
        this.#spanLine = this.#line;
        return index;
      } else this.#take(byte);
    }
    return chunk.length;
  }

  #takeInText(byte: number): void {
    if (this.#isEscaped) this.#isEscaped = false;
    else if (byte === BACKSLASH) this.#isEscaped = true;
    else if (byte === QUOTE) {
      this.#inText = false;
      if (this.#isKeyExpected) {
        this.#key = this.#text;
        this.#expected = ':';
      } else this.#valueEnds();
      return;
    } else if (byte === LINE_END) this.#fail('a line ends within a text; expected a quote');
    if (this.#text.length <= SPANS.length) this.#text += String.fromCharCode(byte);
  }

  #take(byte: number): void {
    if (byte === COMMA || byte === ARRAY_END || byte === OBJECT_END) this.#endScalar();
    switch (byte) {
      case OBJECT:
      case ARRAY:
        return this.#open(byte);
      case OBJECT_END:
      case ARRAY_END:
        return this.#close(byte);
      case COMMA:
        if (this.#expected === ', or ]') this.#expected = 'value';
        else if (this.#expected === ', or }') this.#expected = 'key';
        else this.#failAt(byte);
        return;
      case COLON:
        if (this.#expected !== ':') this.#failAt(byte);
        this.#expected = 'value';
        return;
      case QUOTE:
        if (this.#scalar !== '' || (!this.#isValueExpected && !this.#isKeyExpected)) this.#failAt(byte);
        this.#inText = true;
        this.#text = '';
        return;
      default:
        if (!this.#isValueExpected || this.#scalar.length > MAX_SCALAR) this.#failAt(byte);
        this.#scalar += String.fromCharCode(byte);
    }
  }

  get #isValueExpected(): boolean {
    return this.#expected === 'value' || this.#expected === 'value or ]';
  }

  get #isKeyExpected(): boolean {
    return this.#expected === 'key' || this.#expected === 'key or }';
  }

  #open(byte: number): void {
    if (this.#scalar !== '' || (!this.#isValueExpected && this.#expected !== 'document')) this.#failAt(byte);
    const isSpans = byte === ARRAY && this.#stack.at(-1)?.end === OBJECT_END && this.#key === SPANS;
    this.#stack.push({ end: byte === ARRAY ? ARRAY_END : OBJECT_END, isSpans });
    this.#expected = byte === ARRAY ? 'value or ]' : 'key or }';
  }

  #close(byte: number): void {
    const fits =
      byte === ARRAY_END
        ? this.#expected === ', or ]' || this.#expected === 'value or ]'
        : this.#expected === ', or }' || this.#expected === 'key or }';
    if (!fits) this.#failAt(byte);
    this.#stack.pop();
    this.#valueEnds();
  }

  #valueEnds(): void {
    const container = this.#stack.at(-1);
    if (container === undefined) this.#expected = 'document';
    else this.#expected = container.end === ARRAY_END ? ', or ]' : ', or }';
  }

  #endScalar(): void {
    if (this.#scalar === '') return;
    const text = this.#scalar;
    this.#scalar = '';
    if (!SCALAR.test(text)) this.#fail(`${JSON.stringify(text)} is no value of JSON; expected ${WORDS.value}`);
    this.#valueEnds();
  }

  #failAt(byte: number): never {
    const found = JSON.stringify(String.fromCharCode(byte));
    return this.#fail(`found ${found}; expected ${WORDS[this.#expected]}`);
  }

  #fail(problem: string): never {
    throw new BadInput(this.file, this.#line, problem);
  }
}
