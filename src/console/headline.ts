import { count, percent, span, untilProbe } from './format.js';
import { notServed, refusedSince, type Row, type State } from './live-store.js';

/** What is wrong now, in one sentence. */
export interface Headline {
  /** The worst that there is: `trouble` is for callers who are not served although no circuit is open. */
  readonly level: 'open' | 'half_open' | 'trouble' | 'fine';
  readonly text: string;
}

// Less than this fails all the time somewhere.
const NOTABLE_SHARE = 0.05;
const MAX_OTHERS = 3;

export function headline({ rows, panic, now, loaded, hidden }: State): Headline {
  const all = [...rows.values()];
  if (!loaded) return { level: 'fine', text: 'Connecting …' };
  // The worst first: circuits that reject, and of those the one that has rejected most.
  const troubled = all
    .filter(({ view }) => view.state !== 'closed')
    .sort((a, b) => rank(b) - rank(a) || refusedSince(b) - refusedSince(a) || since(a) - since(b));
  const [worst] = troubled;
  if (worst !== undefined) {
    const level = worst.view.state === 'open' ? 'open' : 'half_open';
    const text = describe(worst, all, panic !== null, now);
    const names = [...new Set(troubled.map(({ view }) => view.name))].filter((name) => name !== worst.view.name);
    return { level, text: `${text}${others(names)}` };
  }
  const failing = all
    .map((row) => ({ row, share: notServed(row, now) }))
    .filter(({ share }) => share >= NOTABLE_SHARE)
    .sort((a, b) => b.share - a.share);
  if (failing.length > 0) {
    const [{ row, share }] = failing as [(typeof failing)[0]];
    const names = [...new Set(failing.map((each) => each.row.view.name))].filter((name) => name !== row.view.name);
    const text = `No circuit is open. Of the last minute’s calls to ${row.view.name}, ${percent(share)} were not served.`;
    return { level: 'trouble', text: `${text}${others(names)}` };
  }
  if (all.length === 0) return { level: 'fine', text: 'No target has been called yet.' };
  const number = all.length + hidden;
  return { level: 'fine', text: number === 1 ? 'The circuit is closed.' : `All ${count(number)} circuits are closed.` };
}

function rank({ view: { state, mode } }: Row): number {
  if (mode !== 'enforce') return 0;
  return state === 'open' ? 2 : 1;
}

function since({ view: { trouble, lastStateChange } }: Row): number {
  return Date.parse(trouble?.since ?? lastStateChange);
}

function describe(row: Row, all: readonly Row[], isPanic: boolean, now: number): string {
  const { name, state, mode, trouble, probes, admitted, openUntil, worker } = row.view;
  const same = all.filter(({ view }) => view.name === name);
  const hit = same.filter(({ view }) => view.state !== 'closed');
  const where =
    same.length > 1 ? ` in ${hit.length} of ${same.length} workers` : worker === null ? '' : ` in worker ${worker}`;
  const how = state === 'open' ? 'open' : 'half-open';
  const refused = hit.reduce((sum, each) => sum + refusedSince(each), 0);
  const callers = refused === 1 ? '1 caller' : `${count(refused)} callers`;
  const isEnforced = mode === 'enforce' && !isPanic;
  const parts = [
    `${name} is ${how}${where} for ${span(now - since(row))}${trouble === null ? '' : `: ${trouble.reason}`}`,
    ...(refused === 0 ? [] : [isEnforced ? `${callers} refused` : `${callers} would have been refused`]),
    ...(isEnforced ? [] : [isPanic && mode === 'enforce' ? 'panic, so no call is refused' : `mode ${mode}`]),
    ...(state === 'open' ? [`next probe ${untilProbe(openUntil, now)}`] : []),
    ...(probes === null ? [] : [`${probes.succeeded} of ${probes.needed} probes succeeded`]),
    ...(admitted === undefined ? [] : [`${percent(admitted)} of calls are let through again`]),
  ];
  return `${parts.join('; ')}.`;
}

function others(names: readonly string[]): string {
  if (names.length === 0) return '';
  const shown = names.slice(0, MAX_OTHERS);
  const more = names.length - shown.length;
  return ` Also: ${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}.`;
}
