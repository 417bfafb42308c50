import * as api from '@opentelemetry/api';
import { context as contexts, trace, type Attributes, type Span } from '@opentelemetry/api';
import { ConfigError } from '../../breaker/errors.js';
import { EVENTS_VARIABLE, variables } from '../../environment.js';
import { PACKAGE } from '../../version.js';
import { ATTRIBUTE } from '../names.js';

/** Writes an event as a log record, in the context of a span where there is one. */
export type EmitLog = (name: string, attributes: Attributes, span: Span | undefined) => void;

type LogsApi = typeof import('@opentelemetry/api-logs');

/**
 * Events through OpenTelemetry's Logs API, into whatever logger provider the application has.
 *
 * @throws ConfigError where the package of that API is not installed
 */
export function createLogEvents(): EmitLog {
  const { logs, SeverityNumber } = loadLogsApi();
  const logger = logs.getLogger(PACKAGE.name, PACKAGE.version);
  return (eventName, attributes, span) => {
    logger.emit({
      eventName,
      attributes,
      body: attributes[ATTRIBUTE.reason],
      severityNumber: SeverityNumber.WARN,
      severityText: 'WARN',
      context: span === undefined ? contexts.active() : trace.setSpan(contexts.active(), span),
    });
  };
}

function loadLogsApi(): LogsApi {
  // From 1.10 on it is part of the API itself.
  if ('logs' in api) return api as unknown as LogsApi;
  try {
    return require('@opentelemetry/api-logs') as LogsApi;
  } catch {
    throw new ConfigError('environment', [
      {
        path: EVENTS_VARIABLE,
        value: variables()[EVENTS_VARIABLE],
        consequence: 'the package @opentelemetry/api-logs is not installed, and events could be logged nowhere',
        allowed: 'Install it, or use "span".',
      },
    ]);
  }
}
