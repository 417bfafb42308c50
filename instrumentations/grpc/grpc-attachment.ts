import { deferRejection } from '../../src/breaker/pacing.js';
import type { CircuitOpenError, Guard } from '../../src/guard/guard.js';
import { FAILED_PRECONDITION, UNAVAILABLE, type GrpcStatus } from '../../src/outcomes/grpc.js';
import type { Target } from '../../src/target.js';
import { Attachment } from '../attachment.js';
import type { Entry } from '../client-call.js';
import { harmless } from '../harmless.js';
import { hiddenProperty } from '../hidden-property.js';
import type { Patches } from '../patches.js';
import { READY, targetOf, type Channel } from './channel.js';
import { GrpcCall, type Listener } from './grpc-call.js';

interface Metadata {
  constructor: unknown;
  getOptions(): { readonly waitForReady?: boolean };
}

/** The status of a call that is not made. */
interface Refusal extends GrpcStatus {
  readonly cause: CircuitOpenError;
}

/** A call as a channel makes it, below all interceptors and above retries and load balancing. */
interface ResolvingCall {
  readonly channel: Channel;
  readonly method: string;
  readonly deadline: number | Date;
  /** When it was made, where it has a deadline; earlier versions of grpc-js have none. */
  readonly deadlineStartTime?: number | null;
  listener: Listener | null;
  start(this: ResolvingCall, metadata: Metadata, listener: Listener): void;
  outputStatus(status: Refusal): void;
}

interface InternalChannel extends Channel {
  createCall(this: InternalChannel, ...args: unknown[]): ResolvingCall;
  updateState(this: InternalChannel, state: number): void;
}

interface MethodDefinition {
  readonly requestStream?: boolean;
  readonly responseStream?: boolean;
}

interface Interceptors {
  getInterceptingCall(interceptors: unknown, definition: MethodDefinition, ...rest: unknown[]): unknown;
}

/** Streams live as long as their callers want them to. */
const STREAM: Entry = { longRunning: true };
/** Its caller has asked for it to wait until there is a connection: what would still be answered is not rejected. */
const WAITS: Entry = { must: true, longRunning: true };

const GUARDING_FAILED = 'Guarding a gRPC call failed';

const isStream = hiddenProperty<true>();

/**
 * Guards `@grpc/grpc-js`, and with it everything built on its clients.
 *
 * The door is the `start` of a channel's call: every call passes it once, below the interceptors of the application and
 * of OpenTelemetry, and before names are resolved and connections made. What becomes of it is read by its listener, which
 * is the call of ours and hands on what it hears. That a channel gets its connection is a sign of life.
 */
export class GrpcAttachment extends Attachment {
  static readonly client = 'grpc';

  constructor(guard: Guard) {
    super(GrpcAttachment.client, guard);
  }

  protected override patch(patches: Patches): void {
    const onClass = <T extends object>(file: string, name: string, method: string, patch: (prototype: T) => void) =>
      this.onEachCopy(patches, file, (exports) => prototypeWith<T>(exports, name, method), patch);

    onClass<ResolvingCall>('/build/src/resolving-call.js', 'ResolvingCall', 'outputStatus', (prototype) =>
      this.#guardCalls(patches, prototype),
    );

    // What kind of call it is, its client knows, and a channel does not: calls are made while this is set.
    let makesStream = false;
    this.onEachCopy(patches, '/build/src/client-interceptors.js', interceptorsOf, (interceptors) =>
      patches.replace(
        interceptors,
        'getInterceptingCall',
        (getInterceptingCall) =>
          function (this: unknown, ...args) {
            const before = makesStream;
            const definition = args[1] as MethodDefinition | undefined;
            makesStream = definition?.requestStream === true || definition?.responseStream === true;
            try {
              return getInterceptingCall.apply(this, args);
            } finally {
              makesStream = before;
            }
          },
      ),
    );
    onClass<InternalChannel>('/build/src/internal-channel.js', 'InternalChannel', 'createCall', (prototype) => {
      patches.replace(
        prototype,
        'createCall',
        (createCall) =>
          function (this: InternalChannel, ...args) {
            const call = createCall.apply(this, args);
            if (makesStream) isStream.set(call, true);
            return call;
          },
      );
      const seesLife = harmless('Following a gRPC channel failed', (channel: Channel) => {
        const target = targetOf(channel);
        if (target !== undefined) this.connected(target);
      });
      patches.replace(
        prototype,
        'updateState',
        (updateState) =>
          function (this: InternalChannel, ...args) {
            // Before the calls that wait for it go on.
            if (args[0] === READY) seesLife(this);
            return Reflect.apply(updateState, this, args);
          },
      );
    });
  }

