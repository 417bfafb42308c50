import type { Guard } from '../src/guard/guard.js';
import type { Attachment, AttachmentClass } from './attachment.js';
import { HttpAttachment } from './http/http-attachment.js';
import { IoredisAttachment } from './ioredis/ioredis-attachment.js';
import { PgAttachment } from './pg/pg-attachment.js';
import { UndiciAttachment } from './undici/undici-attachment.js';

/** One for each client library that is guarded. */
const ATTACHMENTS: readonly AttachmentClass[] = [HttpAttachment, UndiciAttachment, IoredisAttachment, PgAttachment];

/** Attaches to every client library there is. */
export function attachAll(guard: Guard): Attachment[] {
  return ATTACHMENTS.map((Class) => {
    const attachment = new Class(guard);
    attachment.attach();
    return attachment;
  });
}
