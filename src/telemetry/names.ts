// The name of every metric, event and attribute, each written once.
/**
 * The name of every metric, event and attribute, each written once. Imports nothing, so that the console's page can take
 * its names from here as well.
 */

/** Names of instruments: seven describe breakers, the others exist where they are needed. The Prometheus exporter makes `_` of each `.`, and adds `_total` to a counter. */
export const METRIC = {
  state: 'circuit_breaker.state',
  calls: 'circuit_breaker.calls',
  successfulCalls: 'circuit_breaker.successful_calls',
  failedCalls: 'circuit_breaker.failed_calls',
  rejectedCalls: 'circuit_breaker.rejected_calls',
  transitions: 'circuit_breaker.state_transitions',
  duration: 'circuit_breaker.call.duration_seconds',
  /** Of breakers in mode observe. */
  mode: 'circuit_breaker.mode',
  /** From the first panic on. */
  panic: 'circuit_breaker.panic',
  /** From the first reload on. */
  rulesReloaded: 'circuit_breaker.rules.last_reload_successful',
  /** Where a fleet is configured. */
  fleetConnected: 'circuit_breaker.fleet.connected',
  fleetReplicas: 'circuit_breaker.fleet.replicas',
  fleetState: 'circuit_breaker.fleet.state',
  fleetCommands: 'circuit_breaker.fleet.commands',
} as const;

/** Names of events on spans and of log records. */
export const EVENT = {
  transition: 'circuit_breaker.state_transition',
  rejected: 'circuit_breaker.rejected',
  panic: 'circuit_breaker.panic',
} as const;

export type EventName = (typeof EVENT)[keyof typeof EVENT];

/** Attributes of events and of client spans. */
export const ATTRIBUTE = {
  name: 'circuit_breaker.name',
  /** On a client span whose call met a circuit that was not closed. */
  state: 'circuit_breaker.state',
  stateFrom: 'circuit_breaker.state.from',
  stateTo: 'circuit_breaker.state.to',
  reason: 'circuit_breaker.reason',
  failureRate: 'circuit_breaker.failure_rate',
  retryAfterMs: 'circuit_breaker.retry_after_ms',
  /** The failing calls that led to an opening, each as `<trace id>/<span id>`. */
  failures: 'circuit_breaker.failures',
  enforced: 'circuit_breaker.enforced',
  openedByTraceId: 'circuit_breaker.opened_by.trace_id',
  openedBySpanId: 'circuit_breaker.opened_by.span_id',
  panic: 'circuit_breaker.panic',
  /** Where there is a fleet: who changed the circuit. */
  by: 'circuit_breaker.by',
  /** Hosts that saw the target fail, hosts there are, and hosts that reach it. */
  fleetFailing: 'circuit_breaker.fleet.failing',
  fleetReplicas: 'circuit_breaker.fleet.replicas',
  fleetAgainst: 'circuit_breaker.fleet.against',
  // OpenTelemetry's own.
  errorType: 'error.type',
  serverAddress: 'server.address',
  serverPort: 'server.port',
} as const;

/** Whether an event on a span is one of ours. */
export function isBreakerEvent(name: string): name is EventName {
  return name === EVENT.transition || name === EVENT.rejected || name === EVENT.panic;
}

/** Whether a change of state begins or ends an outage; a probe that fails in between, perhaps for the hundredth time, does neither. */
export function isTurningPoint(from: unknown, to: unknown): boolean {
  return (from === 'closed') !== (to === 'closed');
}
