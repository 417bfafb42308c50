import type { RefObject } from 'preact';
import { useEffect, useState } from 'preact/hooks';

// Rows beyond the edge, so that scrolling shows no gap.
const MARGIN_PX = 300;

/** The part of a long list that can be seen, in pixels from its beginning. */
export interface Part {
  readonly from: number;
  readonly to: number;
}

/** Whether it scrolls by itself or with the page, what can be seen is where its own box, its scroller and the window meet. */
export function useVisiblePart(list: RefObject<HTMLElement | null>): Part {
  const [part, setPart] = useState<Part>({ from: 0, to: 1_000 });
  useEffect(() => {
    const look = () => {
      const scroller = list.current?.parentElement;
      if (list.current === null || scroller == null) return;
      const { top } = list.current.getBoundingClientRect();
      const clip = scroller.getBoundingClientRect();
      const from = Math.max(Math.max(clip.top, 0) - top - MARGIN_PX, 0);
      const to = Math.min(clip.bottom, innerHeight) - top + MARGIN_PX;
      setPart((before) => (before.from === from && before.to === to ? before : { from, to }));
    };
    look();
    // Scrolling does not bubble, so it is caught on its way down.
    addEventListener('scroll', look, { capture: true, passive: true });
    addEventListener('resize', look);
    const observer = new ResizeObserver(look);
    if (list.current?.parentElement != null) observer.observe(list.current.parentElement);
    return () => {
      removeEventListener('scroll', look, { capture: true });
      removeEventListener('resize', look);
      observer.disconnect();
    };
  }, []);
  return part;
}
