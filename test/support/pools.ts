import type { Pool } from 'pg';

/** Ends a pool and waits until its connections are closed, which `end()` does not: a server may stop only after that. */
export async function endPool(pool: Pool): Promise<void> {
  let open = pool.totalCount;
  const closed = new Promise<void>((resolve) => {
    if (open === 0) return resolve();
    pool.on('remove', () => {
      if (--open === 0) resolve();
    });
  });
  await Promise.all([pool.end(), closed]);
}
