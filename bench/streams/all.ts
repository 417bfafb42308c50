import { STREAM_CLIENTS, type StreamClient } from './clients.js';
import { measureStreams, type StreamCosts } from './measure.js';

/** What a call costs with nothing around it, and what is added: by nothing again, by the floor, and by otel-breaker. */
export interface ClientOnStreams {
  readonly client: StreamClient;
  readonly alone: StreamCosts;
  /** What the floor and otel-breaker add where OpenTelemetry's instrumentation makes a span for every call. */
  readonly traced: StreamCosts;
}

/** What is measured anew; the figures of all else stay as they are. */
export interface Wanted {
  readonly clients: readonly StreamClient[];
  /** Whether beside OpenTelemetry, too. */
  readonly traced: boolean;
}

/** @param dist the folder of a build of otel-breaker */
export async function measureAllStreams(
  dist: string,
  sets: number,
  wanted: Wanted,
  known: readonly ClientOnStreams[],
  tell: (progress: string) => void,
): Promise<ClientOnStreams[]> {
  const alone = [
    { name: 'nothing', around: 'nothing' },
    { name: 'A/A', around: 'nothing' },
    { name: 'floor', around: 'floor' },
    { name: 'otel-breaker', around: dist },
  ];
  const traced = [
    { name: 'OpenTelemetry', around: 'nothing', traced: true },
    { name: 'floor', around: 'floor', traced: true },
    { name: 'otel-breaker', around: dist, traced: true },
  ];
  const found: ClientOnStreams[] = [];
  for (const client of STREAM_CLIENTS) {
    const before = known.find((one) => one.client === client)!;
    if (!wanted.clients.includes(client)) {
      found.push(before);
      continue;
    }
    found.push({
      client,
      alone: await measureStreams(client, alone, sets),
      traced: wanted.traced ? await measureStreams(client, traced, sets) : before.traced,
    });
    tell(client);
  }
  return found;
}
