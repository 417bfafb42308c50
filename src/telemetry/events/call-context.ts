import type { Span } from '@opentelemetry/api';
import type { FailedCall } from '../../breaker/options.js';
import { normalizePath, type Target } from '../../target.js';

/** What telemetry knows of the call behind an event. The client calls of instrumentations are such. */
export interface CallContext {
  /** The client span that another instrumentation made for the call, else the span that was active when it began. */
  readonly span: Span | undefined;
  /** What OpenTelemetry's instrumentation of that client names its spans: `GET`. Asked only where nothing else records the call. */
  spanName(): string;
  /** A header of the request, named in lower case. Asked with the first call to a target, to know agents by it. */
  header?(name: string): unknown;
  /** Of a request: what rules tell calls to one target apart by. */
  readonly method?: string | undefined;
  /** Of a request, as it is sent, or of a gRPC method. */
  readonly path?: string | undefined;
  /** The name of a command, without its arguments. */
  readonly command?: string | undefined;
  /** Where it goes, once it has asked. */
  readonly target?: Target | undefined;
}

/** What `isFailure` is told of a call. @param context `undefined` of breakers made in code */
export function describeCall(context: unknown): Omit<FailedCall, 'name'> {
  const { target, method, path, command } = (context ?? {}) as Partial<CallContext>;
  return {
    ...(target && { system: target.system, host: target.host, port: target.port, database: target.database }),
    ...(method !== undefined && { method: method.toUpperCase() }),
    ...(path !== undefined && { path: normalizePath(path) }),
    ...(command !== undefined && { command }),
  };
}
