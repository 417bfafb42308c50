import { diag, DiagLogLevel } from '@opentelemetry/api';
import { PACKAGE } from '../../src/version.js';

/** What we tell OpenTelemetry's diag from now until the end of the test: `warn: the text`. */
export function captureDiag(): string[] {
  const lines: string[] = [];
  const write =
    (level: string) =>
    (namespace: string, ...parts: unknown[]) => {
      if (namespace === PACKAGE.name) lines.push(`${level}: ${parts.map(String).join(' ')}`);
    };
  diag.setLogger(
    {
      error: write('error'),
      warn: write('warn'),
      info: write('info'),
      debug: write('debug'),
      verbose: write('verbose'),
    },
    DiagLogLevel.ALL,
  );
  return lines;
}

/** What a function writes to stderr; nothing of it is seen. */
export function stderrOf(act: () => void): string {
  let text = '';
  process.stderr.write = (chunk: string | Uint8Array) => {
    text += String(chunk);
    return true;
  };
  try {
    act();
  } finally {
    // Its own property goes, and that of its prototype is seen again.
    Reflect.deleteProperty(process.stderr, 'write');
  }
  return text;
}
