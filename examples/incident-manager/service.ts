import { createHash, randomUUID } from 'node:crypto';
import type { IncidentCache } from './cache.js';
import type { EdgeAgentClient, GovernanceClient, SentinelClient, ShieldClient } from './clients.js';
import type {
  Enrichment,
  Incident,
  IncidentFilter,
  IncidentReport,
  IncidentStore,
  NotificationSender,
  Page,
  Severity,
} from './domain.js';
import { InMemoryIncidentStore } from './stores.js';

export type Channel = 'slack' | 'email' | 'pagerduty' | 'webhook';
export type Dependency = 'sentinel' | 'shield' | 'edge-agent' | 'governance' | 'postgresql' | 'redis' | Channel;

/** What the service uses. It does not know whether these are guarded. */
export interface Dependencies {
  readonly sentinel: SentinelClient;
  readonly shield: ShieldClient;
  readonly edgeAgent: EdgeAgentClient;
  readonly governance: GovernanceClient;
  readonly store: IncidentStore;
  readonly cache: IncidentCache;
  readonly senders: Readonly<Record<Channel, NotificationSender>>;
}

/** What the service did, and which dependencies were missing. */
export interface Outcome<T> {
  readonly value: T;
  /** Dependencies that could not be asked. */
  readonly degraded: readonly Dependency[];
}

/** Dependencies that failed while one request was answered. */
class Degradations {
  readonly names = new Set<Dependency>();

  /** The dependency's answer; if it fails, the fallback. */
  async or<T, F>(name: Dependency, ask: () => Promise<T>, without: () => F | Promise<F>): Promise<T | F> {
    try {
      return await ask();
    } catch {
      // An error of the dependency and a rejection of its circuit are treated alike.
      this.names.add(name);
      return without();
    }
  }

  of<T>(value: T): Outcome<T> {
    return { value, degraded: [...this.names].sort() };
  }
}

/**
 * Takes in incidents, finds out more about them, keeps them and tells people.
 *
 * Any of the ten dependencies may be down; README.md says what changes then.
 */
export class IncidentService {
  /** Incidents that are not in the database yet. */
  readonly #waiting = new InMemoryIncidentStore();

  constructor(private readonly dependencies: Dependencies) {}

  async report(report: IncidentReport): Promise<Outcome<Incident>> {
    const degradations = new Degradations();
    const fingerprint = fingerprintOf(report);
    const known = await this.#stored(degradations, (store) => store.findByFingerprint(fingerprint));
    const incident = known === undefined ? await this.#create(report, fingerprint, degradations) : again(known);

    await this.#stored(degradations, (store) => store.saveIncident(incident));
    await degradations.or('redis', () => this.dependencies.cache.put(incident), nothing);
    // People were notified at the first report.
    if (known === undefined) await this.#notify(degradations, (sender) => sender.send(incident));
    return degradations.of(incident);
  }

  async get(id: string): Promise<Outcome<Incident | undefined>> {
    const degradations = new Degradations();
    const { cache } = this.dependencies;
    const cached = await degradations.or('redis', () => cache.get(id), nothing);
    if (cached !== undefined) return degradations.of(cached);
    const stored = await this.#stored(degradations, (store) => store.getIncident(id));
    const incident = stored ?? (await this.#waiting.getIncident(id));
    if (incident !== undefined) await degradations.or('redis', () => cache.put(incident), nothing);
    return degradations.of(incident);
  }

  async list(filter: IncidentFilter, page: Page): Promise<Outcome<{ total: number; incidents: Incident[] }>> {
    const degradations = new Degradations();
    const value = await this.#stored(degradations, async (store) => ({
      total: await store.countIncidents(filter),
      incidents: await store.listIncidents(filter, page),
    }));
    return degradations.of(value);
  }

  async announce(text: string): Promise<Outcome<string>> {
    const degradations = new Degradations();
    await this.#notify(degradations, (sender) => sender.sendMessage(text));
    return degradations.of(text);
  }

  async #create(report: IncidentReport, fingerprint: string, degradations: Degradations): Promise<Incident> {
    const { sentinel, shield, edgeAgent, governance } = this.dependencies;
    const id = randomUUID();
    const [prediction, security, resources, compliance] = await Promise.all([
      degradations.or('sentinel', () => sentinel.predictSeverity(report), nothing),
      degradations.or('shield', () => shield.analyzeSecurityEvent(report), nothing),
      degradations.or('edge-agent', () => edgeAgent.getResourceUsage(report.source), nothing),
      degradations.or(
        'governance',
        () => governance.checkCompliance({ incidentId: id, description: report.description }),
        nothing,
      ),
    ]);
    const now = new Date().toISOString();
    const enrichment: Enrichment = {
      ...(prediction !== undefined && { confidence: prediction.confidence }),
      ...(security !== undefined && { security }),
      ...(resources !== undefined && { resources }),
      ...(compliance !== undefined && { compliance }),
    };
    const { title, description, source } = report;
    return {
      id,
      title,
      description,
      source,
      severity: prediction?.severity ?? severityByWords(report),
      status: 'open',
      fingerprint,
      occurrences: 1,
      createdAt: now,
      updatedAt: now,
      enrichment,
    };
  }

  /** Asks the database. While it is down, asks the memory, whose incidents are written to the database later. */
  async #stored<T>(degradations: Degradations, ask: (store: IncidentStore) => Promise<T>): Promise<T> {
    const { store } = this.dependencies;
    return degradations.or(
      'postgresql',
      async () => {
        await this.#handOver(store);
        return ask(store);
      },
      () => ask(this.#waiting),
    );
  }

  async #handOver(store: IncidentStore): Promise<void> {
    if (this.#waiting.size === 0) return;
    for (const incident of await this.#waiting.listIncidents({}, { limit: Infinity })) {
      await store.saveIncident(incident);
      await this.#waiting.deleteIncident(incident.id);
    }
  }

  async #notify(degradations: Degradations, tell: (sender: NotificationSender) => Promise<void>): Promise<void> {
    const senders = Object.entries(this.dependencies.senders) as [Channel, NotificationSender][];
    // In parallel: a channel that is down must not stop the others.
    await Promise.all(senders.map(([channel, sender]) => degradations.or(channel, () => tell(sender), nothing)));
  }
}

function nothing(): undefined {
  return undefined;
}

function again(incident: Incident): Incident {
  return { ...incident, occurrences: incident.occurrences + 1, updatedAt: new Date().toISOString() };
}

function fingerprintOf({ source, title }: IncidentReport): string {
  return createHash('sha256').update(`${source}\n${title}`).digest('hex').slice(0, 16);
}

/** The prediction while the model is down. */
export function severityByWords({ title, description }: IncidentReport): Severity {
  const text = `${title} ${description}`.toLowerCase();
  if (/\b(outage|down|data loss|breach)\b/.test(text)) return 'P1';
  return /\b(slow|errors?|degraded|timeouts?)\b/.test(text) ? 'P2' : 'P3';
}
