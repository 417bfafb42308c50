import { buildDashboard } from '../../deploy/grafana/dashboard.js';
import { findDocuments } from '../docs/documents.js';

/** The dashboard's queries, with what Grafana puts in for its variables; short, so that a test has data for them. */
export function queries(): string[] {
  const panels = buildDashboard().panels as { targets?: { expr: string }[] }[];
  return panels
    .flatMap(({ targets = [] }) => targets)
    .map(({ expr }) =>
      expr
        .replaceAll('$__rate_interval', '15s')
        .replaceAll('[1h:1m]', '[15s:1s]')
        .replaceAll(/\$(job|instance|name)/g, '.+'),
    );
}

/** Whether a query asks about a fleet: only where there is one is there data for it. */
export function isOfFleet(expr: string): boolean {
  return expr.includes('circuit_breaker_fleet');
}

/** The queries of the documents, with windows so short that a test has data for them. */
export function queriesOfDocuments(): string[] {
  return findDocuments()
    .flatMap(({ fences }) => fences.filter(({ role }) => role === 'promql'))
    .map(({ content }) => content.replaceAll(/\[\d+[mhd]\]/g, '[15s]').replaceAll('[1d:1m]', '[15s:1s]'));
}
