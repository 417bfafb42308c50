import { ConfigError } from '../breaker/errors.js';
import type { Mode } from '../breaker/options.js';
import type * as AnswerFiles from './answer-files.js';
import type * as Check from './check.js';
import type * as FileWatches from './file-watch.js';
import { findRulesFile } from './find.js';
import type * as Load from './load.js';
import { problemOf } from './problem.js';
import { RuleSet, type RulesSection } from './rule-set.js';
import type { RulesConfig } from './rule.js';
import type * as Semantics from './semantics.js';

/** What of the environment is about rules. */
export interface RulesEnvironment {
  readonly mode: Mode | undefined;
  readonly config: string | undefined;
  readonly watch: boolean;
}

/** Who hears what becomes of the rules. */
export interface RulesListener {
  /** The file was read again, with this result. */
  onReload(section: RulesSection): void;
  /** The file has changed into something that cannot be taken: the last good rules stay in force. */
  onBadReload(error: unknown): void;
  /** The system cannot tell of changes to the file: they are looked for from time to time. */
  onWatchFailed(error: unknown): void;
  /** The file changes all the time: it is read when it rests. */
  onRestless(): void;
}

interface User {
  readonly take: (rules: RuleSet) => void;
  readonly own: RulesSection | undefined;
}

// What reads, checks and watches rules is loaded where there are some: most services have none.

/** The rules in force: those given in code, before those of the file, under the mode of the environment. */
export class LiveRules {
  readonly #environment: RulesEnvironment;
  readonly #listener: RulesListener;
  readonly #users = new Set<User>();
  #code: RulesSection | undefined;
  #file: RulesSection | undefined;
  /** By their paths: the rules file, and those that it extends. */
  readonly #watches = new Map<string, FileWatches.FileWatch>();
  #loaded = false;
  /** What is wrong with the file as it is: it cannot be taken. */
  #problem: unknown;
  #reloaded: boolean | undefined;

  constructor(environment: RulesEnvironment, listener: RulesListener) {
    this.#environment = environment;
    this.#listener = listener;
  }

  /** The file that rules were read from, if there is one. */
  get file(): RulesSection | undefined {
    return this.#file;
  }

  /** Why the file as it is cannot be taken, in words; `null` where it is in force, or where there is none. */
  get problem(): string | null {
    if (this.#problem === undefined) return null;
    return this.#problem instanceof Error ? this.#problem.message : 'The file cannot be taken.';
  }

  /** Whether the file could be taken when it was last read; `undefined` before the first reload of a good one. */
  get reloaded(): boolean | undefined {
    return this.#reloaded;
  }

  /**
   * Hands out what is in force, now and whenever it changes.
   *
   * @param own rules that come before all others, for this user alone
   * @returns a function that ends it
   * @throws ConfigError where the user's own rules do not go together with the others
   */
  use(take: (rules: RuleSet) => void, own?: RulesSection): () => void {
    const user = { take, own };
    assertTogether(this.#sections(user, this.#code, this.#file));
    this.#users.add(user);
    this.#hand(user);
    return () => {
      this.#users.delete(user);
    };
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
    const files = new Set<string>();
    try {
      const { loadRulesFile } = require('./load.js') as typeof Load;
      this.#take(this.#code, loadRulesFile(path, undefined, false, files));
    } catch (error) {
      this.#problem = error;
      this.#reloaded = false;
      throw error;
    } finally {
      if (this.#environment.watch) this.#watchFiles(path, files);
    }
  }

  /**
   * Replaces the rules given in code; `{}` takes them back.
   *
   * @throws ConfigError with every problem that they have; then the ones before stay in force
   */
  configure(config: RulesConfig): void {
    this.#take(checkedSection('configure()', config), this.#file);
  }

  stop(): void {
    for (const watch of this.#watches.values()) watch.stop();
    this.#watches.clear();
  }

  #take(code: RulesSection | undefined, file: RulesSection | undefined): void {
    assertTogether(this.#sections(undefined, code, file));
    for (const user of this.#users) assertTogether(this.#sections(user, code, file));
    this.#code = code;
    this.#file = file;
    for (const user of this.#users) this.#hand(user);
  }

  #hand(user: User): void {
    user.take(new RuleSet(this.#sections(user, this.#code, this.#file), this.#environment.mode));
  }

  #sections(user: User | undefined, code: RulesSection | undefined, file: RulesSection | undefined): RulesSection[] {
    return [user?.own, code, file].filter((section) => section !== undefined);
  }

  #reload(path: string): void {
    const files = new Set<string>();
    try {
      const { loadRulesFile } = require('./load.js') as typeof Load;
      const section = loadRulesFile(path, undefined, true, files);
      // Written anew and the same: whoever does that all the time must not cost more than reading it.
      if (this.#problem === undefined && isSame(section, this.#file)) return;
      this.#take(this.#code, section);
      this.#problem = undefined;
      this.#reloaded = true;
      this.#listener.onReload(section);
    } catch (error) {
      this.#problem = error;
      this.#reloaded = false;
      this.#listener.onBadReload(error);
    } finally {
      this.#watchFiles(path, files);
    }
  }

  /** Watches these files and no others. @param path of the one that extends the others */
  #watchFiles(path: string, files: ReadonlySet<string>): void {
    for (const [file, watch] of this.#watches) {
      if (files.has(file)) continue;
      watch.stop();
      this.#watches.delete(file);
    }
    for (const file of files) {
      if (this.#watches.has(file)) continue;
      const { FileWatch } = require('./file-watch.js') as typeof FileWatches;
      const watch = new FileWatch(
        file,
        () => this.#reload(path),
        (error) => this.#listener.onWatchFailed(error),
        () => this.#listener.onRestless(),
      );
      this.#watches.set(file, watch);
    }
  }
}

function isSame(section: RulesSection, other: RulesSection | undefined): boolean {
  return JSON.stringify(section) === JSON.stringify(other);
}

/** @throws ConfigError where the sections contradict each other; without any, nothing is loaded for that */
function assertTogether(sections: readonly RulesSection[]): void {
  if (sections.length > 0) (require('./semantics.js') as typeof Semantics).assertTogether(sections);
}

/**
 * Rules given in code, checked.
 *
 * @throws ConfigError with every problem that they have
 */
export function checkedSection(origin: string, config: RulesConfig): RulesSection {
  const { checkRules } = require('./check.js') as typeof Check;
  const { withAnswerFiles } = require('./answer-files.js') as typeof AnswerFiles;
  const findings = checkRules(config, true);
  const completed = findings.length > 0 ? config : withAnswerFiles(config, '.', findings);
  if (findings.length > 0) throw new ConfigError(origin, findings.map(problemOf));
  return { origin, config: completed };
}
