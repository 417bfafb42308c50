import { ConfigError } from '../breaker/errors.js';
import type { Mode } from '../breaker/options.js';
import { checkRules } from './check.js';
import { problemOf } from './finding.js';
import { findRulesFile, loadRulesFile } from './load.js';
import { findConflicts } from './meaning.js';
import { RuleSet, type RulesSection } from './rule-set.js';
import type { RulesConfig } from './rule.js';
import { FileWatch } from './watch.js';

/** What of the environment is about rules. */
export interface RulesEnvironment {
  readonly mode: Mode | undefined;
  readonly config: string | undefined;
  readonly watch: boolean;
}

/** Who hears what becomes of the rules. */
export interface RulesListener {
  /** New rules are in force. */
  onRules(): void;
  /** The file was read again, with this result. */
  onReload(section: RulesSection): void;
  /** The file has changed into something that cannot be taken: the last good rules stay in force. */
  onBadReload(error: unknown): void;
  /** The file cannot be watched. */
  onWatchFailed(error: unknown): void;
}

/** The rules in force: those given in code, before those of the file, under the mode of the environment. */
export class LiveRules {
  readonly #environment: RulesEnvironment;
  readonly #listener: RulesListener;
  #code: RulesSection | undefined;
  #file: RulesSection | undefined;
  #watch: FileWatch | undefined;
  #loaded = false;

  constructor(environment: RulesEnvironment, listener: RulesListener) {
    this.#environment = environment;
    this.#listener = listener;
  }

  /** The file that rules were read from, if there is one. */
  get file(): RulesSection | undefined {
    return this.#file;
  }

  /**
   * What is in force.
   *
   * @param own rules that come before all others
   */
  ruleSet(own?: RulesSection): RuleSet {
    return new RuleSet(this.#sections(own), this.#environment.mode);
  }

  /**
   * Reads the rules file, once, and watches it from then on.
   *
   * @throws ConfigError with every problem that it has; then, and where there is none, no file is in force
   */
  load(): void {
    if (this.#loaded) return;
    this.#loaded = true;
    const path = findRulesFile(this.#environment.config);
    if (path === undefined) return;
    try {
      this.#take(loadRulesFile(path));
    } finally {
      if (this.#environment.watch) this.#watchFile(path);
    }
  }

  /**
   * Replaces the rules given in code; `{}` takes them back.
   *
   * @throws ConfigError with every problem that they have; then the ones before stay in force
   */
  configure(config: RulesConfig): void {
    const section = checkedSection('configure()', config);
    assertTogether([section, this.#file]);
    this.#code = section;
    this.#listener.onRules();
  }

  stop(): void {
    this.#watch?.stop();
    this.#watch = undefined;
  }

  #sections(own?: RulesSection): RulesSection[] {
    return [own, this.#code, this.#file].filter((section) => section !== undefined);
  }

  #take(section: RulesSection): void {
    assertTogether([this.#code, section]);
    this.#file = section;
    this.#listener.onRules();
  }

  #watchFile(path: string): void {
    const reload = () => {
      try {
        const section = loadRulesFile(path);
        this.#take(section);
        this.#listener.onReload(section);
      } catch (error) {
        this.#listener.onBadReload(error);
      }
    };
    this.#watch = new FileWatch(path, reload, (error) => this.#listener.onWatchFailed(error));
  }
}

/**
 * Rules given in code, checked.
 *
 * @throws ConfigError with every problem that they have
 */
export function checkedSection(origin: string, config: RulesConfig): RulesSection {
  const findings = checkRules(config, true);
  if (findings.length > 0) throw new ConfigError(origin, findings.map(problemOf));
  return { origin, config };
}

/** Sections that are right by themselves can still not go together. */
function assertTogether(sections: readonly (RulesSection | undefined)[]): void {
  const present = sections.filter((section) => section !== undefined);
  const conflicts = present.length > 1 ? findConflicts(present) : [];
  if (conflicts.length > 0) {
    throw new ConfigError(present.map(({ origin }) => origin).join(' with '), conflicts.map(problemOf));
  }
}
