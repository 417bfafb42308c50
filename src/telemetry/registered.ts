// What an SDK has registered with the API, as far as each call has to know it: the active context.
import { context as contexts, createContextKey, type Context } from '@opentelemetry/api';

// Where every copy of OpenTelemetry's API keeps what an SDK has registered.
const API = Symbol.for('opentelemetry.js.api.1');

interface Registered {
  readonly context?: unknown;
}

const globals = globalThis as { readonly [API]?: Registered };

// The key that OpenTelemetry's suppressTracing() sets; exporters make their own calls under it.
const SUPPRESS_TRACING = createContextKey('OpenTelemetry SDK Context Key SUPPRESS_TRACING');

/**
 * The active context; `undefined` where nobody keeps contexts, so that no span is active and no tracing suppressed. Learning
 * that takes a fraction of asking the API.
 */
export function activeContext(): Context | undefined {
  return globals[API]?.context === undefined ? undefined : contexts.active();
}

/** Whether what is done now is not to be traced, as the calls of exporters. */
export function isSuppressed(active: Context | undefined): boolean {
  return active?.getValue(SUPPRESS_TRACING) === true;
}

/** Does something that is not to be traced. */
export function suppressed(act: () => void): void {
  contexts.with(contexts.active().setValue(SUPPRESS_TRACING, true), act);
}
