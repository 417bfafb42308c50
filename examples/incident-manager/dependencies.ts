import { Redis } from 'ioredis';
import { Pool } from 'pg';
import { CircuitBreakerRedis, type Duration } from 'otel-breaker';
import { IncidentCache, plainAccess } from './cache.js';
import { EdgeAgentClient, GovernanceClient, SentinelClient, ShieldClient } from './clients.js';
import { EmailSender, PagerDutySender, SlackSender, WebhookSender } from './notifications.js';
import type { Dependencies } from './service.js';
import { PostgresIncidentStore } from './stores.js';
import {
  CircuitBreakerStore,
  EdgeAgentClientWithBreaker,
  EmailSenderWithBreaker,
  GovernanceClientWithBreaker,
  PagerDutySenderWithBreaker,
  SentinelClientWithBreaker,
  ShieldClientWithBreaker,
  SlackSenderWithBreaker,
  WebhookSenderWithBreaker,
} from './with-breaker.js';

/** The addresses of all dependencies. */
export interface Addresses {
  readonly SENTINEL_URL: string;
  readonly SHIELD_URL: string;
  readonly EDGE_AGENT_URL: string;
  readonly GOVERNANCE_URL: string;
  readonly DATABASE_URL: string;
  readonly REDIS_URL: string;
  readonly SLACK_WEBHOOK_URL: string;
  readonly SMTP_URL: string;
  readonly PAGERDUTY_URL: string;
  readonly WEBHOOK_URL: string;
  readonly WEBHOOK_SECRET: string;
}

export interface Connected extends Dependencies {
  close(): Promise<void>;
}

/** The dependencies without wrappers: the preload guards them. */
export function connect(addresses: Addresses): Connected {
  const { redis, ...plain } = clients(addresses);
  return { ...plain, cache: new IncidentCache(plainAccess(redis)) };
}

/** The same, each behind a wrapper with a breaker. The preload saves this code. */
export function connectWithBreakers(addresses: Addresses, openDuration?: Duration): Connected {
  const options = { openDuration };
  const { redis, senders, sentinel, shield, edgeAgent, governance, store, close } = clients(addresses);
  return {
    sentinel: new SentinelClientWithBreaker(sentinel, options),
    shield: new ShieldClientWithBreaker(shield, options),
    edgeAgent: new EdgeAgentClientWithBreaker(edgeAgent, options),
    governance: new GovernanceClientWithBreaker(governance, options),
    store: new CircuitBreakerStore(store, options),
    cache: new IncidentCache(new CircuitBreakerRedis(redis, { name: 'redis', ...options })),
    senders: {
      slack: new SlackSenderWithBreaker(senders.slack, options),
      email: new EmailSenderWithBreaker(senders.email, options),
      pagerduty: new PagerDutySenderWithBreaker(senders.pagerduty, options),
      webhook: new WebhookSenderWithBreaker(senders.webhook, options),
    },
    close,
  };
}

function clients(addresses: Addresses) {
  const pool = new Pool({
    connectionString: addresses.DATABASE_URL,
    connectionTimeoutMillis: 1_000,
    query_timeout: 2_000,
  });
  // The next query replaces an idle connection that was lost. Without a listener, the error would end the process.
  pool.on('error', () => {});
  const redis = new Redis(addresses.REDIS_URL, {
    maxRetriesPerRequest: 0,
    commandTimeout: 1_000,
    retryStrategy: () => 50,
  });
  redis.on('error', () => {});
  return {
    sentinel: new SentinelClient(addresses.SENTINEL_URL),
    shield: new ShieldClient(addresses.SHIELD_URL),
    edgeAgent: new EdgeAgentClient(addresses.EDGE_AGENT_URL),
    governance: new GovernanceClient(addresses.GOVERNANCE_URL),
    store: new PostgresIncidentStore(pool),
    redis,
    senders: {
      slack: new SlackSender(addresses.SLACK_WEBHOOK_URL),
      email: new EmailSender({ url: addresses.SMTP_URL, from: 'incidents@example.com', to: 'oncall@example.com' }),
      pagerduty: new PagerDutySender({ routingKey: 'routing-key', url: addresses.PAGERDUTY_URL }),
      webhook: new WebhookSender({ url: addresses.WEBHOOK_URL, secret: addresses.WEBHOOK_SECRET }),
    },
    close: async () => {
      redis.disconnect();
      await pool.end();
    },
  };
}
