import { useEffect, useState } from 'preact/hooks';
import { STATE_SIGNS, STATE_WORDS, span } from '../format.js';
import { headline } from '../headline.js';
import type { State } from '../live-store.js';

// Above this number of changes at once, a screen reader hears their number only.
const MAX_ANNOUNCED = 3;

const SIGNS = { open: STATE_SIGNS.open, half_open: STATE_SIGNS.half_open, trouble: '✕', fine: STATE_SIGNS.closed };

/** What is wrong now, in one sentence. */
export function Headline({ state, staleMs }: { state: State; staleMs: number }) {
  const { level, text } = headline(state);
  return (
    <p class={`headline ${level}`} data-headline>
      <span aria-hidden="true">{SIGNS[level]}</span> {staleMs > 0 && `${span(staleMs)} ago: `}
      {text}
    </p>
  );
}

export function Connection({ state, staleMs }: { state: State; staleMs: number }) {
  const isLive = state.connected && staleMs === 0;
  const words = state.connected ? 'nothing heard' : 'connection lost, retrying';
  return (
    <p class={`connection ${isLive ? 'live' : 'lost'}`} role="status">
      {isLive ? 'live' : state.loaded ? words : 'connecting'}
      {/* The number changes every second: no word for a screen reader. */}
      {state.loaded && !isLive && <span aria-hidden="true"> · last update {span(staleMs)} ago</span>}
    </p>
  );
}

/** Tells screen readers what has changed, once. */
export function Announcer({ state: { transitions, loaded } }: { state: State }) {
  const [said, setSaid] = useState<number>();
  const [text, setText] = useState('');
  const newest = transitions.reduce((most, { sequence }) => Math.max(most, sequence), 0);
  useEffect(() => {
    if (!loaded) return;
    setSaid(newest);
    // Do not announce what happened before the page was opened.
    if (said === undefined || newest <= said) return;
    const fresh = transitions.filter(({ sequence }) => sequence > said);
    setText(
      fresh.length > MAX_ANNOUNCED
        ? `${fresh.length} circuits changed their state`
        : fresh.map(({ name, to, reason }) => `${name} is ${STATE_WORDS[to]}: ${reason}`).join('. '),
    );
  }, [loaded, newest]);
  return (
    <div class="unseen" aria-live="polite" data-announcer>
      {text}
    </div>
  );
}
