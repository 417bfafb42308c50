import { expect } from 'chai';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { oneOf } from '../../src/breaker/options.js';
import * as core from '../../src/index.js';
import { readEnvironment } from '../../src/environment.js';
import { HttpStatusError } from '../../src/outcomes/http.js';
import { DEFAULT_MAX_BREAKERS } from '../../src/rules/rule.js';
import { rulesSchema } from '../../src/rules/schema.js';
import { renderReference } from '../../scripts/reference.js';
import { ACTIONS } from '../../src/console/api.js';
import { ROOT } from '../support/child.js';
import { openCircuit } from '../support/breakers.js';
import { startService, type Service } from '../console/service.js';
import { Document, findDocuments } from './documents.js';

const page = new Document('docs/quick-reference.md');
const configuration = new Document('docs/configuration.md');

const column = (table: readonly (readonly string[])[], index: number) => table.slice(1).map((row) => row[index]!);
const words = (text: string) => [...text.matchAll(/[A-Za-z_]\w*/g)].map(([word]) => word);

/** Every text in the sources that names an environment variable of OpenTelemetry or ours, and is all that. */
function variablesOfSources(): Set<string> {
  const files = ['src', 'instrumentations'].flatMap((directory) =>
    readdirSync(join(ROOT, directory), { recursive: true, encoding: 'utf8' }).map((file) =>
      join(ROOT, directory, file),
    ),
  );
  const found = new Set<string>();
  for (const file of files.filter((name) => name.endsWith('.ts'))) {
    const visit = (node: ts.Node): void => {
      if ((ts.isStringLiteralLike(node) || ts.isIdentifier(node)) && /^OTEL_[A-Z_]+$/.test(node.text)) {
        found.add(node.text);
      }
      ts.forEachChild(node, visit);
    };
    visit(ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest));
  }
  return found;
}

describe('reference', () => {
  it('is as the code has it', async () => {
    for (const [file, text] of await renderReference()) {
      expect(readFileSync(join(ROOT, file), 'utf8'), `${file}: run \`npm run reference\` and commit`).to.equal(text);
    }
  });

  it('describes every export by its docstring', () => {
    const { text } = new Document('docs/api.md');
    const undescribed = [...text.matchAll(/^#### `(\w+)`\n\n```/gm)].map(([, name]) => name!);
    const exported = Object.keys(core);
    expect(undescribed.filter((name) => exported.includes(name))).to.deep.equal([]);
    for (const name of exported) expect(text).to.contain(`#### \`${name}\``);
  });

  describe('of the environment', () => {
    // Set for as long as OpenTelemetry's SDK starts, and then put back: nothing to set for anybody else.
    const internal = ['OTEL_LOGS_EXPORTER'];

    it('has every variable that is read, and no other', () => {
      const read = [...variablesOfSources()].filter((name) => !internal.includes(name)).sort();
      expect(column(page.tableOf('Environment'), 0).sort()).to.deep.equal(read);
      expect(column(configuration.tableOf('Environment'), 0).sort()).to.deep.equal(read);
    });

    for (const [name, values, preset] of page.tableOf('Environment').slice(1)) {
      if (!name!.startsWith('OTEL_BREAKER_') || !/^\w+(, \w+)+$/.test(values!)) continue;
      it(`has the values of ${name!}`, () => {
        const choices = words(values!);
        for (const value of choices) expect(() => readEnvironment({ [name!]: value })).not.to.throw();
        expect(() => readEnvironment({ [name!]: 'else' })).to.throw(core.ConfigError, oneOf(choices));
        if (!choices.includes(preset!)) return;
        expect(readEnvironment({ [name!]: preset! })).to.deep.equal(readEnvironment({}));
      });
    }

    it('is the only place for such names: documents have no others', () => {
      const known = column(page.tableOf('Environment'), 0);
      for (const document of findDocuments()) {
        const names = [...document.text.matchAll(/OTEL_BREAKER_[A-Z_]*[A-Z]/g)].map(([name]) => name);
        expect(known, document.path).to.include.members(names);
      }
    });

    it('has the defaults of the port', () => {
      const { prometheusHost, prometheusPort } = readEnvironment({});
      const rows = new Map(page.tableOf('Environment').map(([name, , preset]) => [name, preset]));
      expect(rows.get('OTEL_EXPORTER_PROMETHEUS_HOST')).to.equal(prometheusHost);
      expect(rows.get('OTEL_EXPORTER_PROMETHEUS_PORT')).to.equal(String(prometheusPort));
    });
  });

  describe('of the rules file', () => {
    const { entries } = rulesSchema(false);

    it('has its keys', () => {
      expect(column(configuration.tableOf('The rules file'), 0)).to.have.members(Object.keys(entries));
      expect(configuration.text).to.contain(`default ${DEFAULT_MAX_BREAKERS} `);
    });

    it('has the keys of a match', () => {
      const rules = entries.rules.wrapped.pipe[0].item.entries.match.pipe[0].entries;
      expect(column(configuration.tableOf('Matches'), 0)).to.have.members(Object.keys(rules));
    });
  });

  describe('of telemetry', () => {
    let service: Service;
    beforeEach(async () => (service = await startService()));
    afterEach(() => service.stop());

    it('has the metrics, their types and labels', async () => {
      for (const mode of ['enforce', 'observe'] as const) {
        const breaker = service.breaker(mode, { mode });
        openCircuit(breaker);
        await breaker.call(() => 1).catch(() => undefined);
      }
      const lines = (await (await fetch(`${service.url}/metrics`)).text()).split('\n');
      const types = lines.map((line) => /^# TYPE (circuit\w+) (\w+)$/.exec(line)).filter((match) => match !== null);
      const labels = (metric: string) => {
        const keys = lines
          .filter((line) => line.startsWith(`${metric}{`) || line.startsWith(`${metric}_count{`))
          .flatMap((line) => [...line.matchAll(/(\w+)="/g)].map(([, key]) => key!))
          .filter((key) => key !== 'name' && !key.startsWith('otel_scope_'));
        return [...new Set(keys)].sort();
      };
      const table = page.tableOf('Metrics').slice(1);
      expect(table.map(([metric, type]) => [metric, type])).to.have.deep.members(
        types.map(([, metric, type]) => [metric, type]),
      );
      for (const [metric, , text] of table) expect(labels(metric!), metric).to.deep.equal(words(text!).sort());
    });

    it('has the endpoints', async () => {
      const answer = await fetch(`${service.url}/no-such-thing`);
      const served = /^Not found\. Here are: (.*)\n$/.exec(await answer.text())![1]!.split(', ');
      const table = page.tableOf('Endpoints').slice(1);
      expect(table.filter(([, method]) => method === 'GET').map(([path]) => path)).to.have.members(served);
      const actions = ACTIONS.map((action) => `/breakers/{name}/${action}`);
      expect(table.filter(([, method]) => method === 'POST').map(([path]) => path)).to.have.members(actions);
    });
  });

  it('of errors has their codes', () => {
    const codes = page
      .tableOf('Errors')
      .slice(1)
      .map(([name, code]) => [name, code]);
    const errors = [
      new core.CircuitOpenError('target', 'open', 1, 'why', undefined),
      new core.ConfigError('target', []),
      new HttpStatusError(503),
    ];
    expect(codes).to.have.deep.members(errors.map((error) => [error.name, error.code]));
  });
});
