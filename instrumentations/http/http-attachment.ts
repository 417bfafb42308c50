import http = require('node:http');
import { trace } from '@opentelemetry/api';
import type { Duplex } from 'node:stream';
import { diagnostics } from '../../src/breaker/diagnostics.js';
import { isTimeout } from '../../src/outcomes/endings.js';
import { CLOSED } from '../../src/breaker/state.js';
import { CircuitOpenError, UNGUARDED, type Guard, type Permit } from '../../src/guard/guard.js';
import type { Target } from '../../src/target.js';
import type { CallContext } from '../../src/telemetry/events/call-context.js';
import { AnswerSocket } from './answer-socket.js';
import { Attachment } from '../attachment.js';
import { settleByStatus } from '../../src/outcomes/http.js';
import { targetOfUrl } from '../http-target.js';
import { openAnswer } from '../open-answer.js';
import { hiddenProperty, type Patches } from '../patches.js';

// Captured at load: the fake timers of an application's tests must not hold rejections back.
const { setImmediate } = globalThis;

/** A client request as Node makes it, with what its types do not say. */
interface Request extends http.ClientRequest {
  readonly agent: AgentLike | undefined;
  readonly socketPath: string | undefined;
  readonly res: http.IncomingMessage | null;
  onSocket: (this: Request, socket: Duplex | null, error?: Error) => void;
}

/** What an agent is asked with; old callers give a host and a port in place of the object. */
type AgentArguments = [options: { readonly host?: unknown; readonly port?: unknown } | string, ...legacy: unknown[]];

/** What `ClientRequest` needs of an agent; old proxy agents have no more than this. */
interface AgentLike {
  addRequest(request: Request, ...args: AgentArguments): void;
}

/** One request and what has become of it so far. */
class HttpCall implements CallContext {
  permit: Permit = UNGUARDED;
  /** Its `timeout` event came: the caller's patience ran out, and what it does next follows from that. */
  timedOut = false;
  /** Our own process ended it, with this error. Made with a signal that was aborted before, a request is that from the start. */
  destroyed: boolean;
  destroyedBy: unknown;
  /** Requests are made inside OpenTelemetry's client span. */
  readonly span = trace.getActiveSpan();
  readonly #method: string;

  constructor({ destroyed, method }: Request) {
    this.destroyed = destroyed;
    this.#method = method;
  }

  spanName(): string {
    return this.#method;
  }
}

/** What a request gets in the place of a connection. */
type Refusal = CircuitOpenError | AnswerSocket;

const calls = hiddenProperty<HttpCall>();

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
    const enter = this.enter.bind(this);
    const responds = this.responds.bind(this);
    const guarded = new WeakSet<object>();

    /** @returns what the request gets instead, where it must not go on. Never throws: a request whose target we cannot tell goes on. */
    function admit<Args extends unknown[]>(
      req: Request,
      targetOf: (req: Request, ...args: Args) => Target,
      ...args: Args
    ): Refusal | undefined {
      // Not gated: what an agent that calls its parent class brings again, and the setting up of a tunnel, whose calls are.
      if (calls.get(req) !== undefined || req.method === 'CONNECT') return undefined;
      const call = new HttpCall(req);
      calls.set(req, call);
      try {
        const target = targetOf(req, ...args);
        const admission = enter(target, call);
        if (admission instanceof CircuitOpenError) {
          return responds(target) ? new AnswerSocket(openAnswer(admission), req.method === 'HEAD') : admission;
        }
        call.permit = admission;
      } catch (error) {
        diagnostics.report('The target of an http request is not clear; it goes through unguarded', error);
      }
      return undefined;
    }

    function guardAgent(owner: AgentLike): void {
      if (guarded.has(owner)) return;
      guarded.add(owner);
      patches.replace(
        owner,
        'addRequest',
        (addRequest) =>
          function (this: AgentLike, ...args) {
            const [req, options, port] = args;
            const refusal = admit(req, targetFromOptions, options, port);
            if (refusal === undefined) return Reflect.apply(addRequest, this, args);
            // The path that Node takes when an agent cannot make a socket: `error`, then `close`, one turn later.
            setImmediate(() => {
              if (refusal instanceof AnswerSocket) onSocket.call(req, refusal);
              else onSocket.call(req, null, req.destroyed ? undefined : refusal);
            });
          },
      );
    }

    guardAgent(http.Agent.prototype as unknown as AgentLike);

    // The second door, for requests that have not passed the first: those with a `createConnection` of their own, and the
    // first one through an agent that is none of Node's. Their socket is there already, or could not be had.
    function admitLate(req: Request): Refusal | undefined {
      // One that was given up before has no socket to wait for and nothing to tell.
      if (req.destroyed || calls.get(req) !== undefined) return undefined;
      const refusal = admit(req, targetFromHostHeader);
      try {
        if (req.agent) guardAgent(ownerOf(req.agent, 'addRequest'));
      } catch (error) {
        diagnostics.report('An http agent does not let itself be guarded; its requests are rejected late', error);
      }
      return refusal;
    }

    patches.replace(
      request,
      'onSocket',
      (original) =>
        function (this: Request, socket, error) {
          const refusal = socket && !error ? admitLate(this) : undefined;
          if (refusal instanceof AnswerSocket) {
            socket?.destroy();
            original.call(this, refusal);
          } else {
            // The socket that was made for nothing is destroyed with the request.
            original.call(this, socket, error ?? refusal);
          }
        },
    );

    // Requests inherit theirs. Looked up with every event, for those who replace it after us.
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
          if (call !== undefined && !call.permit.settled) observe(this, call, event, args[1]);
          // The very array, which V8 then never makes.
          return Reflect.apply(isInherited ? parent.emit : emit, this, args);
        } as Request['emit'],
    );

    patches.replace(
      request,
      'destroy',
      (destroy) =>
        function (this: Request, error?: Error) {
          const call = calls.get(this);
          if (call !== undefined && !this.destroyed) {
            call.destroyed = true;
            call.destroyedBy = error;
          }
          return destroy.call(this, error);
        },
    );
  }
}

