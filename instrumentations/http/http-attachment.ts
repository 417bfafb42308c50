import http = require('node:http');
import { deferRejection } from '../../src/breaker/pacing.js';
import { ownerOf } from '../../src/breaker/values.js';
import type { CircuitOpenError, Guard } from '../../src/guard/guard.js';
import { targetName, targetOfUrl, type Target } from '../../src/target.js';
import { Attachment } from '../attachment.js';
import { harmless } from '../harmless.js';
import { hiddenProperty } from '../hidden-property.js';
import { isIntercepted, isMockAgent } from '../mocks.js';
import { openAnswer } from '../open-answer.js';
import type { Patches } from '../patches.js';
import { AnswerSocket } from './answer-socket.js';
import { HttpCall, type AgentArguments, type AgentLike, type Request } from './http-call.js';

/** What a request gets in the place of a connection. */
type Refusal = CircuitOpenError | AnswerSocket;

/** The call that a request is; `null` where it is none. */
const calls = hiddenProperty<HttpCall | null>();

const GUARDING_FAILED = 'Guarding an http request failed';

/**
 * Guards `http` and `https`.
 *
 * The door is `Agent.addRequest`: every form of request passes it, captured references and named imports included,
 * before any socket or DNS look-up, and inside OpenTelemetry's client span. It needs no wrapper around `http.request`
 * that could collide with OpenTelemetry's own. What becomes of a request is read from the events it emits, on their way
 * to its listeners: a listener of ours would be seen, and a `response` listener would even keep Node from dumping an
 * answer that nobody reads.
 */
export class HttpAttachment extends Attachment {
  static readonly client = 'http';

  constructor(guard: Guard) {
    super(HttpAttachment.client, guard);
  }

  protected override patch(patches: Patches): void {
    const request = http.ClientRequest.prototype as Request;
    const { onSocket } = request;
    const guarded = new WeakSet<object>();

    /** @returns what the request gets instead, where it must not go on */
    const admit = harmless(
      GUARDING_FAILED,
      (
        req: Request,
        targetOf: (req: Request, options?: AgentArguments[0], port?: unknown) => Target,
        options?: AgentArguments[0],
        port?: unknown,
      ): Refusal | undefined => {
        // Skip requests we have already seen (an agent calling super) and CONNECT: calls inside the tunnel are guarded.
        if (calls.get(req) !== undefined || req.method === 'CONNECT') return undefined;
        if (isIntercepted() || isMockAgent(req.agent)) {
          calls.set(req, null);
          return undefined;
        }
        const call = new HttpCall(this, req);
        calls.set(req, call);
        const target = targetOf(req, options, port);
        const rejection = call.enter(target);
        const config = rejection && this.responds(target, call);
        return config === undefined ? rejection : new AnswerSocket(openAnswer(rejection!, config, req.method));
      },
    );

    /** The path that Node takes when an agent cannot make a socket: `error`, then `close`. @returns whether it is taken */
    const refuse = harmless(GUARDING_FAILED, (req: Request, refusal: Refusal): boolean => {
      deferRejection(() => {
        if (refusal instanceof AnswerSocket) onSocket.call(req, refusal);
        else onSocket.call(req, null, req.destroyed ? undefined : refusal);
      });
      return true;
    });

    const guardAgent = (owner: AgentLike): void => {
      if (guarded.has(owner)) return;
      guarded.add(owner);
      patches.replace(
        owner,
        'addRequest',
        (addRequest) =>
          function (this: AgentLike, ...args) {
            const [req, options, port] = args;
            const refusal = admit(req, targetFromOptions, options, port);
            if (refusal === undefined || !refuse(req, refusal)) return Reflect.apply(addRequest, this, args);
          },
      );
    };

    guardAgent(http.Agent.prototype as unknown as AgentLike);

    const guardAgentOf = harmless('Guarding an http agent failed', (req: Request) => {
      if (req.agent) guardAgent(ownerOf(req.agent, 'addRequest'));
    });

    // The second door, for requests that have not passed the first: those with a `createConnection` of their own, and the
    // first one through an agent that is not Node's. Their socket is there already, or could not be had.
    const admitLate = harmless(GUARDING_FAILED, (req: Request): Refusal | undefined => {
      // One that was given up before has no socket to wait for and nothing to tell.
      if (req.destroyed || calls.get(req) !== undefined) return undefined;
      const refusal = admit(req, targetFromHost);
      guardAgentOf(req);
      return refusal;
    });

    patches.replace(
      request,
      'onSocket',
      (original) =>
        function (this: Request, socket, error) {
          const refusal = socket && !error ? admitLate(this) : undefined;
          if (refusal === undefined || !refuse(this, refusal)) return original.call(this, socket, error);
          // It was made for nothing.
          socket?.destroy();
        },
    );

    // Requests and answers inherit theirs. Looked up with every event, for those who replace it after us.
    const parent = Object.getPrototypeOf(request) as { readonly emit: (...args: unknown[]) => boolean };
    const isInherited = !Object.hasOwn(request, 'emit');

    patches.replace(
      request,
      'emit',
      (emit) =>
        function (this: Request, ...args: [event: string | symbol, ...unknown[]]) {
          const [event] = args;
          // Stand-ins that mocks make of this prototype have not been through its constructor: they go nowhere.
          if (event === 'error' && this.protocol) admitLate(this);
          const call = calls.get(this);
          if (call?.isOver === false) watch(call, event, args[1]);
          // Pass the rest array on as it is, so that V8 need not allocate it.
          return Reflect.apply(isInherited ? parent.emit : emit, this, args);
        } as Request['emit'],
    );

    patches.replace(
      request,
      'destroy',
      (destroy) =>
        function (this: Request, error?: Error) {
          const call = calls.get(this);
          if (call && !this.destroyed) noteDestroy(call, error);
          return destroy.call(this, error);
        },
    );

    const message = http.IncomingMessage.prototype as Message;
    const parentOfMessage = Object.getPrototypeOf(message) as Pick<Message, 'push'>;
    const isPushInherited = !Object.hasOwn(message, 'push');

    // A caller that makes its calls one after the other begins the next one in the answer's `end`: this one has to be told
    // before. A listener could be seen.
    patches.replace(
      message,
      'push',
      (push) =>
        function (this: Message, chunk, encoding) {
          // Messages that a server gets have no request.
          if (chunk === null && this.complete && this.req) calls.get(this.req)?.succeed();
          return (isPushInherited ? parentOfMessage.push : push).call(this, chunk, encoding);
        },
    );
  }
}

