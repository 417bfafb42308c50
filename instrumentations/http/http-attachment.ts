/* eslint-disable prefer-rest-params -- Handed on by Reflect.apply and nothing else, `arguments` is never made; a rest array is. */
import http = require('node:http');
import { deferRejection } from '../../src/breaker/pacing.js';
import { reportOnce } from '../../src/breaker/diagnostics.js';
import type { BreakerConfig } from '../../src/breaker/config.js';
import { ownerOf } from '../../src/breaker/values.js';
import { CircuitOpenError, type Guard } from '../../src/guard/guard.js';
import { targetName, targetOfUrl, type Target } from '../../src/target.js';
import { Attachment } from '../attachment.js';
import { harmless } from '../harmless.js';
import { OnAnother } from '../hidden-property.js';
import { KnownTargets } from '../known-targets.js';
import { isIntercepted, isMockAgent } from '../mocks.js';
import type * as OpenAnswers from '../open-answer.js';
import type { Patches } from '../patches.js';
import type * as AnswerSockets from './answer-socket.js';
import { HttpCall, type AgentArguments, type AgentLike, type Request } from './http-call.js';

/** What a request gets in the place of a connection. */
type Refusal = CircuitOpenError | AnswerSockets.AnswerSocket;

/** The call that a request is; `null` where it is none. */
class CallOf extends OnAnother {
  #call: HttpCall | null = null;

  static get(request: object): HttpCall | null | undefined {
    return #call in request ? request.#call : undefined;
  }

  static set(request: object, call: HttpCall | null): void {
    new CallOf(request).#call = call;
  }
}

/** What an agent is used for. */
class TargetsOf extends OnAnother {
  readonly #targets = new KnownTargets('http');

  static of(agent: object): KnownTargets {
    return (#targets in agent ? agent : new TargetsOf(agent)).#targets;
  }
}

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
    const admit = (
      req: Request,
      agent: AgentLike | undefined,
      options?: AgentArguments[0],
      port?: unknown,
    ): Refusal | undefined => {
      try {
        // Skip requests we have already seen (an agent calling super) and CONNECT: calls inside the tunnel are guarded.
        if (CallOf.get(req) !== undefined || req.method === 'CONNECT') return undefined;
        if (isIntercepted() || isMockAgent(req.agent)) {
          CallOf.set(req, null);
          return undefined;
        }
        const call = new HttpCall(this, req);
        CallOf.set(req, call);
        const target = agent === undefined ? targetFromHost(req) : targetFromOptions(req, agent, options, port);
        const rejection = call.enter(target);
        const config = rejection && this.responds(target, call);
        return config === undefined ? rejection : answerTo(req, rejection!, config);
      } catch (error) {
        reportOnce(GUARDING_FAILED, error);
        return undefined;
      }
    };