  #guardCalls(patches: Patches, prototype: ResolvingCall): void {
    /** @returns our call, which hears the answer; or the status of one that must not be made */
    const begin = harmless(
      GUARDING_FAILED,
      (call: ResolvingCall, metadata: Metadata, listener: Listener): GrpcCall | Refusal | undefined => {
        const target = targetOf(call.channel);
        if (target === undefined) return undefined;
        const stream = isStream.get(call) === true;
        const tooLate = isTooLate(call);
        const ours = new GrpcCall(this, call.method, call.channel, stream, listener);
        const refusal = ours.enter(target, this.#entryOf(call, metadata, target, ours));
        if (refusal !== undefined) return refusalOf(refusal, metadata, this.responds(target, ours) !== undefined);
        // No server could have answered in time.
        if (tooLate) ours.forgo();
        return ours.isOver ? undefined : ours;
      },
    );

    /** Ends a call as one ends whose connection could not be had. @returns whether it does */
    const refuse = harmless(GUARDING_FAILED, (call: ResolvingCall, listener: Listener, refusal: Refusal): boolean => {
      call.listener = listener;
      deferRejection(() => call.outputStatus(refusal));
      return true;
    });

    patches.replace(
      prototype,
      'start',
      (start) =>
        function (this: ResolvingCall, metadata, listener) {
          const ours = begin(this, metadata, listener);
          const isCall = ours instanceof GrpcCall;
          if (ours !== undefined && !isCall && refuse(this, listener, ours)) return;
          try {
            return start.call(this, metadata, isCall ? ours : listener);
          } catch (error) {
            if (isCall) ours.forgo();
            throw error;
          }
        },
    );
  }

  #entryOf({ channel }: ResolvingCall, metadata: Metadata, target: Target, ours: GrpcCall): Entry | undefined {
    const waits =
      metadata.getOptions().waitForReady === true &&
      channel.getConnectivityState(false) !== READY &&
      this.letsWait(target, ours);
    if (waits) return WAITS;
    // A service may have nothing but streams: while its circuit is not closed, one that opens well is as good as any call.
    return ours.isStream && this.isClosed(target, ours) ? STREAM : undefined;
  }
}

/** Whether the deadline of a call, which may be that of a caller of our own, had passed before it was made. */
function isTooLate({ deadline, deadlineStartTime }: ResolvingCall): boolean {
  return typeof deadlineStartTime === 'number' && Number(deadline) <= deadlineStartTime;
}

/**
 * Nobody tries FAILED_PRECONDITION again; UNAVAILABLE, clients of Google do for seconds. The client makes an error of it
 * that has all that the status has.
 */
function refusalOf(cause: CircuitOpenError, metadata: Metadata, responds: boolean): Refusal {
  return {
    code: responds ? FAILED_PRECONDITION : UNAVAILABLE,
    details: cause.message,
    metadata: new (metadata.constructor as new () => unknown)(),
    cause,
  };
}

function prototypeWith<T extends object>(exports: unknown, name: string, method: string): T | undefined {
  const found = (exports as Record<string, unknown> | undefined)?.[name];
  const prototype = typeof found === 'function' ? (found.prototype as Record<string, unknown> | undefined) : undefined;
  return typeof prototype?.[method] === 'function' ? (prototype as T) : undefined;
}

function interceptorsOf(exports: unknown): Interceptors | undefined {
  const found = exports as Partial<Interceptors> | undefined;
  return typeof found?.getInterceptingCall === 'function' ? (found as Interceptors) : undefined;
}
