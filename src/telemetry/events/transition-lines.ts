import type { SpanContext } from '@opentelemetry/api';
import type { CircuitBreaker } from '../../breaker/circuit-breaker.js';
import { formatSeconds } from '../../breaker/format.js';
import type { Transition } from '../../breaker/observer.js';
import { log } from '../log.js';

/**
 * One line in the log for each change of a circuit: a warning when it opens, and a word when it closes. What happens in
 * between, probes that fail and circuits that open again, is for whoever looks closer.
 *
 * @param span the one that carries the event
 */
export function logTransition(
  { config }: CircuitBreaker,
  { name, from, to, reason, retryAfterMs }: Transition,
  span: SpanContext | undefined,
): void {
  const circuit = `circuit "${name}"`;
  const trace = span === undefined ? '' : `; trace ${span.traceId}`;
  if (to === 'closed') return log.info(`${circuit} closed: ${reason}${trace}`);
  if (to === 'half_open') return log.debug(`${circuit} is half-open: ${reason}${trace}`);
  const again = from === 'half_open';
  const observed = config.mode === 'enforce' ? '' : ` in mode ${config.mode}, where no call is rejected`;
  const next = retryAfterMs === undefined ? 'until it is reset' : `next probe in ${formatSeconds(retryAfterMs)}`;
  log[again ? 'debug' : 'warn'](`${circuit} opened${again ? ' again' : ''}${observed}: ${reason}; ${next}${trace}`);
}
