// The interface is asynchronous, memory is not.
/* eslint-disable @typescript-eslint/require-await */
import type { Pool } from 'pg';
import { DEFAULT_LIMIT, type Incident, type IncidentFilter, type IncidentStore, type Page } from './domain.js';

/** Incidents in memory, used while the database is down. */
export class InMemoryIncidentStore implements IncidentStore {
  readonly #incidents = new Map<string, Incident>();

  get size(): number {
    return this.#incidents.size;
  }

  async saveIncident(incident: Incident): Promise<void> {
    this.#incidents.set(incident.id, incident);
  }

  async getIncident(id: string): Promise<Incident | undefined> {
    return this.#incidents.get(id);
  }

  async updateIncident(id: string, changes: Partial<Omit<Incident, 'id'>>): Promise<Incident | undefined> {
    const present = this.#incidents.get(id);
    if (present === undefined) return undefined;
    const incident = { ...present, ...changes };
    this.#incidents.set(id, incident);
    return incident;
  }

  async deleteIncident(id: string): Promise<boolean> {
    return this.#incidents.delete(id);
  }

  async listIncidents(filter: IncidentFilter = {}, page: Page = {}): Promise<Incident[]> {
    const { offset = 0, limit = DEFAULT_LIMIT } = page;
    return this.#matching(filter)
      .sort((a, b) => b.createdAt.localeCompare(a.createdAt) || a.id.localeCompare(b.id))
      .slice(offset, offset + limit);
  }

  async countIncidents(filter: IncidentFilter = {}): Promise<number> {
    return this.#matching(filter).length;
  }

  async findByFingerprint(fingerprint: string): Promise<Incident | undefined> {
    const [latest] = (await this.listIncidents({}, { limit: Infinity })).filter(
      (incident) => incident.fingerprint === fingerprint && incident.status !== 'resolved',
    );
    return latest;
  }

  #matching(filter: IncidentFilter): Incident[] {
    const wanted = Object.entries(filter) as [keyof IncidentFilter, string | undefined][];
    return [...this.#incidents.values()].filter((incident) =>
      wanted.every(([key, value]) => value === undefined || incident[key] === value),
    );
  }
}

interface Row {
  readonly incident: Incident;
}

const COLUMNS: Readonly<Record<keyof IncidentFilter, string>> = {
  severity: 'severity',
  status: 'status',
  source: 'source',
};

/** Incidents in PostgreSQL. */
export class PostgresIncidentStore implements IncidentStore {
  #schema: Promise<unknown> | undefined;

  constructor(private readonly pool: Pool) {}

  async saveIncident(incident: Incident): Promise<void> {
    await this.#query(
      `INSERT INTO incidents (id, fingerprint, severity, status, source, created_at, incident)
       VALUES ($1, $2, $3, $4, $5, $6, $7)
       ON CONFLICT (id) DO UPDATE SET fingerprint = $2, severity = $3, status = $4, source = $5, incident = $7`,
      [
        incident.id,
        incident.fingerprint,
        incident.severity,
        incident.status,
        incident.source,
        incident.createdAt,
        JSON.stringify(incident),
      ],
    );
  }

  async getIncident(id: string): Promise<Incident | undefined> {
    const [row] = await this.#query('SELECT incident FROM incidents WHERE id = $1', [id]);
    return row?.incident;
  }

  async updateIncident(id: string, changes: Partial<Omit<Incident, 'id'>>): Promise<Incident | undefined> {
    const [row] = await this.#query(
      `UPDATE incidents SET
         incident = incident || $2::jsonb,
         fingerprint = coalesce($2::jsonb ->> 'fingerprint', fingerprint),
         severity = coalesce($2::jsonb ->> 'severity', severity),
         status = coalesce($2::jsonb ->> 'status', status),
         source = coalesce($2::jsonb ->> 'source', source)
       WHERE id = $1 RETURNING incident`,
      [id, JSON.stringify(changes)],
    );
    return row?.incident;
  }

  async deleteIncident(id: string): Promise<boolean> {
    return (await this.#query('DELETE FROM incidents WHERE id = $1 RETURNING incident', [id])).length > 0;
  }

  async listIncidents(filter: IncidentFilter = {}, page: Page = {}): Promise<Incident[]> {
    const { offset = 0, limit = DEFAULT_LIMIT } = page;
    const { where, values } = whereOf(filter);
    const rows = await this.#query(
      `SELECT incident FROM incidents ${where} ORDER BY created_at DESC, id
       OFFSET $${values.length + 1} LIMIT $${values.length + 2}`,
      [...values, offset, limit],
    );
    return rows.map(({ incident }) => incident);
  }

  async countIncidents(filter: IncidentFilter = {}): Promise<number> {
    const { where, values } = whereOf(filter);
    const [row] = await this.#query<{ count: number }>(`SELECT count(*)::int AS count FROM incidents ${where}`, values);
    return row!.count;
  }

  async findByFingerprint(fingerprint: string): Promise<Incident | undefined> {
    const [row] = await this.#query(
      `SELECT incident FROM incidents WHERE fingerprint = $1 AND status <> 'resolved' ORDER BY created_at DESC LIMIT 1`,
      [fingerprint],
    );
    return row?.incident;
  }

  async #query<R extends object = Row>(text: string, values: unknown[]): Promise<R[]> {
    // On first use and not at the start: the service must start without a database.
    this.#schema ??= this.pool.query(SCHEMA);
    try {
      await this.#schema;
    } catch (error) {
      this.#schema = undefined;
      throw error;
    }
    return (await this.pool.query<R>(text, values)).rows;
  }
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS incidents (
    id text PRIMARY KEY,
    fingerprint text NOT NULL,
    severity text NOT NULL,
    status text NOT NULL,
    source text NOT NULL,
    created_at timestamptz NOT NULL,
    incident jsonb NOT NULL
  );
  CREATE INDEX IF NOT EXISTS incidents_fingerprint ON incidents (fingerprint);
`;

function whereOf(filter: IncidentFilter): { readonly where: string; readonly values: unknown[] } {
  const wanted = (Object.keys(COLUMNS) as (keyof IncidentFilter)[]).filter((key) => filter[key] !== undefined);
  const conditions = wanted.map((key, index) => `${COLUMNS[key]} = $${index + 1}`);
  return {
    where: conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`,
    values: wanted.map((key) => filter[key]),
  };
}
