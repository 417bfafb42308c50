import { trace, type Context, type Span } from '@opentelemetry/api';
import type { BreakerConfig } from '../src/breaker/config.js';
import { reportOnce } from '../src/breaker/diagnostics.js';
import { clearInterval, setInterval } from '../src/breaker/real-time.js';
import { whenOpenFor } from '../src/outcomes/when-open.js';
import { UNGUARDED, type CircuitOpenError, type Guard, type Permit } from '../src/guard/guard.js';
import { getRuntime } from '../src/runtime.js';
import { INSTRUMENTATION_SCOPES, type Target } from '../src/target.js';
import { log } from '../src/telemetry/log.js';
import { harmless } from './harmless.js';
import { Patches } from './patches.js';

// One per client and thread, whichever copy of this package it comes from: a client patched twice would count twice.
const ATTACHED = Symbol.for('otel-breaker.attached');
const attached = ((globalThis as Record<symbol, unknown>)[ATTACHED] ??= new Map()) as Map<string, object>;

// By their client: those that are detached, and whose patches still see how the calls end that are under way.
const leaving = new Map<string, Attachment>();
const LOOK_AGAIN_MS = 50;

/** An attachment by its class. */
export interface AttachmentClass {
  new (guard: Guard): Attachment;
  readonly client: string;
}

/**
 * Ties one client library to the guard: attaches to it, detaches from it, and knows the doors that its calls use.
 *
 * Nothing of `@opentelemetry/instrumentation` is behind it: the preload starts attachments before the application's SDK
 * is there, and constructing an `InstrumentationBase` that early costs the application its http spans.
 */
export abstract class Attachment {
  /** What its calls ask. Replaced where an instrumentation gets other rules. */
  guard: Guard;
  readonly #spans = getRuntime().spans;
  /** Of OpenTelemetry's instrumentation of the client. */
  readonly #tracer: string | undefined;
  #patches: Patches | undefined;
  /** What is patched while it is detached and calls are under way. */
  #lasting: { readonly patches: Patches; readonly timer: NodeJS.Timeout } | undefined;

  /** @param client as it is called here and, at the end, in the name of OpenTelemetry's instrumentation: `ioredis` */
  protected constructor(
    readonly client: string,
    guard: Guard,
  ) {
    this.guard = guard;
    this.#tracer = INSTRUMENTATION_SCOPES.get(client)?.[0];
  }

  /** Changes the client through `patches` and nothing else, so that everything can be undone. */
  protected abstract patch(patches: Patches): void;

  /**
   * Attaches to each copy of a package, once. By a file of it and by shape, not by package name: copies are installed under
   * other names too.
   *
   * @param ending of the file, as `Patches.onModule` takes it
   * @param find what is patched of its exports; `undefined` where they have another shape, or none yet: files that require
   * each other see a half-made one first
   */
  protected onEachCopy<T extends object>(
    patches: Patches,
    ending: string,
    find: (exports: unknown) => T | undefined,
    patch: (found: T) => void,
  ): void {
    const patched = new WeakSet<object>();
    const look = harmless(`Attaching to a copy of ${this.client} failed`, (exports: unknown) => {
      const found = find(exports);
      if (found === undefined || patched.has(found)) return;
      patched.add(found);
      patch(found);
    });
    patches.onModule(ending, look);
  }

  /** Whether calls are to ask. A patch that had to stay in place after `detach()` lets everything pass. */
  get isAttached(): boolean {
    return this.#patches !== undefined;
  }

  /** Attaches to the client, copies loaded already and later. Attached already, here or by another copy of us, it does nothing. */
  attach(): void {
    if (this.#patches !== undefined) return;
    if (attached.has(this.client)) {
      log.debug(`${this.client} is attached already, by another instance`);
      return;
    }
    attached.set(this.client, this);
    this.#patches = this.#takeLasting();
    if (this.#patches !== undefined) return;
    const former = leaving.get(this.client);
    if (former !== undefined) former.#takeLasting()?.undo();
    this.#patches = new Patches(() => getRuntime().attached(this.client));
    this.patch(this.#patches);
  }

  /**
   * Leaves the client as it was: at once, or when no call is under way any more. Calls only pass until then, but nobody else
   * would hear of the ends of those that have asked: they would be in flight for good, and probes would keep their places.
   */
  detach(): void {
    const patches = this.#patches;
    if (patches === undefined) return;
    attached.delete(this.client);
    this.#patches = undefined;
    if (!this.guard.hasCallsInFlight) return patches.undo();
    const look = () => {
      if (!this.guard.hasCallsInFlight) this.#takeLasting()?.undo();
    };
    this.#lasting = { patches, timer: setInterval(look, LOOK_AGAIN_MS).unref() };
    leaving.set(this.client, this);
  }

  #takeLasting(): Patches | undefined {
    const lasting = this.#lasting;
    if (lasting === undefined) return undefined;
    clearInterval(lasting.timer);
    leaving.delete(this.client);
    this.#lasting = undefined;
    return lasting.patches;
  }

  /**
   * The span of a call about to be made: what OpenTelemetry's instrumentation has made for it, else the active one.
   *
   * @param active the active context, where anybody keeps contexts
   */
  callSpan(active: Context | undefined): Span | undefined {
    return this.#spans.claim(this.#tracer, active) ?? (active && trace.getSpan(active));
  }

  /** The span that OpenTelemetry's instrumentation has made within the client's own function, where it is within ours. */
  innerSpan(): Span | undefined {
    return this.#spans.claim(this.#tracer);
  }

  /** What has just been called of the client is no call that asks: the span that was made for it is not that of the next one. */
  forgetSpan(): void {
    try {
      this.#spans.forget(this.#tracer);
    } catch (error) {
      reportOnce('Finding the span of a call failed', error);
    }
  }

  /** The options of a call that has just been rejected, where it gets an answer rather than an error. */
  responds(target: Target, call: object): BreakerConfig | undefined {
    const config = this.guard.configOf(target, call);
    return whenOpenFor(this.client, config) === 'respond' ? config : undefined;
  }

  /** Whether calls to a target need no asking just now. Counts and changes nothing. */
  isClosed(target: Target, call?: object): boolean {
    return this.#patches === undefined || this.guard.isClosed(target, call);
  }

  /** Whether the circuit of a target is open and says so to its callers. */
  refuses(target: Target): boolean {
    return this.#patches !== undefined && this.guard.refuses(target);
  }

  /** A handshake with a target has ended well: the way to a probe, where its circuit is open since none could be made. */
  signOfLife(target: Target): void {
    if (this.#patches !== undefined) this.guard.signOfLife(target);
  }

  /** Whether calls to a target go on waiting in their client's own queue while its circuit is open. */
  letsWait(target: Target, call?: object): boolean {
    return this.#patches === undefined || this.guard.letsWait(target, call);
  }

  /** Why a call that was let through must not go on waiting: its circuit has opened meanwhile. */
  rejection(target: Target): CircuitOpenError | undefined {
    return this.#patches === undefined ? undefined : this.guard.rejection(target);
  }

  /** A client has the connection that all its calls wait for. */
  connected(target: Target): void {
    if (this.#patches !== undefined) this.guard.closeBySignOfLife(target);
  }

  /** A permit for what a target has shown without being called: a connection that could not be made. */
  evidence(target: Target): Permit {
    return this.#patches === undefined ? UNGUARDED : this.guard.evidence(target);
  }
}
