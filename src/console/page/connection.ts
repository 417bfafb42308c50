import { useEffect, useState } from 'preact/hooks';
import { EMPTY, reduce, type Message, type State } from '../live-store.js';

const RETRY_MS = 5_000;
// Something comes every second; whoever says nothing for so long stands still, whatever the connection says.
const SILENT_MS = 4_000;

/** Keeps what the server sends, and draws at most once per frame. */
export function follow(onState: (state: State) => void, onHeard: () => void): void {
  let state = EMPTY;
  let drawing = false;

  function take(message: Message) {
    state = reduce(state, message);
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      onState(state);
    });
  }

  function connect() {
    const events = new EventSource('events');
    for (const kind of ['snapshot', 'tick'] as const) {
      events.addEventListener(kind, ({ data }: MessageEvent<string>) => {
        onHeard();
        take({ kind, data: JSON.parse(data) as never });
      });
    }
    events.addEventListener('error', () => {
      take({ kind: 'lost' });
      // EventSource reconnects by itself after a lost connection, but not after an answer that was no event stream.
      if (events.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);
    });
  }
  connect();
}

/**
 * How old what is shown is, in milliseconds; 0 while it is live.
 *
 * By this machine's clock, which goes on when the server's is not heard any more.
 */
export function useStaleness(connected: boolean, heardAt: { readonly current: number }): number {
  const [age, setAge] = useState(0);
  useEffect(() => {
    const look = () => {
      const silent = performance.now() - heardAt.current;
      setAge(heardAt.current > 0 && (!connected || silent > SILENT_MS) ? Math.max(silent, 1) : 0);
    };
    look();
    const timer = setInterval(look, 1_000);
    return () => clearInterval(timer);
  }, [connected]);
  return age;
}
