import { EventEmitter, once } from 'node:events';
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { ConfigError } from '../../../src/breaker/errors.js';
import { CircuitBreakerRegistry } from '../../../src/breaker/registry.js';
import { Guard } from '../../../src/guard/guard.js';
import { LiveRules, type RulesEnvironment } from '../../../src/rules/live-rules.js';
import { RuleSet } from '../../../src/rules/rule-set.js';
import { CircuitOpenError, type Permit } from '../../../src/guard/guard.js';
import { removeTemporaryDirectories, temporaryDirectory } from '../../support/files.js';
import { target } from '../../support/targets.js';

const API = target('https://api.example.com');

function rulesWith(failureThreshold: unknown): string {
  return `rules:\n  - match: { host: api.example.com }\n    failureThreshold: ${String(failureThreshold)}\n`;
}

/** Live rules of one file with a guard under them; events say what became of each reload. */
class Watched extends EventEmitter {
  readonly registry = new CircuitBreakerRegistry();
  readonly guard = new Guard(this.registry, new RuleSet());
  readonly rules: LiveRules;

  constructor(config: string | undefined, environment: Partial<RulesEnvironment> = {}) {
    super();
    this.rules = new LiveRules(
      { mode: undefined, watch: true, config, ...environment },
      {
        onReload: () => this.emit('reload'),
        onBadReload: (error) => this.emit('bad', error),
        onWatchFailed: (error) => this.emit('error', error),
        onRestless: () => {},
      },
    );
    this.rules.use((ruleSet) => this.guard.useRules(ruleSet));
    this.rules.load();
  }

  get threshold(): number {
    return this.guard.breakerOf(API).config.failureThreshold;
  }

  /** Does something to the file and waits until it is in force. */
  async reload(change: () => void): Promise<void> {
    const reloaded = once(this, 'reload');
    change();
    await reloaded;
  }

  /** Does something to the file that must not be taken, and waits until that was said. */
  async reject(change: () => void): Promise<unknown> {
    const rejected = once(this, 'bad');
    change();
    const [error] = (await rejected) as [unknown];
    return error;
  }
}