    /** The path that Node takes when an agent cannot make a socket: `error`, then `close`. @returns whether it is taken */
    const refuse = harmless(GUARDING_FAILED, (req: Request, refusal: Refusal): boolean => {
      deferRejection(() => {
        if (refusal instanceof CircuitOpenError) onSocket.call(req, null, req.destroyed ? undefined : refusal);
        else onSocket.call(req, refusal);
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
          function (this: AgentLike, req, options, port) {
            const refusal = admit(req, this, options, port);
            if (refusal !== undefined && refuse(req, refusal)) return;
            // Node gives two arguments, old callers more.
            if (arguments.length === 2) return addRequest.call(this, req, options);
            return Reflect.apply(addRequest, this, arguments) as void;
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
      if (req.destroyed) return undefined;
      const refusal = admit(req, undefined);
      guardAgentOf(req);
      return refusal;
    });

    patches.replace(
      request,
      'onSocket',
      (original) =>
        function (this: Request, socket, error) {
          const refusal = socket && !error && CallOf.get(this) === undefined ? admitLate(this) : undefined;
          if (refusal === undefined || !refuse(this, refusal)) return original.call(this, socket, error);
          // It was made for nothing.
          socket?.destroy();
        },
    );

    // Requests and answers inherit theirs. Looked up with every event, for those who replace it after us.
    const parent = Object.getPrototypeOf(request) as { readonly emit: Emit };
    const isInherited = !Object.hasOwn(request, 'emit');

    patches.replace(
      request,
      'emit',
      (emit) =>
        function (this: Request, event: string | symbol, argument?: unknown) {
          // By name, here: most events say nothing of what becomes of a request.
          if (
            event === 'response' ||
            event === 'close' ||
            event === 'error' ||
            event === 'timeout' ||
            event === 'upgrade' ||
            (event === 'finish' && this.protocol === 'https:')
          ) {
            // Stand-ins that mocks make of this prototype have not been through its constructor: they go nowhere.
            if (event === 'error' && this.protocol && CallOf.get(this) === undefined) admitLate(this);
            const call = CallOf.get(this);
            if (call?.isOver === false) watch(call, event, argument);
          }
          const original = (isInherited ? parent.emit : emit) as Emit;
          // Neither a rest array nor `arguments`, which V8 would allocate, for what Node itself emits.
          if (arguments.length === 1) return original.call(this, event);
          if (arguments.length === 2) return original.call(this, event, argument);
          return Reflect.apply(original, this, arguments) as boolean;
        } as Request['emit'],
    );

    patches.replace(
      request,
      'destroy',
      (destroy) =>
        function (this: Request, error?: Error) {
          const call = CallOf.get(this);
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
          if (chunk === null && this.complete && this.req) CallOf.get(this.req)?.succeed();
          return (isPushInherited ? parentOfMessage.push : push).call(this, chunk, encoding);
        },
    );
  }
}

/** What it needs is loaded with the first of them: most processes give none. */
function answerTo(req: Request, rejection: CircuitOpenError, config: BreakerConfig): Refusal {
  const { openAnswer } = require('../open-answer.js') as typeof OpenAnswers;
  const { AnswerSocket } = require('./answer-socket.js') as typeof AnswerSockets;
  return new AnswerSocket(openAnswer(rejection, config, req.method));
}

interface Message extends http.IncomingMessage {
  /** Of an answer to a client. */
  readonly req?: Request;
}

type Emit = (this: unknown, ...args: unknown[]) => boolean;

/** Tells a call what its request emits. The event must reach its listeners. */
function watch(call: HttpCall, event: string | symbol, argument: unknown): void {
  try {
    if (event === 'response') call.onResponse(argument as http.IncomingMessage);
    else if (event === 'upgrade') call.succeed();
    else if (event === 'timeout') call.onTimeout();
    else if (event === 'error') call.onError(argument);
    else if (event === 'close') call.onClose();
    else if (event === 'finish') call.onSent();
  } catch (error) {
    reportOnce(GUARDING_FAILED, error);
    call.forgo();
  }
}

const noteDestroy = harmless(GUARDING_FAILED, (call: HttpCall, error: unknown) => call.onDestroy(error));

function targetFromOptions(
  req: Request,
  agent: AgentLike,
  options: AgentArguments[0] | undefined,
  legacyPort: unknown,
): Target {
  if (typeof options !== 'object') return targetOf(req, String(options), Number(legacyPort));
  const { host, port } = options;
  if (isElsewhere(req) || typeof host !== 'string') return targetOf(req, host as string, Number(port));
  return TargetsOf.of(agent).get(schemeOf(req), host, port);
}

/** Whether host and port of a request's options are not where it goes. */
function isElsewhere(req: Request): boolean {
  return Boolean(req.socketPath) || req.path.startsWith('http');
}

function schemeOf(req: Request): string {
  return req.protocol === 'https:' ? 'https' : 'http';
}

/** Where a request goes, as its caller means it: through a plain proxy, the origin stands in the path. */
function targetOf(req: Request, host: string, port: number): Target {
  if (req.socketPath) return { system: 'http', scheme: 'unix', host: req.socketPath, port: 0 };
  const connectsTo: Target = { system: 'http', scheme: schemeOf(req), host: host.toLowerCase(), port };
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
