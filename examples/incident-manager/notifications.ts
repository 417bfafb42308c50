import { createHmac } from 'node:crypto';
import { createTransport, type Transporter } from 'nodemailer';
import { ServiceError } from './clients.js';
import type { Incident, NotificationSender, Severity } from './domain.js';

const TIMEOUT = 2_000;

async function post(service: string, url: string, body: string, headers: Record<string, string> = {}): Promise<void> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
    signal: AbortSignal.timeout(TIMEOUT),
  });
  await response.arrayBuffer();
  if (!response.ok) throw new ServiceError(service, response.status);
}

function headline({ severity, title, source }: Incident): string {
  return `[${severity}] ${title} (${source})`;
}

/** A channel of Slack, through an incoming webhook. */
export class SlackSender implements NotificationSender {
  constructor(private readonly webhookUrl: string) {}

  send(incident: Incident): Promise<void> {
    const text = headline(incident);
    const blocks = [
      { type: 'header', text: { type: 'plain_text', text } },
      { type: 'section', text: { type: 'mrkdwn', text: incident.description } },
    ];
    return post('Slack', this.webhookUrl, JSON.stringify({ text, blocks }));
  }

  sendMessage(text: string): Promise<void> {
    return post('Slack', this.webhookUrl, JSON.stringify({ text }));
  }
}

export interface EmailOptions {
  /** `smtp://host:port`, or `smtps://user:password@host:port`. */
  readonly url: string;
  readonly from: string;
  readonly to: string;
}

/** An e-mail, over SMTP. */
export class EmailSender implements NotificationSender {
  readonly #transport: Transporter;

  constructor(private readonly options: EmailOptions) {
    this.#transport = createTransport({
      url: options.url,
      connectionTimeout: TIMEOUT,
      greetingTimeout: TIMEOUT,
      socketTimeout: TIMEOUT,
    });
  }

  send(incident: Incident): Promise<void> {
    return this.#mail(headline(incident), incident.description);
  }

  sendMessage(text: string): Promise<void> {
    return this.#mail('Incident manager', text);
  }

  async #mail(subject: string, text: string): Promise<void> {
    const { from, to } = this.options;
    await this.#transport.sendMail({ from, to, subject, text });
  }
}

/** PagerDuty knows four severities. */
const PAGERDUTY_SEVERITY: Readonly<Record<Severity, string>> = {
  P0: 'critical',
  P1: 'error',
  P2: 'warning',
  P3: 'info',
  P4: 'info',
};

export interface PagerDutyOptions {
  readonly routingKey: string;
  /** Default is that of PagerDuty. */
  readonly url?: string;
}

/** The engineer on call, through the Events API v2 of PagerDuty. */
export class PagerDutySender implements NotificationSender {
  constructor(private readonly options: PagerDutyOptions) {}

  send(incident: Incident): Promise<void> {
    return this.#trigger(incident.fingerprint, {
      summary: headline(incident),
      source: incident.source,
      severity: PAGERDUTY_SEVERITY[incident.severity],
      timestamp: incident.createdAt,
      custom_details: { id: incident.id, description: incident.description },
    });
  }

  sendMessage(text: string): Promise<void> {
    return this.#trigger(undefined, { summary: text, source: 'incident-manager', severity: 'info' });
  }

  #trigger(dedupKey: string | undefined, payload: object): Promise<void> {
    const { routingKey, url = 'https://events.pagerduty.com/v2/enqueue' } = this.options;
    const event = { routing_key: routingKey, event_action: 'trigger', dedup_key: dedupKey, payload };
    return post('PagerDuty', url, JSON.stringify(event));
  }
}

export interface WebhookOptions {
  readonly url: string;
  /** Shared with the receiver, who uses it to verify our messages. */
  readonly secret: string;
}

/** Any other service. It gets `X-Signature-256`: an HMAC of `X-Timestamp`, a full stop and the body. */
export class WebhookSender implements NotificationSender {
  constructor(private readonly options: WebhookOptions) {}

  send(incident: Incident): Promise<void> {
    return this.#post({ type: 'incident', incident });
  }

  sendMessage(text: string): Promise<void> {
    return this.#post({ type: 'message', text });
  }

  #post(event: object): Promise<void> {
    const body = JSON.stringify(event);
    const timestamp = String(Date.now());
    const signature = signatureOf(this.options.secret, timestamp, body);
    return post('Webhook', this.options.url, body, { 'x-timestamp': timestamp, 'x-signature-256': signature });
  }
}

/** What a receiver computes and compares. */
export function signatureOf(secret: string, timestamp: string, body: string): string {
  return `sha256=${createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex')}`;
}
