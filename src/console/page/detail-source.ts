import { useEffect, useState } from 'preact/hooks';
import type { BreakerDetail, BreakerView } from '../api.js';

export function addressOf(name: string, more = ''): string {
  return `breakers/${encodeURIComponent(name)}${more}`;
}

/**
 * What events do not tell of a breaker: asked for anew when it has changed.
 *
 * @param latest the number of the last that happened to it
 */
export function useDetail(
  { name, worker, transitionCount, mode, state }: BreakerView,
  latest: number | undefined,
): BreakerDetail | undefined {
  const [detail, setDetail] = useState<BreakerDetail>();
  useEffect(() => {
    let wanted = true;
    const query = worker === null ? '' : `?worker=${encodeURIComponent(worker)}`;
    void fetch(addressOf(name, query))
      .then(async (answer) => {
        const body: unknown = answer.ok ? await answer.json() : undefined;
        if (wanted && body !== undefined) setDetail(body as BreakerDetail);
      })
      // The header says that the connection is lost. Keep what is shown.
      .catch(() => {});
    return () => {
      wanted = false;
    };
  }, [name, worker, transitionCount, mode, state, latest]);
  return detail;
}
