// Writes what each typed entry point gives to its users, signatures only, into api/. Run it by `npm run api` and review the
// difference like code: a line that changes there may break somebody's build. A test compares.
import { Extractor, ExtractorConfig, ExtractorLogLevel, type IConfigFile } from '@microsoft/api-extractor';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(__dirname, '..');
const FOLDER = 'api';

/** Each report and the entry point of package.json that it describes. */
export const REPORTS: Readonly<Record<string, string>> = {
  'api/otel-breaker.api.md': '.',
  'api/register.api.md': './register',
  'api/instrumentations.api.md': './instrumentations',
  'api/middleware.api.md': './middleware',
};

/** Every report as it should be, from the declarations in `dist`: build first. */
export function renderApiReports(): Map<string, string> {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    exports: Record<string, string>;
  };
  const directory = mkdtempSync(join(tmpdir(), 'otel-breaker-api-'));
  try {
    return new Map(
      Object.entries(REPORTS).map(([file, entry]) => {
        const declarations = join(ROOT, exports[entry]!.replace(/\.js$/, '.d.ts'));
        return [file, report(declarations, file.slice(FOLDER.length + 1), directory)];
      }),
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function report(declarations: string, fileName: string, directory: string): string {
  const configObject: IConfigFile = {
    projectFolder: ROOT,
    mainEntryPointFilePath: declarations,
    compiler: {
      overrideTsconfig: {
        compilerOptions: { target: 'ES2022', lib: ['ES2023'], module: 'node20', types: ['node'], skipLibCheck: true },
        files: [declarations],
      },
    },
    apiReport: {
      enabled: true,
      reportFileName: fileName,
      reportFolder: directory,
      reportTempFolder: join(directory, 'temporary'),
      // Types that exports mention but nobody can import by name: they break a build just as well.
      includeForgottenExports: true,
    },
    docModel: { enabled: false },
    dtsRollup: { enabled: false },
    tsdocMetadata: { enabled: false },
    newlineKind: 'lf',
    messages: {
      compilerMessageReporting: { default: { logLevel: ExtractorLogLevel.Error } },
      // Among them the wish for a release tag on each export: what is exported here is public.
      extractorMessageReporting: { default: { logLevel: ExtractorLogLevel.None } },
      tsdocMessageReporting: { default: { logLevel: ExtractorLogLevel.None } },
    },
  };
  const config = ExtractorConfig.prepare({
    configObject,
    configObjectFullPath: undefined,
    packageJsonFullPath: join(ROOT, 'package.json'),
  });
  const problems: string[] = [];
  const { succeeded } = Extractor.invoke(config, {
    localBuild: true,
    messageCallback: (message) => {
      if (message.logLevel === ExtractorLogLevel.Error) problems.push(message.formatMessageWithLocation(ROOT));
      message.handled = true;
    },
  });
  if (!succeeded) throw new Error(`No report of ${declarations}:\n${problems.join('\n')}`);
  return readFileSync(join(directory, fileName), 'utf8');
}

if (require.main === module) {
  mkdirSync(join(ROOT, FOLDER), { recursive: true });
  for (const [file, text] of renderApiReports()) writeFileSync(join(ROOT, file), text);
}
