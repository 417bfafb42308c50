import type { Span } from '@opentelemetry/api';

/** What telemetry knows of the call behind an event. An instrumentation's own record of a call implements it. */
export interface CallContext {
  /** The client span that another instrumentation made for the call, else the span that was active when it began. */
  readonly span: Span | undefined;
  /** What OpenTelemetry's instrumentation of that client names its spans: `GET`. Asked only where nothing else records the call. */
  spanName(): string;
  /** A header of the request, named in lower case. Asked with the first call to a target, to know agents by it. */
  header?(name: string): unknown;
}

/** The context of a call whose instrumentation has no record of its own to be one. */
export class NamedCall implements CallContext {
  /** @param name the name itself, or what makes it when it is needed */
  constructor(
    public span: Span | undefined,
    private readonly name: string | (() => string),
  ) {}

  spanName(): string {
    return typeof this.name === 'string' ? this.name : this.name();
  }
}
