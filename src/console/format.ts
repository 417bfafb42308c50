// Words of the page: spans, events, times.
import type { CircuitState } from '../breaker/state.js';
import { ATTRIBUTE, EVENT, isBreakerEvent, isTurningPoint } from '../telemetry/names.js';
import type { BreakerView, FleetBreakerView, SpanEventView, SpanView, TraceView } from './api.js';

export const STATE_WORDS: Readonly<Record<CircuitState, string>> = {
  closed: 'closed',
  open: 'open',
  half_open: 'half-open',
};

// Beside the colour, so that nothing is told by colour alone.
export const STATE_SIGNS: Readonly<Record<CircuitState, string>> = { closed: '●', open: '▲', half_open: '◐' };

/** One of our events on a span, in words. */
export interface BreakerEvent {
  readonly kind: CircuitState | 'rejected';
  readonly breaker: string;
  readonly title: string;
  readonly reason: string;
  /** Whether it begins or ends an outage, or panic. */
  readonly isTurningPoint: boolean;
  /** The call that opened the circuit which rejected this one. */
  readonly openedBy: { readonly traceId: string; readonly spanId: string } | undefined;
}

/** @returns `undefined` where the event is not one of ours */
export function breakerEvent({ name, attributes }: SpanEventView): BreakerEvent | undefined {
  if (!isBreakerEvent(name)) return undefined;
  const text = (key: keyof typeof ATTRIBUTE) => textOf(attributes[ATTRIBUTE[key]]);
  const [breaker, reason, to] = [text('name'), text('reason'), text('stateTo') as CircuitState];
  if (name === EVENT.transition) {
    const from = text('stateFrom') as CircuitState;
    const title = `${breaker}: ${STATE_WORDS[from]} → ${STATE_WORDS[to]}`;
    return { kind: to, breaker, title, reason, isTurningPoint: isTurningPoint(from, to), openedBy: undefined };
  }
  if (name === EVENT.panic) {
    const begins = attributes[ATTRIBUTE.panic] === true;
    const title = begins ? 'panic: no call is rejected' : 'panic is over: circuits reject again';
    return { kind: begins ? 'open' : 'closed', breaker, title, reason, isTurningPoint: true, openedBy: undefined };
  }
  const [traceId, spanId] = [text('openedByTraceId'), text('openedBySpanId')];
  const enforced = attributes[ATTRIBUTE.enforced] !== false;
  return {
    kind: 'rejected',
    breaker,
    title: `${breaker}: ${enforced ? 'rejected' : 'would have been rejected'}`,
    reason,
    isTurningPoint: false,
    openedBy: traceId === '' ? undefined : { traceId, spanId },
  };
}

export function breakerEvents({ spans }: TraceView): BreakerEvent[] {
  return spans.flatMap(({ events }) => events.map(breakerEvent)).filter((event) => event !== undefined);
}

/** Instrumentations name a span `GET` where they know no route; its path says more. */
export function titleOf({ name, attributes }: SpanView): string {
  const where = textOf(attributes['url.path'] ?? attributes[ATTRIBUTE.serverAddress]);
  return /^[A-Z]+$/.test(name) && where !== '' ? `${name} ${where}` : name;
}

export function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  return value === undefined || value === null ? '' : JSON.stringify(value);
}

/** How far a half-open circuit has come; empty of others. */
export function progressOf({ probes, admitted }: Pick<BreakerView, 'probes' | 'admitted'>): string {
  if (admitted !== undefined) return `${percent(admitted)} of calls`;
  return probes === null ? '' : `${probes.succeeded} of ${probes.needed} good`;
}

export function percent(share: number): string {
  return `${Number((share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0))} %`;
}

export function perSecond(rate: number): string {
  if (rate === 0) return '0/s';
  return `${rate < 10 ? rate.toFixed(1) : count(Math.round(rate))}/s`;
}

export function milliseconds(ms: number): string {
  if (ms >= 10_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms >= 100) return `${Math.round(ms)} ms`;
  return `${Number(ms.toFixed(ms >= 1 ? 1 : 2))} ms`;
}

/** "12 s", "3 min", "2 h": as exact as one needs it. */
export function span(ms: number): string {
  const seconds = Math.max(Math.round(ms / 1_000), 0);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 120 * 60) return `${Math.round(seconds / 60)} min`;
  return seconds < 48 * 3_600 ? `${Math.round(seconds / 3_600)} h` : `${Math.round(seconds / 86_400)} d`;
}

/** "in 12 s", "with the next call"; for an open circuit. */
export function untilProbe(openUntil: string | null, now: number): string {
  if (openUntil === null) return 'after a reset';
  const seconds = Math.ceil((Date.parse(openUntil) - now) / 1_000);
  return seconds <= 0 ? 'with the next call' : `in ${span(seconds * 1_000)}`;
}

// One of each for all: toLocaleString() makes a new one for each call, and a page writes hundreds of numbers a second. With
// the first text that needs it: the three take a service that starts 30 ms, and most show nobody anything.
let numbers: Intl.NumberFormat | undefined;
let times: Intl.DateTimeFormat | undefined;
let days: Intl.DateTimeFormat | undefined;

export function count(number: number): string {
  return (numbers ??= new Intl.NumberFormat('en')).format(number);
}

export function clock(iso: string): string {
  times ??= new Intl.DateTimeFormat([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
  return times.format(new Date(iso));
}

/** The day, in the order that no reader takes for another one. */
export function day(iso: string): string {
  days ??= new Intl.DateTimeFormat([], { day: 'numeric', month: 'short', year: 'numeric' });
  return days.format(new Date(iso));
}

/** With the day, unless it is that of `today`. */
export function moment(iso: string, today: string): string {
  return day(iso) === today ? clock(iso) : `${day(iso)}, ${clock(iso)}`;
}

/** How a breaker stands to its fleet, in a few words. */
export function fleetWords({ mode, connected, replicas, hosts, ...fleet }: FleetBreakerView): string {
  if (!connected) return 'not reached: this process decides by itself';
  const { verdict, failing, against, stance, prober } = fleet;
  const size = `${count(replicas)} ${replicas === 1 ? 'replica' : 'replicas'}`;
  if (verdict === 'closed') return `${size}, mode ${mode}; the target is well`;
  const votes = `${failing} of ${hosts} saw it fail${against > 0 ? `, ${against} reach it` : ''}`;
  const does = { none: '', accuses: '; it fails here', obeys: '', objects: '; this process reaches it' }[stance];
  return `${size}, mode ${mode}; open: ${votes}${does}${prober === null ? '' : `; ${prober} probes`}`;
}

/** That shared breakers have no fleet at present; empty where all have theirs, and where nothing is shared. */
export function fleetTrouble(breakers: Iterable<BreakerView>): string {
  const alone = Array.from(breakers).filter(({ fleet }) => fleet?.connected === false).length;
  if (alone === 0) return '';
  return `The fleet is not reached: ${alone === 1 ? 'one circuit decides by itself' : `${count(alone)} circuits decide by themselves`}.`;
}
