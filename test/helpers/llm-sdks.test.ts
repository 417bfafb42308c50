import Anthropic from '@anthropic-ai/sdk';
import { expect } from 'chai';
import type { ServerResponse } from 'node:http';
import OpenAI from 'openai';
import { CircuitOpenError, protect } from '../../src/index.js';
import { closeAfterEach, listen, rejectionOf } from '../support/listen.js';
import { newName } from '../support/names.js';

type Answer = (response: ServerResponse) => void;

/** Answers as server-sent events. `breakOff` ends the connection where the end should be. */
function events(events: readonly object[], { breakOff = false } = {}): Answer {
  return (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const event of events) {
      const { type } = event as { type?: string };
      response.write(`${type === undefined ? '' : `event: ${type}\n`}data: ${JSON.stringify(event)}\n\n`);
    }
    if (breakOff) response.socket!.destroySoon();
    else response.end(events.some((event) => 'type' in event) ? '' : 'data: [DONE]\n\n');
  };
}

const json = (body: object): Answer => {
  return (response) => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
};

const OPENAI_CHUNKS = ['Hel', 'lo'].map((content) => ({
  id: 'c',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'm',
  choices: [{ index: 0, delta: { role: 'assistant', content }, finish_reason: null }],
}));
const OPENAI_ANSWER = {
  id: 'c',
  object: 'chat.completion',
  created: 1,
  model: 'm',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Hello' }, finish_reason: 'stop' }],
};
const MESSAGE = { id: 'm', type: 'message', role: 'assistant', model: 'm', stop_reason: null, stop_sequence: null };
const USAGE = { input_tokens: 1, output_tokens: 1 };
const ANTHROPIC_EVENTS = [
  { type: 'message_start', message: { ...MESSAGE, content: [], usage: USAGE } },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Hello' } },
  { type: 'content_block_stop', index: 0 },
  { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: USAGE },
  { type: 'message_stop' },
];
const ANTHROPIC_ANSWER = { ...MESSAGE, content: [{ type: 'text', text: 'Hello' }], usage: USAGE };

const QUESTION = { model: 'm', messages: [{ role: 'user' as const, content: 'Say hello' }] };
const ANTHROPIC_QUESTION = { ...QUESTION, max_tokens: 10 };

