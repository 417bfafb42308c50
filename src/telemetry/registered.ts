// Where every copy of OpenTelemetry's API keeps what an SDK has registered.
const API = Symbol.for('opentelemetry.js.api.1');

interface Registered {
  readonly context?: unknown;
}

const globals = globalThis as { readonly [API]?: Registered };

/** Whether anybody keeps contexts, without which no span is active and no tracing suppressed. A fraction of asking the API. */
export function keepsContexts(): boolean {
  return globals[API]?.context !== undefined;
}