describe('LiveRules', () => {
  const started: Watched[] = [];

  function watch(config: string | undefined, environment?: Partial<RulesEnvironment>): Watched {
    const watched = new Watched(config, environment);
    started.push(watched);
    return watched;
  }

  afterEach(() => {
    for (const { rules } of started.splice(0)) rules.stop();
    removeTemporaryDirectories();
  });

  it('takes the file anew when it is written to', async () => {
    const file = join(temporaryDirectory(), 'rules.yaml');
    writeFileSync(file, rulesWith(3));
    const watched = watch(file);
    expect(watched.threshold).to.equal(3);
    await watched.reload(() => writeFileSync(file, rulesWith(4)));
    expect(watched.threshold).to.equal(4);
    await watched.reload(() => writeFileSync(file, rulesWith(5)));
    expect(watched.threshold).to.equal(5);
  });

  it('keeps the last calls when a window of time becomes one of calls, and none the other way', async () => {
    const file = join(temporaryDirectory(), 'rules.yaml');
    const windowOf = (window: string) => `defaults: { failureThreshold: 100, minimumCalls: 4, window: ${window} }\n`;
    writeFileSync(file, windowOf('1m'));
    const watched = watch(file);
    const breaker = watched.guard.breakerOf(API);
    const fail = (times: number) => {
      for (let call = 0; call < times; call++) watched.guard.pass(API).failure(new Error('down'));
    };
    fail(3);
    await watched.reload(() => writeFileSync(file, windowOf('4 calls')));
    expect([breaker.config.window, breaker.stats().failureRate]).to.deep.equal([{ calls: 4 }, 1]);
    fail(1);
    expect(breaker.state).to.equal('open');
    breaker.reset();
    fail(3);
    // How long ago they were, nobody knows.
    await watched.reload(() => writeFileSync(file, windowOf('1m')));
    expect([breaker.config.window, breaker.stats().failureRate]).to.deep.equal([60_000, 0]);
    fail(3);
    expect(breaker.state).to.equal('closed');
    fail(1);
    expect(breaker.state).to.equal('open');
  });

  it('takes the file anew when another one takes its name', async () => {
    const directory = temporaryDirectory();
    const file = join(directory, 'rules.yaml');
    writeFileSync(file, rulesWith(3));
    const watched = watch(file);
    for (const threshold of [4, 5]) {
      await watched.reload(() => {
        writeFileSync(join(directory, 'rules.yaml.tmp'), rulesWith(threshold));
        renameSync(join(directory, 'rules.yaml.tmp'), file);
      });
      expect(watched.threshold).to.equal(threshold);
    }
  });

  it('takes the file anew when Kubernetes swaps the link of a ConfigMap', async () => {
    const mount = temporaryDirectory();
    const version = (name: string, threshold: number) => {
      mkdirSync(join(mount, name));
      writeFileSync(join(mount, name, 'rules.yaml'), rulesWith(threshold));
      symlinkSync(name, join(mount, '..data_tmp'));
      renameSync(join(mount, '..data_tmp'), join(mount, '..data'));
    };
    version('..2024_1', 3);
    symlinkSync('..data/rules.yaml', join(mount, 'rules.yaml'));
    // As people do it: a link in the working directory to the mounted file.
    const link = join(temporaryDirectory(), 'otel-breaker.yaml');
    symlinkSync(join(mount, 'rules.yaml'), link);
    const [direct, linked] = [watch(join(mount, 'rules.yaml')), watch(link)];
    for (const [name, old, threshold] of [
      ['..2024_2', '..2024_1', 4],
      ['..2024_3', '..2024_2', 5],
    ] as const) {
      const both = Promise.all([once(direct, 'reload'), once(linked, 'reload')]);
      version(name, threshold);
      rmSync(join(mount, old), { recursive: true });
      await both;
      expect([direct.threshold, linked.threshold]).to.deep.equal([threshold, threshold]);
    }
  });

  it('keeps the last good rules when the file turns bad, says so, and takes the next good ones', async () => {
    const file = join(temporaryDirectory(), 'rules.yaml');
    writeFileSync(file, rulesWith(3));
    const watched = watch(file);
    const error = await watched.reject(() => writeFileSync(file, rulesWith(0)));
    expect(error).to.be.instanceOf(ConfigError);
    expect((error as Error).message).to.contain(':3:23 rules[0].failureThreshold: got 0;');
    expect(watched.threshold).to.equal(3);
    await watched.reload(() => writeFileSync(file, rulesWith(6)));
    expect(watched.threshold).to.equal(6);
  });

  it('keeps the last good rules when the file or its directory is deleted, and takes it when it is back', async () => {
    const directory = join(temporaryDirectory(), 'config');
    mkdirSync(directory);
    const file = join(directory, 'rules.yaml');
    writeFileSync(file, rulesWith(3));
    const watched = watch(file);
    const error = await watched.reject(() => rmSync(directory, { recursive: true }));
    expect((error as Error).message).to.contain('there is no such file');
    expect(watched.threshold).to.equal(3);
    mkdirSync(directory);
    await watched.reload(() => writeFileSync(file, rulesWith(4)));
    expect(watched.threshold).to.equal(4);
  });

  it('does not watch where it is told not to', async () => {
    const file = join(temporaryDirectory(), 'rules.yaml');
    writeFileSync(file, rulesWith(3));
    const [still, watching] = [watch(file, { watch: false }), watch(file)];
    await watching.reload(() => writeFileSync(file, rulesWith(4)));
    expect([still.threshold, watching.threshold]).to.deep.equal([3, 4]);
  });

  it('throws at the start where the file is bad, and goes on with it once it is good', async () => {
    const file = join(temporaryDirectory(), 'rules.yaml');
    writeFileSync(file, rulesWith('x'));
    const watched = new Watched(undefined);
    const rules = new LiveRules(
      { mode: undefined, watch: true, config: file },
      {
        onReload: () => watched.emit('reload'),
        onBadReload: () => {},
        onWatchFailed: () => {},
        onRestless: () => {},
      },
    );
    rules.use((ruleSet) => watched.guard.useRules(ruleSet));
    try {
      expect(() => rules.load()).to.throw(ConfigError, 'failureThreshold: got "x"');
      expect(watched.threshold).to.equal(5);
      await watched.reload(() => writeFileSync(file, rulesWith(4)));
      expect(watched.threshold).to.equal(4);
    } finally {
      rules.stop();
    }
  });

  it('throws where a file that was asked for is not there', () => {
    expect(() => watch(join(temporaryDirectory(), 'none.yaml'))).to.throw(ConfigError, 'there is no such file');
  });

  it('puts rules from code before those of the file, replaces them, and takes them back', () => {
    const file = join(temporaryDirectory(), 'rules.yaml');
    writeFileSync(file, rulesWith(3));
    const watched = watch(file);
    watched.rules.configure({ rules: [{ match: { host: 'api.example.com' }, failureThreshold: 7 }] });
    expect(watched.threshold).to.equal(7);
    expect(() => watched.rules.configure({ rules: [{ match: {}, failureThreshold: 0 }] })).to.throw(
      ConfigError,
      'got 0',
    );
    expect(watched.threshold).to.equal(7);
    watched.rules.configure({});
    expect(watched.threshold).to.equal(3);
  });

  it('throws where rules from code and those of the file do not go together', () => {
    const file = join(temporaryDirectory(), 'rules.yaml');
    writeFileSync(file, 'rules:\n  - match: { host: api.example.com }\n    openDuration: 10m\n');
    const { rules } = watch(file);
    expect(() => rules.configure({ defaults: { maxOpenDuration: '1m' } })).to.throw(
      ConfigError,
      'shorter than openDuration',
    );
  });

  it('changes thresholds under load and loses no count', async () => {
    const file = join(temporaryDirectory(), 'rules.yaml');
    writeFileSync(file, rulesWith(1_000_000));
    const watched = watch(file);
    const { guard } = watched;
    const pending: Permit[] = [];
    let made = 0;
    let running = true;

    function load(): void {
      for (let call = 0; call < 20; call++) {
        const permit = guard.enter(API);
        if (permit instanceof CircuitOpenError) throw permit;
        made++;
        pending.push(permit);
      }
      // Some stay in flight, across reloads too; nine of ten succeed.
      for (const [index, permit] of pending.splice(0, pending.length - 10).entries()) {
        if (index % 10 === 9) permit.failure(new Error('x'));
        else permit.success();
      }
      if (running) setImmediate(load);
    }

    load();
    const breaker = guard.breakerOf(API);
    for (const threshold of [900_000, 800_000, 700_000]) {
      const before = made;
      await watched.reload(() => writeFileSync(file, rulesWith(threshold)));
      expect(made).to.be.greaterThan(before);
      expect(breaker.config.failureThreshold).to.equal(threshold);
    }
    running = false;
    for (const permit of pending.splice(0)) permit.success();
    expect(guard.breakerOf(API)).to.equal(breaker);
    const { success, failure, ignored, rejected, inFlight } = breaker.stats().calls;
    expect({ total: success + failure, ignored, rejected, inFlight }).to.deep.equal({
      total: made,
      ignored: 0,
      rejected: 0,
      inFlight: 0,
    });
    // The next reload takes effect on what was counted before it.
    const failures = breaker.stats().consecutiveFailures;
    await watched.reload(() => writeFileSync(file, rulesWith(failures + 1)));
    guard.breakerOf(API).acquire().failure(new Error('last'));
    expect(breaker.state).to.equal('open');
  });
});
