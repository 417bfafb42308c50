import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import { promtool } from './deploy/prometheus.js';
import { ROOT } from './support/child.js';
import { removeTemporaryDirectories, temporaryDirectory } from './support/files.js';

const CLI = join(ROOT, 'dist/src/cli.js');
const BAD = 'rules:\n  - match: { host: api.example.com }\n    failureTreshold: 3\n    minimumCalls: 0\n';

describe('the otel-breaker command', () => {
  let directory: string;

  beforeEach(() => {
    directory = temporaryDirectory();
  });
  afterEach(removeTemporaryDirectories);

  function run(
    args: readonly string[],
    env: NodeJS.ProcessEnv = {},
  ): Promise<{ code: number; stdout: string; stderr: string }> {
    return new Promise((resolve) => {
      execFile(
        process.execPath,
        [CLI, ...args],
        { cwd: directory, env: { ...process.env, OTEL_BREAKER_CONFIG: '', OTEL_BREAKER_MODE: '', ...env } },
        (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
      );
    });
  }

  function write(name: string, text: string): void {
    writeFileSync(join(directory, name), text);
  }

  it('shows its help and its version', async () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    expect(await run(['--version'])).to.deep.equal({ code: 0, stdout: `${version}\n`, stderr: '' });
    const { code, stdout } = await run(['--help']);
    expect(code).to.equal(0);
    for (const command of ['check', 'explain', 'init']) expect(stdout).to.contain(`  ${command} `);
  });

  for (const args of [
    [],
    ['frobnicate'],
    ['check', '--frob'],
    ['explain'],
    ['explain', 'ftp://x'],
    ['init', 'a', 'b'],
    ['check'],
    ['check', '--alerts'],
    ['init', '--dashboard', 'a', 'b'],
    ['replay'],
    ['replay', 'traces.json', '--sampled', '7'],
    ['replay', 'traces.json', '--frob'],
  ]) {
    it(`says what is wrong with "${args.join(' ')}", with code 2`, async () => {
      const { code, stdout, stderr } = await run(args);
      expect({ code, stdout }).to.deep.equal({ code: 2, stdout: '' });
      expect(stderr).to.match(/^otel-breaker: .+\nSee otel-breaker --help\n$/);
    });
  }

  it('ends without a word where nobody reads what it shows', async () => {
    const child = spawn(process.execPath, [CLI, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.destroy();
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const [code] = (await once(child, 'close')) as [number | null];
    expect(stderr).to.equal('');
    expect(code).to.equal(0);
  });

  it('replays traces', async () => {
    write('traces.json', '{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "a", "kind": 2}]}]}]}');
    expect(await run(['replay', 'traces.json'])).to.deep.include({ code: 0, stderr: '' });
    write('traces.json', '{"resourceSpans": 1 2}');
    const { code, stdout, stderr } = await run(['replay', 'traces.json']);
    expect({ code, stdout }).to.deep.equal({ code: 1, stdout: '' });
    expect(stderr).to.equal('otel-breaker: traces.json:1: found "2"; expected "," or "}"\n');
    write('rules.yaml', BAD);
    const bad = await run(['replay', 'traces.json', '--rules', 'rules.yaml']);
    expect(bad.code).to.equal(1);
    expect(bad.stderr).to.contain('failureTreshold');
  });

  describe('check', () => {
    it('finds the file by its default names, by the environment, or as it is given', async () => {
      write('otel-breaker.yml', 'rules: []\n');
      write('other.json', '{ "rules": [{ "match": { "host": "a" } }] }');
      expect((await run(['check'])).stdout).to.equal('otel-breaker.yml: 0 rules, no problems\n');
      expect((await run(['check'], { OTEL_BREAKER_CONFIG: 'other.json' })).stdout).to.equal(
        'other.json: 1 rule, no problems\n',
      );
      expect((await run(['check', 'other.json'])).stdout).to.equal('other.json: 1 rule, no problems\n');
    });

    it('draws every problem where it stands, with code 1', async () => {
      write('otel-breaker.yaml', BAD);
      expect(await run(['check'])).to.deep.equal({
        code: 1,
        stdout: '',
        stderr: `error: rules[0].failureTreshold
 --> otel-breaker.yaml:3:5
  |
3 |     failureTreshold: 3
  |     ^^^^^^^^^^^^^^^ this key is unknown and would have no effect
  = help: Did you mean "failureThreshold"?

error: rules[0].minimumCalls
 --> otel-breaker.yaml:4:19
  |
4 |     minimumCalls: 0
  |                   ^ the circuit would open on its first failure
  = help: Use a whole number of 1 or more.

2 problems found
`,
      });
    });

    it('says that a file is not there, with code 1', async () => {
      const { code, stderr } = await run(['check', 'none.yaml']);
      expect(code).to.equal(1);
      expect(stderr).to.contain('none.yaml').and.to.contain('there is no such file');
    });
  });

  describe('explain', () => {
    it('shows the rule, the breaker, and where each option comes from', async () => {
      write(
        'otel-breaker.yaml',
        'defaults: { window: 1m }\nrules:\n  - match: { host: api.openai.com }\n    name: openai\n    preset: llmService\n    openDuration: 90s\n',
      );
      const { code, stdout } = await run(['explain', 'https://api.openai.com/v1'], { OTEL_BREAKER_MODE: 'observe' });
      expect(code).to.equal(0);
      expect(stdout).to.match(/^target +https:\/\/api\.openai\.com \(http\)$/m);
      expect(stdout).to.match(/^rule +rules\[0\] of otel-breaker\.yaml$/m);
      expect(stdout).to.match(/^breaker +openai/m);
      expect(stdout).to.match(
        /^panic +none rejects where more than 50 % of targets become unreachable at once \(default\)$/m,
      );
      expect(stdout).to.match(/^mode +observe +OTEL_BREAKER_MODE$/m);
      expect(stdout).to.match(/^failureThreshold +3 +preset llmService$/m);
      expect(stdout).to.match(/^window +1m +defaults of otel-breaker\.yaml$/m);
      expect(stdout).to.match(/^openDuration +90s +rules\[0\] of otel-breaker\.yaml$/m);
    });

    it('takes Redis and PostgreSQL targets, and does without a file', async () => {
      expect((await run(['explain', 'redis://cache:6379'])).stdout)
        .to.contain('redis://cache:6379 (redis)')
        .and.contain('no file');
      expect((await run(['explain', 'postgresql://user:secret@db/orders'])).stdout)
        .to.contain('postgresql://db:5432/orders (postgresql)')
        .and.not.contain('secret');
    });

    it('says whether a fleet shares the breaker, also where only the environment names one', async () => {
      const OTEL_BREAKER_FLEET_URL = 'redis://cache:6379';
      const explain = async (env: NodeJS.ProcessEnv) =>
        /^fleet .*$/m.exec((await run(['explain', 'https://api.example.com'], env)).stdout)?.[0];
      expect(await explain({})).to.equal(undefined);
      expect(await explain({ OTEL_BREAKER_FLEET_URL })).to.match(/shared, mode observe/);
      expect(await explain({ OTEL_BREAKER_FLEET_URL, OTEL_BREAKER_FLEET: 'off' })).to.match(/ off$/);
      write('otel-breaker.yaml', 'fleet: { url: local }\n');
      expect(await explain({ OTEL_BREAKER_FLEET: 'enforce' })).to.match(/shared, mode enforce/);
    });

    it('is as the documentation shows it', async () => {
      const documentation = readFileSync(join(ROOT, 'docs/configuration.md'), 'utf8');
      write('otel-breaker.yaml', readFileSync(join(ROOT, 'examples/otel-breaker.yaml'), 'utf8'));
      expect(documentation).to.contain((await run(['explain', 'https://api.openai.com/v1'])).stdout);
    });
  });

  describe('init', () => {
    it('writes a file that is right, and never overwrites one', async () => {
      expect((await run(['init'])).stdout).to.equal('otel-breaker.yaml written\n');
      expect((await run(['check'])).code).to.equal(0);
      const text = readFileSync(join(directory, 'otel-breaker.yaml'), 'utf8');
      expect(text).to.match(/^# yaml-language-server: \$schema=/);
      write('otel-breaker.yaml', 'rules: []\n');
      const { code, stderr } = await run(['init']);
      expect(code).to.equal(2);
      expect(stderr).to.contain('exists already');
      expect(readFileSync(join(directory, 'otel-breaker.yaml'), 'utf8')).to.equal('rules: []\n');
    });

    it('writes alerts, their tests, the dashboard and a compose file that finds all of it, as they are in this package', async () => {
      const { code, stdout, stderr } = await run(['init', '--alerts', '--dashboard']);
      expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
      const written = readdirSync(join(directory, 'deploy'), { recursive: true, encoding: 'utf8' }).filter((name) =>
        statSync(join(directory, 'deploy', name)).isFile(),
      );
      expect(stdout.trim().split('\n')).to.have.members(written.map((name) => `${join('deploy', name)} written`));
      expect(existsSync(join(directory, 'otel-breaker.yaml')), 'rules are another command').to.be.false;
      // Everything that is in deploy, but for the program that makes the dashboard.
      const ours = readdirSync(join(ROOT, 'deploy'), { recursive: true, encoding: 'utf8' }).filter(
        (name) => statSync(join(ROOT, 'deploy', name)).isFile() && !name.endsWith('.ts'),
      );
      expect(written).to.have.members(ours);

      const { ok, output } = promtool(join(directory, 'deploy/prometheus'), 'test', 'rules', 'rules.test.yml');
      expect(ok, output).to.be.true;
      const compose = parse(readFileSync(join(directory, 'deploy/compose.yaml'), 'utf8')) as {
        services: Record<string, { volumes?: string[] }>;
      };
      const mounted = Object.values(compose.services).flatMap(({ volumes = [] }) => volumes);
      expect(mounted).to.not.be.empty;
      for (const volume of mounted) {
        expect(existsSync(join(directory, 'deploy', volume.split(':')[0]!)), volume).to.be.true;
      }
    });

    it('writes only the alerts where only they are wanted, and into a folder that is named', async () => {
      const { code } = await run(['init', '--alerts', 'monitoring']);
      expect(code).to.equal(0);
      expect(readdirSync(join(directory, 'monitoring'))).to.deep.equal(['prometheus']);
      expect(readdirSync(join(directory, 'monitoring/prometheus'))).to.include('alerts.rules.yml');
    });

    it('keeps alerts that were changed, writes what is missing, and says so', async () => {
      await run(['init', '--alerts']);
      write('deploy/prometheus/alerts.rules.yml', 'groups: []\n');
      const { code, stdout, stderr } = await run(['init', '--dashboard']);
      expect(code).to.equal(2);
      expect(stderr).to.contain('these exist already, and stay as they are: deploy/prometheus/alerts.rules.yml\n');
      expect(stdout).to.contain('deploy/compose.yaml written\n').and.not.to.contain('rules.yml');
      expect(readFileSync(join(directory, 'deploy/prometheus/alerts.rules.yml'), 'utf8')).to.equal('groups: []\n');
    });

    it('names a schema that is there', () => {
      const [, path] = /\$schema=\.\/node_modules\/otel-breaker\/(\S+)/.exec(
        readFileSync(join(ROOT, 'examples/otel-breaker.yaml'), 'utf8'),
      )!;
      expect(existsSync(join(ROOT, path!))).to.be.true;
    });
  });
});
