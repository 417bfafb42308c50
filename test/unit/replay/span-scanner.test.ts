import { expect } from 'chai';
import { BadInput } from '../../../src/replay/bad-input.js';
import { SpanScanner } from '../../../src/replay/span-scanner.js';

type Found = [text: string, line: number];

function scan(text: string, chunkBytes = Infinity): Found[] {
  const found: Found[] = [];
  const scanner = new SpanScanner('traces.json', (span, line) => found.push([span, line]));
  const bytes = Buffer.from(text);
  for (let from = 0; from < bytes.length; from += chunkBytes) {
    // A copy, spoilt afterwards: streams use their buffers again.
    const chunk = Buffer.from(bytes.subarray(from, from + chunkBytes));
    scanner.write(chunk);
    chunk.fill(0);
  }
  scanner.end();
  return found;
}

const SPANS = [
  { a: 1, text: 'with "quotes", \\ and } ] { [' },
  { nested: { spans: [{ inner: true }] }, list: [[{}], 'é 🔥'] },
  {},
  { 'a\\': 'ends with a backslash \\', n: null },
];

describe('SpanScanner', () => {
  const document = {
    other: { spans: 'no list' },
    resourceSpans: [{ scopeSpans: [{ spans: SPANS, scope: {} }] }],
    n: -1.5e3,
  };

  it('finds each span of a document, whatever pieces it comes in', () => {
    for (const text of [
      JSON.stringify(document),
      JSON.stringify(document, null, 2),
      `\uFEFF${JSON.stringify([document])}`,
    ]) {
      const whole = scan(text);
      expect(whole.map(([span]) => JSON.parse(span) as unknown)).to.deep.equal(SPANS);
      for (const size of [1, 2, 3, 7, 64]) expect(scan(text, size)).to.deep.equal(whole);
    }
  });

  it('finds the spans of one document after another, and the line of each', () => {
    const line = (span: object) => JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: [span, span] }] }] });
    const found = scan(`${line({ a: 1 })}\n\n${line({ b: 2 })}\r\n${line({ c: 3 })}`);
    expect(found.map(([text, at]) => `${at}: ${text}`)).to.deep.equal([
      '1: {"a":1}',
      '1: {"a":1}',
      '3: {"b":2}',
      '3: {"b":2}',
      '4: {"c":3}',
      '4: {"c":3}',
    ]);
  });

  it('takes nothing for a span that stands elsewhere', () => {
    for (const text of [
      '{"spans": {"a": 1}}',
      '[{"a": 1}]',
      '{"a": [{"b": 1}]}',
      '{"spans": [[{"a": 1}], 1, "x", null]}',
      '{"aspans":[{}]}',
    ]) {
      expect(scan(text), text).to.deep.equal([]);
    }
  });

  const BAD: Readonly<Record<string, [text: string, message: string]>> = {
    'is no JSON': ['service: shop\n', 'traces.json:1: found "s"; expected a JSON document'],
    'has two values without a comma': ['{"a": 1\n"b": 2}', 'traces.json:2: found "\\""; expected "," or "}"'],
    'closes what is not open': ['{"a": [1}', 'traces.json:1: found "}"; expected "," or "]"'],
    'has a key without quotes': ['{\n a: 1}', 'traces.json:2: found "a"; expected a key in quotes or "}"'],
    'has no colon': ['{"a" 1}', 'traces.json:1: found "1"; expected ":"'],
    'has a word that is no value': ['{"a":\n\ntru }', 'traces.json:3: "tru" is no value of JSON; expected a value'],
    'has a value after a value': ['{"a": 1 2}', 'traces.json:1: found "2"; expected "," or "}"'],
    'ends within an object': ['{"a": [1,\n2', 'traces.json:2: the file ends; expected "," or "]"'],
    'ends within a text': ['{"a": "b', 'traces.json:1: the file ends within a text; expected a quote'],
    'has a line end within a text': ['{"a": "b\nc"}', 'traces.json:1: a line ends within a text; expected a quote'],
    'ends within a span': [
      '{"spans": [\n{"a": "b',
      'traces.json:2: the file ends within a span; expected the rest of the one of line 2',
    ],
    'is compressed': [
      '\u001f\u008b',
      'traces.json:1: it is compressed; expected JSON. Unpack it on the way: zstd -dc FILE | otel-breaker replay -',
    ],
  };
  for (const [what, [text, message]] of Object.entries(BAD)) {
    it(`says file, line and what was expected where the input ${what}`, () => {
      for (const size of [1, 1_000]) expect(() => scan(text, size)).to.throw(BadInput, message);
    });
  }
});