interface Message extends http.IncomingMessage {
  /** Of an answer to a client. */
  readonly req?: Request;
}

/** Tells a call what its request emits. The event must reach its listeners. */
const watch = harmless(
  GUARDING_FAILED,
  (call: HttpCall, event: string | symbol, argument: unknown) => {
    if (event === 'response') call.onResponse(argument as http.IncomingMessage);
    else if (event === 'upgrade') call.succeed();
    else if (event === 'timeout') call.onTimeout();
    else if (event === 'error') call.onError(argument);
    else if (event === 'close') call.onClose();
    else if (event === 'finish') call.onSent();
  },
  (call) => call.forgo(),
);

const noteDestroy = harmless(GUARDING_FAILED, (call: HttpCall, error: unknown) => call.onDestroy(error));

function targetFromOptions(req: Request, options: AgentArguments[0] | undefined, legacyPort: unknown): Target {
  if (typeof options !== 'object') return targetOf(req, String(options), Number(legacyPort));
  return targetOf(req, options.host as string, Number(options.port));
}

/** Where a request goes, as its caller means it: through a plain proxy, the origin stands in the path. */
function targetOf(req: Request, host: string, port: number): Target {
  if (req.socketPath) return { system: 'http', scheme: 'unix', host: req.socketPath, port: 0 };
  const scheme = req.protocol === 'https:' ? 'https' : 'http';
  const connectsTo: Target = { system: 'http', scheme, host: host.toLowerCase(), port };
  if (!req.path.startsWith('http') || !URL.canParse(req.path)) return connectsTo;
  return { ...targetOfUrl(new URL(req.path)), via: targetName(connectsTo) };
}

/**
 * The target of a request with a connection of its own, which does not say its port: the `Host` header does, where Node
 * has made it. One that the application passes on comes from a stranger, and in lower case, as Node gives headers that came.
 */
function targetFromHost(req: Request): Target {
  const host = req.host.toLowerCase();
  if (req.getRawHeaderNames().includes('Host')) {
    const url = `${req.protocol}//${String(req.getHeader('host'))}`;
    const named = URL.canParse(url) ? targetOfUrl(new URL(url)) : undefined;
    if (named?.host === host) return targetOf(req, host, named.port);
  }
  return targetOf(req, host, req.protocol === 'https:' ? 443 : 80);
}
