import { wrapperClass, type BreakerOptions, type Protected } from 'otel-breaker';
import {
  ServiceError,
  type EdgeAgentClient,
  type GovernanceClient,
  type SentinelClient,
  type ShieldClient,
} from './clients.js';
import type { IncidentStore, NotificationSender } from './domain.js';
import type { EmailSender, PagerDutySender, SlackSender, WebhookSender } from './notifications.js';

// The preload knows by itself what we have to say here: which calls, under which name, and what is a failure.

/** An answer below 500 shows that the service is there, and that our question was wrong. */
const answered = {
  isFailure: (cause) => !(cause instanceof ServiceError && cause.status < 500),
} satisfies BreakerOptions;
const llmService = { preset: 'llmService', ...answered } satisfies BreakerOptions;
const notifications = { preset: 'notifications' } satisfies BreakerOptions;
const SENDER = ['send', 'sendMessage'] as const satisfies readonly (keyof NotificationSender)[];

export const SentinelClientWithBreaker = wrapperClass<SentinelClient>({
  name: 'sentinel',
  ...llmService,
  methods: ['fetchAlerts', 'predictSeverity', 'analyzeAnomaly'],
});
export type SentinelClientWithBreaker = Protected<SentinelClient>;

export const ShieldClientWithBreaker = wrapperClass<ShieldClient>({
  name: 'shield',
  ...llmService,
  methods: ['analyzeSecurityEvent', 'assessRisk'],
});
export type ShieldClientWithBreaker = Protected<ShieldClient>;

export const EdgeAgentClientWithBreaker = wrapperClass<EdgeAgentClient>({
  name: 'edge-agent',
  ...llmService,
  methods: ['submitBatch', 'getResourceUsage'],
});
export type EdgeAgentClientWithBreaker = Protected<EdgeAgentClient>;

export const GovernanceClientWithBreaker = wrapperClass<GovernanceClient>({
  name: 'governance',
  ...llmService,
  methods: ['checkCompliance', 'generateAuditReport'],
});
export type GovernanceClientWithBreaker = Protected<GovernanceClient>;

export const CircuitBreakerStore = wrapperClass<IncidentStore>({
  name: 'postgresql',
  preset: 'database',
  methods: [
    'saveIncident',
    'getIncident',
    'updateIncident',
    'deleteIncident',
    'listIncidents',
    'countIncidents',
    'findByFingerprint',
  ],
});
export type CircuitBreakerStore = Protected<IncidentStore>;

export const SlackSenderWithBreaker = wrapperClass<SlackSender>({ name: 'slack', ...notifications, methods: SENDER });
export type SlackSenderWithBreaker = Protected<SlackSender>;

export const EmailSenderWithBreaker = wrapperClass<EmailSender>({ name: 'email', ...notifications, methods: SENDER });
export type EmailSenderWithBreaker = Protected<EmailSender>;

export const PagerDutySenderWithBreaker = wrapperClass<PagerDutySender>({
  name: 'pagerduty',
  ...notifications,
  methods: SENDER,
});
export type PagerDutySenderWithBreaker = Protected<PagerDutySender>;

export const WebhookSenderWithBreaker = wrapperClass<WebhookSender>({
  name: 'webhook',
  ...notifications,
  methods: SENDER,
});
export type WebhookSenderWithBreaker = Protected<WebhookSender>;