function targetFromOptions(req: Request, options: AgentArguments[0], legacyPort: unknown): Target {
  if (typeof options === 'string') return targetOf(req, options, Number(legacyPort));
  return targetOf(req, options.host as string, Number(options.port));
}

/** Where a request goes, as its caller means it: through a plain proxy, the origin stands in the path. */
function targetOf(req: Request, host: string, port: number): Target {
  if (req.socketPath) return { system: 'http', scheme: 'unix', host: req.socketPath, port: 0 };
  if (req.path.startsWith('http') && URL.canParse(req.path)) return targetOfUrl(new URL(req.path));
  return { system: 'http', scheme: req.protocol === 'https:' ? 'https' : 'http', host: host.toLowerCase(), port };
}

function targetFromHostHeader(req: Request): Target {
  const url = `${req.protocol}//${String(req.getHeader('host') ?? req.host)}`;
  const { host, port } = targetOfUrl(new URL(URL.canParse(url) ? url : `${req.protocol}//${req.host}`));
  return targetOf(req, host, port);
}

function ownerOf<Key extends string>(object: Record<Key, unknown>, key: Key): Record<Key, never> & AgentLike {
  let owner: object = object;
  while (!Object.hasOwn(owner, key)) owner = Object.getPrototypeOf(owner) as object;
  return owner as Record<Key, never> & AgentLike;
}

/** Settles a request's permit on the first event that decides. Never throws: the event must reach its listeners. */
function observe(req: Request, call: HttpCall, event: string | symbol, argument: unknown): void {
  try {
    if (event === 'response') {
      const res = argument as http.IncomingMessage;
      // Node parses headers when they are first asked for.
      settleByStatus(call.permit, res.statusCode!, (name) => res.headers[name] as string | undefined);
      settleBeforeSpanEnds(res, call);
    } else if (event === 'upgrade') call.permit.success();
    else if (event === 'timeout') call.timedOut = true;
    else if (event === 'error') settleByError(req, call, argument);
    else if (event === 'close') settleAtClose(req, call);
  } catch (error) {
    diagnostics.report('Judging an http request failed; it counts as ignored', error);
    call.permit.ignore();
  }
}

/**
 * A probe that succeeds closes the circuit, and its client span must still be open to say so: OpenTelemetry's
 * instrumentation ends that with the answer, before the request closes. Only for probes; a listener could be seen.
 */
function settleBeforeSpanEnds(res: http.IncomingMessage, { permit, span }: HttpCall): void {
  if (permit.settled || permit.breaker.stateCode === CLOSED || span?.isRecording() !== true) return;
  res.prependListener('end', () => permit.success());
}

function settleByError(req: Request, call: HttpCall, error: unknown): void {
  // What comes after the answer was there, like a reset while the connection is being put down, is no word on the call.
  if (req.res?.complete) call.permit.success();
  else if (call.destroyed) settleGivenUp(call, call.destroyedBy);
  // Destroying the answer destroys the socket with its error; the death of a socket comes here before the answer's.
  else if (req.res?.destroyed) settleGivenUp(call, req.res.errored);
  else if (call.timedOut || isTimeout(error)) call.permit.timeout(error);
  else if (isStaleKeepAlive(req, error)) call.permit.ignore();
  else call.permit.failure(error);
}

function settleAtClose(req: Request, call: HttpCall): void {
  const { res } = req;
  if (res?.complete || res?.statusCode === 101) call.permit.success();
  else if (res === null || call.destroyed) settleGivenUp(call, call.destroyedBy);
  else if (isCutOff(res) && !call.timedOut) call.permit.failure(res.errored);
  else settleGivenUp(call, res.errored);
}

/** The caller ended it: because time ran out, or for reasons of its own. */
function settleGivenUp(call: HttpCall, reason: unknown): void {
  if (call.timedOut || isTimeout(reason) || isClientsTimeout(reason)) call.permit.timeout(reason);
  else call.permit.ignore();
}

/** Whether axios destroys a request for its `timeout`: it names that as the operating system names something else. */
function isClientsTimeout(reason: unknown): boolean {
  return (reason as NodeJS.ErrnoException | undefined)?.code === 'ECONNABORTED';
}

/** Whether the other side closed the connection before the answer was complete: Node then destroys it with this error. */
function isCutOff(res: http.IncomingMessage): boolean {
  const error: NodeJS.ErrnoException | null = res.errored;
  return error?.code === 'ECONNRESET' && error.message === 'aborted';
}

/** The server closed an idle connection just as we took it from the pool: every client tries again, and nothing is wrong. */
function isStaleKeepAlive(req: Request, error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return req.reusedSocket && req.res === null && (code === 'ECONNRESET' || code === 'EPIPE');
}