describe('protect with SDKs of LLM services', () => {
  const close = closeAfterEach();
  let answer: Answer;
  let requests: number;
  let url: string;

  beforeEach(async () => {
    requests = 0;
    url = close(
      await listen((request, response) => {
        requests++;
        request.resume().on('end', () => answer(response));
      }),
    ).url;
  });

  function openai() {
    const client = new OpenAI({ apiKey: 'key', baseURL: url, maxRetries: 0 });
    return protect(client, {
      name: newName('openai'),
      preset: 'llmService',
      methods: ['chat.completions.create', 'responses.create'],
    });
  }

  function anthropic() {
    const client = new Anthropic({ apiKey: 'key', baseURL: url, maxRetries: 0 });
    return protect(client, {
      name: newName('anthropic'),
      preset: 'llmService',
      methods: ['messages.create', 'messages.stream'],
    });
  }

  describe('openai', () => {
    it('answers, counts and stays an OpenAI client', async () => {
      answer = json(OPENAI_ANSWER);
      const client = openai();
      expect(client).to.be.instanceOf(OpenAI);
      expect((await client.chat.completions.create(QUESTION)).choices[0]!.message.content).to.equal('Hello');
      expect(client.breaker.stats().calls).to.include({ success: 1, inFlight: 0 });
    });

    it('keeps withResponse() and asResponse(), whose body is still there to be read', async () => {
      answer = json(OPENAI_ANSWER);
      const client = openai();
      const { data, response } = await client.chat.completions.create(QUESTION).withResponse();
      expect([data.choices[0]!.message.content, response.status]).to.deep.equal(['Hello', 200]);
      const raw = await client.chat.completions.create(QUESTION).asResponse();
      expect(await raw.json()).to.deep.equal(OPENAI_ANSWER);
      expect(client.breaker.stats().calls).to.include({ success: 2, inFlight: 0 });
    });

    it('counts a stream when it ends', async () => {
      answer = events(OPENAI_CHUNKS);
      const client = openai();
      const stream = await client.chat.completions.create({ ...QUESTION, stream: true });
      expect(client.breaker.stats().calls).to.include({ success: 0, inFlight: 1 });
      let text = '';
      for await (const chunk of stream) text += chunk.choices[0]!.delta.content;
      expect(text).to.equal('Hello');
      expect(client.breaker.stats().calls).to.include({ success: 1, inFlight: 0 });
    });

    it('counts a stream that breaks as a failure', async () => {
      answer = events(OPENAI_CHUNKS, { breakOff: true });
      const client = openai();
      const stream = await client.chat.completions.create({ ...QUESTION, stream: true });
      const read = async () => {
        for await (const _ of stream);
      };
      expect(await rejectionOf(read())).to.be.instanceOf(Error);
      expect(client.breaker.stats().calls).to.include({ failure: 1, success: 0, inFlight: 0 });
    });

    it('does not hold it against the service that users press stop, or ask for what cannot be', async () => {
      const client = openai();
      answer = () => {};
      for (let user = 0; user < 5; user++) {
        const controller = new AbortController();
        const answered = client.chat.completions.create(QUESTION, { signal: controller.signal });
        setTimeout(() => controller.abort(), 5);
        expect(await rejectionOf(answered)).to.be.instanceOf(OpenAI.APIUserAbortError);
      }
      answer = (response) => response.writeHead(400).end('{"error":{"message":"the prompt is too long"}}');
      for (let call = 0; call < 5; call++) await rejectionOf(client.chat.completions.create(QUESTION));
      expect(client.breaker.state).to.equal('closed');
      expect(client.breaker.stats().calls).to.include({ ignored: 5, success: 5, failure: 0 });
    });

    it('leaves the service alone for as long as its 429 asks', async () => {
      answer = (response) => response.writeHead(429, { 'retry-after': '7' }).end();
      const client = openai();
      await rejectionOf(client.chat.completions.create(QUESTION));
      const error = (await rejectionOf(client.chat.completions.create(QUESTION))) as CircuitOpenError;
      expect(error).to.be.instanceOf(CircuitOpenError);
      expect(error.retryAfterMs).to.be.within(6_000, 7_000);
    });

    it('counts the timeout of the SDK as one', async () => {
      answer = () => {};
      const client = openai();
      for (let call = 0; call < 3; call++) {
        const error = await rejectionOf(client.chat.completions.create(QUESTION, { timeout: 20 }));
        expect(error).to.be.instanceOf(OpenAI.APIConnectionTimeoutError);
      }
      expect(client.breaker.state).to.equal('open');
    });

    it('opens on errors, which stay those of the SDK, and then makes no request', async () => {
      answer = (response) => response.writeHead(500).end();
      const client = openai();
      for (let call = 0; call < 3; call++) {
        const error = await rejectionOf(client.chat.completions.create(QUESTION));
        expect(error).to.be.instanceOf(OpenAI.InternalServerError);
      }
      expect(await rejectionOf(client.chat.completions.create(QUESTION))).to.be.instanceOf(CircuitOpenError);
      const refused = client.chat.completions.create(QUESTION).withResponse();
      expect(await rejectionOf(refused)).to.be.instanceOf(CircuitOpenError);
      expect(requests).to.equal(3);
    });
  });

  describe('@anthropic-ai/sdk', () => {
    it('answers and counts', async () => {
      answer = json(ANTHROPIC_ANSWER);
      const client = anthropic();
      expect((await client.messages.create(ANTHROPIC_QUESTION)).content).to.deep.equal(ANTHROPIC_ANSWER.content);
      expect(client.breaker.stats().calls).to.include({ success: 1, inFlight: 0 });
    });

    it('counts messages.stream() when it ends, read by events, and once only', async () => {
      answer = events(ANTHROPIC_EVENTS);
      const client = anthropic();
      const stream = client.messages.stream(ANTHROPIC_QUESTION);
      let text = '';
      stream.on('text', (delta) => (text += delta));
      expect((await stream.finalMessage()).stop_reason).to.equal('end_turn');
      expect(text).to.equal('Hello');
      expect(client.breaker.stats().calls).to.include({ success: 1, inFlight: 0 });
    });

    it('counts messages.stream() that breaks as a failure, read by iteration', async () => {
      answer = events(ANTHROPIC_EVENTS.slice(0, 3), { breakOff: true });
      const client = anthropic();
      const read = async () => {
        for await (const _ of client.messages.stream(ANTHROPIC_QUESTION));
      };
      expect(await rejectionOf(read())).to.be.instanceOf(Error);
      expect(client.breaker.stats().calls).to.include({ failure: 1, success: 0, inFlight: 0 });
    });

    it('takes a stream that its reader aborts for the good answer that it was', async () => {
      answer = events(ANTHROPIC_EVENTS.slice(0, 3));
      const client = anthropic();
      answer = (response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write(`event: message_start\ndata: ${JSON.stringify(ANTHROPIC_EVENTS[0])}\n\n`);
      };
      const stream = client.messages.stream(ANTHROPIC_QUESTION);
      stream.on('streamEvent', () => stream.abort());
      expect(await rejectionOf(stream.done())).to.be.instanceOf(Anthropic.APIUserAbortError);
      expect(client.breaker.stats().calls).to.include({ success: 1, failure: 0, inFlight: 0 });
    });

    it('throws from messages.stream() while the circuit is open', async () => {
      answer = events(ANTHROPIC_EVENTS);
      const client = anthropic();
      await client.messages.stream(ANTHROPIC_QUESTION).finalMessage();
      client.breaker.forceOpen();
      expect(() => client.messages.stream(ANTHROPIC_QUESTION)).to.throw(CircuitOpenError);
      expect(requests).to.equal(1);
    });
  });
});
