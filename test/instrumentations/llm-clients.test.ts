import '../support/built-in-undici.js';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import Anthropic from '@anthropic-ai/sdk';
import { expect } from 'chai';
import OpenAI from 'openai';
import { UndiciBreakerInstrumentation } from '../../instrumentations/undici/undici-instrumentation.js';
import { findCircuitOpenError } from '../../src/breaker/errors.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { counts, TestGuard } from '../support/guarded.js';
import { findDeadPort, serve, stopServers } from '../support/servers.js';

type ApiError = Error & { status?: number; headers?: Headers };

/** One SDK: makes a request to an origin, and reads a stream of answers to its end. */
interface Sdk {
  complete(origin: string): Promise<unknown>;
  stream(origin: string): Promise<number>;
  /** The server's part of a stream. */
  chunk(res: ServerResponse): void;
  end(res: ServerResponse): void;
}

const openai: Sdk = {
  complete: (origin) =>
    new OpenAI({ apiKey: 'none', baseURL: origin }).chat.completions.create({
      model: 'm',
      messages: [{ role: 'user', content: 'hi' }],
    }),
  async stream(origin) {
    const stream = await new OpenAI({ apiKey: 'none', baseURL: origin }).chat.completions.create({
      model: 'm',
      messages: [{ role: 'user', content: 'hi' }],
      stream: true,
    });
    let chunks = 0;
    for await (const chunk of stream) chunks += chunk.choices.length;
    return chunks;
  },
  chunk(res) {
    const data = { id: '1', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: 'word ' } }] };
    res.write(`data: ${JSON.stringify(data)}\n\n`);
  },
  end: (res) => void res.end('data: [DONE]\n\n'),
};

const anthropic: Sdk = {
  complete: (origin) =>
    new Anthropic({ apiKey: 'none', baseURL: origin }).messages.create({
      model: 'm',
      max_tokens: 9,
      messages: [{ role: 'user', content: 'hi' }],
    }),
  async stream(origin) {
    const stream = await new Anthropic({ apiKey: 'none', baseURL: origin }).messages.create({
      model: 'm',
      max_tokens: 9,
      messages: [{ role: 'user', content: 'hi' }],
      stream: true,
    });
    let chunks = 0;
    for await (const event of stream) if (event.type === 'content_block_delta') chunks++;
    return chunks;
  },
  chunk(res) {
    const data = { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'word ' } };
    res.write(`event: content_block_delta\ndata: ${JSON.stringify(data)}\n\n`);
  },
  end: (res) => void res.end('event: message_stop\ndata: {"type":"message_stop"}\n\n'),
};

for (const [name, sdk] of Object.entries({ openai, '@anthropic-ai/sdk': anthropic })) {
  describe(`${name} behind UndiciBreakerInstrumentation`, () => {
    let guard: TestGuard;
    let instrumentation: UndiciBreakerInstrumentation;

    afterEach(async () => {
      instrumentation.disable();
      await stopServers();
    });

    function guardWith(options: BreakerOptions): void {
      guard = new TestGuard(options);
      instrumentation = new UndiciBreakerInstrumentation({}, guard);
    }

    async function errorOf(promise: Promise<unknown>): Promise<ApiError> {
      return promise.then(
        () => expect.fail('no error'),
        (error: ApiError) => error,
      );
    }

    it('makes one attempt at an open circuit with the preset llmService, and tells why', async () => {
      guardWith({ preset: 'llmService' });
      const { origin, connections } = await serve((_req, res) => res.end());
      guard.breakers.getOrCreate(origin, { preset: 'llmService' }).forceOpen();
      const error = await errorOf(sdk.complete(origin));
      expect(error.status).to.equal(503);
      expect(error.message).to.include(`Circuit "${origin}" is open`);
      expect(error.headers!.get('x-otel-breaker')).to.equal('open');
      expect(guard.calls(origin)).to.deep.equal(counts({ rejected: 1 }));
      expect(connections()).to.equal(0);
    });

    it('makes as many attempts at an open circuit with whenOpen: throw as at a refused connection', async () => {
      guardWith({ whenOpen: 'throw', failureThreshold: 10 });
      const dead = `http://127.0.0.1:${await findDeadPort()}`;
      const { origin, connections } = await serve((_req, res) => res.end());
      guard.breakers.getOrCreate(origin).forceOpen();
      const [refused, rejected] = await Promise.all([errorOf(sdk.complete(dead)), errorOf(sdk.complete(origin))]);
      expect(rejected.constructor).to.equal(refused.constructor);
      expect(findCircuitOpenError(rejected)).to.include({ breaker: origin });
      expect(guard.calls(dead)).to.deep.equal(counts({ failure: 3 }));
      expect(guard.calls(origin)).to.deep.equal(counts({ rejected: 3 }));
      expect(connections()).to.equal(0);
    });

    it('opens the circuit with the attempts of one call, and is held off after that', async () => {
      guardWith({ preset: 'llmService' });
      const { origin } = await serve((_req, res) => res.writeHead(500).end());
      expect((await errorOf(sdk.complete(origin))).status).to.equal(500);
      expect((await errorOf(sdk.complete(origin))).status).to.equal(503);
      expect(guard.calls(origin)).to.deep.equal(counts({ failure: 3, rejected: 1 }));
    });

    it('is held off by a 429 with Retry-After', async () => {
      guardWith({ preset: 'llmService' });
      const { origin } = await serve((_req, res) =>
        res.writeHead(429, { 'retry-after': '120', 'x-should-retry': 'false' }).end(),
      );
      expect((await errorOf(sdk.complete(origin))).status).to.equal(429);
      const error = await errorOf(sdk.complete(origin));
      expect(error.status).to.equal(503);
      expect(Number(error.headers!.get('retry-after'))).to.be.within(119, 120);
      expect(guard.calls(origin)).to.deep.equal(counts({ failure: 1, rejected: 1 }));
    });

    it('reads a stream to its end: one success', async () => {
      guardWith({ preset: 'llmService' });
      const { origin } = await serve((_req, res) => {
        res.writeHead(200, { 'content-type': 'text/event-stream' });
        sdk.chunk(res);
        sdk.chunk(res);
        sdk.end(res);
      });
      expect(await sdk.stream(origin)).to.equal(2);
      expect(guard.calls(origin)).to.deep.equal(counts({ success: 1 }));
    });

    it('a stream that dies half-way is one failure', async () => {
      guardWith({ preset: 'llmService' });
      const { origin } = await serve((_req, res) => {
        res.writeHead(200, { 'content-type': 'text/event-stream' });
        sdk.chunk(res);
        setImmediate(() => res.destroy());
      });
      await errorOf(sdk.stream(origin));
      expect(guard.calls(origin)).to.deep.equal(counts({ failure: 1 }));
    });

    it('a stream that its reader leaves is a success', async () => {
      guardWith({ preset: 'llmService' });
      const { origin, server } = await serve((_req, res) => {
        res.writeHead(200, { 'content-type': 'text/event-stream' });
        sdk.chunk(res);
      });
      const asked = once(server, 'request') as Promise<[unknown, ServerResponse]>;
      const abort = new AbortController();
      const response = await fetch(origin, { signal: abort.signal });
      await response.body!.getReader().read();
      abort.abort();
      await once((await asked)[1], 'close');
      expect(guard.calls(origin)).to.deep.equal(counts({ success: 1 }));
    });
  });
}
