import type { CircuitBreaker } from '../breaker/circuit-breaker.js';

/** One line for the log: calls to a target hang, and what to write so that its circuit opens then. */
export function describeHangingCalls({ name, labels }: CircuitBreaker, calls: number): string {
  const { system, server_address: host, server_port: port } = labels;
  const rule =
    host === undefined
      ? 'give the breaker the option slowCallDuration: 30s'
      : `write the rule "- { match: { system: ${system}, host: ${JSON.stringify(host)}${port === undefined ? '' : `, port: ${port}`} }, slowCallDuration: 30s }"`;
  return (
    `${calls} or more calls to ${name} have waited for a minute and nobody has given them up, so its circuit stays as it is. ` +
    `To open it when half of the calls take too long, ${rule}`
  );
}
