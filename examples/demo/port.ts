/** Says at once, before anything is built or started, that the demo's port is taken, and what to do. */
import { once } from 'node:events';
import { createServer } from 'node:net';

const VARIABLE = 'OTEL_EXPORTER_PROMETHEUS_PORT';
const DEFAULT = 9464;

export async function needFreePort(): Promise<void> {
  const server = createServer();
  try {
    await once(server.listen(wantedPort(), process.env.OTEL_EXPORTER_PROMETHEUS_HOST || '127.0.0.1'), 'listening');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    throw new Error(takenPort(), { cause: error });
  }
  server.close();
  await once(server, 'close');
}

export function takenPort(): string {
  const port = wantedPort();
  return (
    `Port ${port} is taken, and the demo shows its page there. End the other process (another demo?), ` +
    `or take another port: ${VARIABLE}=${port + 1} npm run demo`
  );
}

function wantedPort(): number {
  return Number(process.env[VARIABLE] || DEFAULT);
}

if (require.main === module) {
  needFreePort().catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  });
}
