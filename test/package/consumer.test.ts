import { expect } from 'chai';
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startChromium } from '../console/chromium.js';
import { startPrometheus } from '../deploy/prometheus.js';
import { startCommand, stopCommands } from '../docs/run-command.js';
import { AttackedService, SERVICE } from '../hostile/attacked-service.js';
import { METRICS_ADDRESS, sample, scrape, startApp, stopApps } from '../support/app.js';
import { ROOT } from '../support/child.js';
import { findDeadPort, serve, stopServers } from '../support/servers.js';
import { emptyFolder, pack } from './tarball.js';

const README = readFileSync(join(ROOT, 'README.md'), 'utf8');

/** A block of code under a heading of the README, the first where no other is asked for. */
function blockUnder(heading: string, index = 0): string {
  const blocks = README.slice(README.indexOf(`\n${heading}\n`)).matchAll(/```\w+\n([^]*?)```/g);
  return [...blocks][index]![1]!;
}

const QUIET = ['--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];

describe('the package, installed into an empty folder', function () {
  this.timeout(0);
  let folder: string;

  before(() => {
    folder = emptyFolder();
    const { path } = pack(folder);
    writeFileSync(join(folder, 'package.json'), '{ "private": true }');
    // As the quick start has it, but for where the package comes from.
    const install = /^npm (install) (.*)$/m.exec(blockUnder('## Quick start'))!;
    const packages = install[2]!.split(' ').map((name) => (name === 'otel-breaker' ? path : name));
    execFileSync('npm', [install[1]!, ...packages, ...QUIET], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
  });
  afterEach(async () => {
    await stopCommands();
    await stopApps();
    await stopServers();
  });
  after(() => rmSync(folder, { recursive: true }));

  it('brings these packages and no other, and none of them runs a script at its installation', () => {
    const lock = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { hasInstallScript?: boolean }>;
    };
    expect(Object.values(lock.packages).filter(({ hasInstallScript }) => hasInstallScript)).to.deep.equal([]);
    const names = new Set(Object.keys(lock.packages).map((path) => path.replace(/^.*node_modules\//, '')));
    names.delete('');
    expect([...names]).to.have.members([
      'otel-breaker',
      '@opentelemetry/api',
      '@opentelemetry/api-logs',
      '@opentelemetry/core',
      '@opentelemetry/exporter-prometheus',
      '@opentelemetry/instrumentation',
      '@opentelemetry/resources',
      '@opentelemetry/sdk-metrics',
      '@opentelemetry/semantic-conventions',
      'cjs-module-lexer',
      'debug',
      'es-module-lexer',
      'import-in-the-middle',
      'module-details-from-path',
      'ms',
      'require-in-the-middle',
      'valibot',
      'yaml',
    ]);
  });

  const APPS = {
    'app.cjs': `const http = require('node:http');`,
    'app.mjs': `import http from 'node:http';`,
  };
  for (const [file, head] of Object.entries(APPS)) {
    for (const flag of ['--require', '--import']) {
      it(`does what the quick start says, to ${file} by ${flag}`, async () => {
        expect(blockUnder('## Quick start')).to.contain('node --require otel-breaker/register app.js');
        expect(README).to.contain('localhost:9464/metrics');
        const { origin } = await serve((_, response) => response.end());
        const calls = `setInterval(() => {}, 1_000); http.get('${origin}', (response) => response.resume());`;
        const program = join(folder, file);
        writeFileSync(program, `${head}\n${calls}`);
        const app = startApp({ nodeArgs: [flag, 'otel-breaker/register'], program, cwd: folder });
        const [, address] = await app.prints('stderr', METRICS_ADDRESS);
        let page = await scrape(address!);
        while (sample(page, 'circuit_breaker_successful_calls_total', { name: origin }) !== 1)
          page = await scrape(address!);
        expect(sample(page, 'circuit_breaker_state', { name: origin })).to.equal(0);
      });
    }
  }

  it('stands attacks on its port as it does in this tree', async () => {
    const program = join(folder, 'service.cjs');
    copyFileSync(SERVICE, program);
    const nodeArgs = ['--max-old-space-size=512'];
    const service = await AttackedService.start({ breakers: 1_000, nodeArgs, cwd: folder, program });
    const { grown, longest } = await service.during(() => service.pipeline('/metrics', 1_400));
    expect(grown).to.be.below(200_000_000);
    expect(longest).to.be.below(3_000);
    for (let some = 0; some < 130; some++) service.open().resume();
    for (let time = 0; time < 10; time++) {
      expect(await service.text('/metrics')).to.contain('circuit_breaker_state{name="https://service-999.internal');
    }
    service.disconnect();
  });

  for (const entry of ['otel-breaker', 'otel-breaker/instrumentations', 'otel-breaker/middleware']) {
    it(`gives the same things to CommonJS and to ES modules, by name: ${entry}`, () => {
      const run = (file: string, source: string) => {
        writeFileSync(join(folder, file), source);
        return execFileSync(process.execPath, [file], { cwd: folder, encoding: 'utf8' }).trim();
      };
      const names = run('names.cjs', `console.log(Object.keys(require('${entry}')).join())`);
      expect(names).to.match(/\w{3,},/);
      const imported = `
        import { createRequire } from 'node:module';
        import { ${names} } from '${entry}';
        const required = createRequire(import.meta.url)('${entry}');
        for (const [name, value] of Object.entries({ ${names} })) if (value !== required[name]) console.log(name);`;
      expect(run('names.mjs', imported)).to.equal('');
    });
  }

  it('has a program that runs', () => {
    const program = join(folder, 'node_modules/.bin/otel-breaker');
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    expect(execFileSync(program, ['--version'], { cwd: folder, encoding: 'utf8' })).to.contain(version);
  });

  const KINDS = [
    { moduleResolution: 'node16', module: 'node16', files: ['index.cts', 'index.mts'] },
    { moduleResolution: 'bundler', module: 'esnext', files: ['index.ts'] },
  ];
  for (const { files, ...options } of KINDS) {
    it(`has types that the code of the README is right by: ${options.moduleResolution}, ${files.join(', ')}`, () => {
      const code = blockUnder('## In code');
      const imports = /^import .*;$/m.exec(code)![0];
      const source = `
        ${imports}
        import { withCircuitBreaker as guarded } from 'otel-breaker';
        import { getBreakerInstrumentations } from 'otel-breaker/instrumentations';
        import * as middleware from 'otel-breaker/middleware';
        import 'otel-breaker/register';
        // CommonJS has no await but in functions.
        export async function example() {
          ${code.replace(imports, '')}
        }
        export const all = [getBreakerInstrumentations, middleware];
        export const right: Promise<number> = guarded('a', {}, () => 1);
        // @ts-expect-error It gives a promise: types are looked at, not any.
        export const wrong: number = guarded('a', {}, () => 1);`;
      for (const file of files) writeFileSync(join(folder, file), source);
      const compilerOptions = {
        ...options,
        target: 'es2022',
        strict: true,
        exactOptionalPropertyTypes: true,
        noEmit: true,
        types: ['node'],
        typeRoots: [join(ROOT, 'node_modules/@types')],
      };
      writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }));
      const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
      const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', folder], { encoding: 'utf8' });
      expect(stdout).to.equal('');
      expect(status).to.equal(0);
    });
  }

  // The last one: it installs more.
  it('leads a newcomer to an open circuit on the page, in a real Prometheus and in a trace', async () => {
    const [install, start] = blockUnder('## Quick start', 1).trim().split('\n');
    execFileSync('npm', [...install!.split(' ').slice(1), ...QUIET], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const name = `http://127.0.0.1:${await findDeadPort()}`;
    const source = `const http = require('node:http'); setInterval(() => http.get('${name}').on('error', () => {}), 50);`;
    writeFileSync(join(folder, 'app.js'), source);
    const [, , page] = await startCommand(start!, folder).prints('stderr', /metrics at (\S+) \(console at (\S+)\)/);

    const browser = await startChromium();
    try {
      const tab = await browser.newPage();
      await tab.goto(page!);
      await tab.getByText(`${name} is open for`).first().waitFor();
    } finally {
      await browser.close();
    }

    const prometheus = await startPrometheus([new URL(page!).host], []);
    try {
      // Half-open for a moment at each probe, which fails.
      while ((await prometheus.count(`circuit_breaker_state{name="${name}"} == 1`)) !== 1) await sleep(200);
    } finally {
      await prometheus.stop();
    }

    const attribute = 'circuit_breaker.opened_by.trace_id';
    while (!(await (await fetch(`${page}traces`)).text()).includes(attribute)) await sleep(200);
  }).timeout(180_000);
});
