import type { Incident, Severity } from './domain.js';

/** A service answered with an error status. */
export class ServiceError extends Error {
  override readonly name = 'ServiceError';

  constructor(
    service: string,
    readonly status: number,
  ) {
    super(`${service} answered with status ${status}`);
  }
}

/** JSON over HTTP: what the four services need of a client. */
abstract class ServiceClient {
  constructor(
    protected readonly baseUrl: string,
    /** Milliseconds to wait for an answer. */
    protected readonly timeout = 2_000,
  ) {}

  protected async ask<Answer>(method: 'GET' | 'POST', path: string, body?: unknown): Promise<Answer> {
    const response = await fetch(new URL(path, this.baseUrl), {
      method,
      signal: AbortSignal.timeout(this.timeout),
      ...(body !== undefined && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
    // Always read the body, so that the connection can be reused.
    const text = await response.text();
    if (!response.ok) throw new ServiceError(this.constructor.name, response.status);
    return JSON.parse(text) as Answer;
  }
}

export interface Alert {
  readonly id: string;
  readonly source: string;
  readonly message: string;
  readonly at: string;
}

export interface SeverityPrediction {
  readonly severity: Severity;
  /** 0 to 1. */
  readonly confidence: number;
}

export interface AnomalyRequest {
  readonly metric: string;
  readonly values: readonly number[];
}

export interface AnomalyAnalysis {
  readonly anomalous: boolean;
  /** Positions within the values. */
  readonly outliers: readonly number[];
}

/** Watches models and their requests, and finds anomalies. */
export class SentinelClient extends ServiceClient {
  fetchAlerts(limit = 20): Promise<Alert[]> {
    return this.ask('GET', `/v1/alerts?limit=${limit}`);
  }

  predictSeverity(incident: Pick<Incident, 'title' | 'description' | 'source'>): Promise<SeverityPrediction> {
    return this.ask('POST', '/v1/severity', incident);
  }

  analyzeAnomaly(request: AnomalyRequest): Promise<AnomalyAnalysis> {
    return this.ask('POST', '/v1/anomalies', request);
  }
}

export interface SecurityEvent {
  readonly source: string;
  readonly description: string;
}

export interface SecurityAnalysis {
  readonly threat: boolean;
  readonly summary: string;
}

export interface RiskAssessment {
  /** 0 to 1. */
  readonly risk: number;
  readonly mitigations: readonly string[];
}

/** Looks for attacks: injected prompts, leaked secrets. */
export class ShieldClient extends ServiceClient {
  analyzeSecurityEvent(event: SecurityEvent): Promise<SecurityAnalysis> {
    return this.ask('POST', '/v1/security-events', event);
  }

  assessRisk(event: SecurityEvent): Promise<RiskAssessment> {
    return this.ask('POST', '/v1/risk', event);
  }
}

export interface Batch {
  readonly prompts: readonly string[];
}

export interface BatchReceipt {
  readonly batchId: string;
  readonly accepted: number;
}

export interface ResourceUsage {
  /** 0 to 1. */
  readonly cpu: number;
  /** 0 to 1. */
  readonly memory: number;
}

/** Runs models near the affected machines, and knows their load. */
export class EdgeAgentClient extends ServiceClient {
  submitBatch(batch: Batch): Promise<BatchReceipt> {
    return this.ask('POST', '/v1/batches', batch);
  }

  getResourceUsage(source: string): Promise<ResourceUsage> {
    return this.ask('GET', `/v1/resources?source=${encodeURIComponent(source)}`);
  }
}

export interface ComplianceRequest {
  readonly incidentId: string;
  readonly description: string;
}

export interface ComplianceCheck {
  readonly compliant: boolean;
  readonly violations: readonly string[];
}

export interface AuditReportRequest {
  readonly from: string;
  readonly to: string;
}

export interface AuditReport {
  readonly id: string;
  readonly findings: readonly string[];
}

/** Knows the rules for handling an incident. */
export class GovernanceClient extends ServiceClient {
  checkCompliance(request: ComplianceRequest): Promise<ComplianceCheck> {
    return this.ask('POST', '/v1/compliance', request);
  }

  generateAuditReport(request: AuditReportRequest): Promise<AuditReport> {
    return this.ask('POST', '/v1/audit-reports', request);
  }
}
