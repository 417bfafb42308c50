/** Severity: P0 means that everything is down, P4 is a wish. */
export type Severity = 'P0' | 'P1' | 'P2' | 'P3' | 'P4';
export type IncidentStatus = 'open' | 'acknowledged' | 'resolved';

/** What somebody, or something, reports. */
export interface IncidentReport {
  readonly title: string;
  readonly description: string;
  /** The service that is in trouble. */
  readonly source: string;
}

export interface Incident extends IncidentReport {
  readonly id: string;
  readonly severity: Severity;
  readonly status: IncidentStatus;
  /** Equal for reports of the same incident. */
  readonly fingerprint: string;
  /** How often it was reported. */
  readonly occurrences: number;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly enrichment: Enrichment;
}

/** The findings of the four LLM services about an incident. A service that could not be asked has none. */
export interface Enrichment {
  readonly confidence?: number;
  readonly security?: { readonly threat: boolean; readonly summary: string };
  readonly resources?: { readonly cpu: number; readonly memory: number };
  readonly compliance?: { readonly compliant: boolean; readonly violations: readonly string[] };
}

export interface IncidentFilter {
  readonly severity?: Severity;
  readonly status?: IncidentStatus;
  readonly source?: string;
}

export interface Page {
  /** Default 0. */
  readonly offset?: number;
  /** Default 50. */
  readonly limit?: number;
}

export const DEFAULT_LIMIT = 50;

export interface IncidentStore {
  /** Replaces the incident of the same id. */
  saveIncident(incident: Incident): Promise<void>;
  getIncident(id: string): Promise<Incident | undefined>;
  /** @returns the incident as it is now; `undefined` where there is none */
  updateIncident(id: string, changes: Partial<Omit<Incident, 'id'>>): Promise<Incident | undefined>;
  /** @returns whether there was one */
  deleteIncident(id: string): Promise<boolean>;
  /** The latest first. */
  listIncidents(filter?: IncidentFilter, page?: Page): Promise<Incident[]>;
  countIncidents(filter?: IncidentFilter): Promise<number>;
  /** The latest incident of that fingerprint that is not resolved. */
  findByFingerprint(fingerprint: string): Promise<Incident | undefined>;
}

/** A way to tell people. */
export interface NotificationSender {
  send(incident: Incident): Promise<void>;
  sendMessage(text: string): Promise<void>;
}
