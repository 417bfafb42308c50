import { killableService } from './http.js';
import type { Row } from './outage.js';

const smtpService = () => killableService('smtp-server.cjs', 'smtp');

export const SMTP: readonly Row[] = [
  {
    title: 'nodemailer',
    client: 'nodemailer',
    service: smtpService,
    patterns: ['awaited', 'tight loop'],
    inTests: true,
    underCallers: { inTests: true },
  },
];
