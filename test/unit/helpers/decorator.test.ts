import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import Module from 'node:module';
import { join } from 'node:path';
import ts from 'typescript';
import { CircuitOpenError, globalRegistry } from '../../../src/index.js';
import type { DecoratedService } from '../../fixtures/decorated-service.js';
import { rejectionOf } from '../../support/listen.js';

const FIXTURE = join(__dirname, '../../fixtures/decorated-service.ts');
const ROOT = join(__dirname, '../../..');

const MODES = [
  ['a standard decorator', false],
  ['a decorator under experimentalDecorators', true],
] as const;

/** Compiles the fixture with TypeScript itself and loads it. */
function load(experimentalDecorators: boolean): typeof DecoratedService {
  const { outputText } = ts.transpileModule(readFileSync(FIXTURE, 'utf8'), {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.CommonJS, experimentalDecorators },
  });
  // What shows which of the two kinds it became.
  expect(outputText.includes('__esDecorate')).to.equal(!experimentalDecorators);
  expect(outputText.includes('__decorate(')).to.equal(experimentalDecorators);
  const module = { exports: {} as { DecoratedService: typeof DecoratedService } };
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- the fixture, just compiled
  const run = new Function('module', 'exports', 'require', outputText) as (...args: unknown[]) => void;
  run(module, module.exports, Module.createRequire(FIXTURE));
  return module.exports.DecoratedService;
}

describe('circuitBreaker', () => {
  for (const [title, experimental] of MODES) {
    describe(`as ${title}`, () => {
      let Service: typeof DecoratedService;
      let service: DecoratedService;

      beforeEach(() => {
        for (const name of globalRegistry.listNames())
          if (/^decorated-|^DecoratedService/.test(name)) globalRegistry.remove(name);
        Service = load(experimental);
        service = new Service('service');
      });

      it('guards the method, which keeps this, private fields, name and length', async () => {
        expect(await service.greet('you')).to.equal('hello you');
        expect(service.greet.name).to.equal('greet');
        expect(service.greet).to.have.lengthOf(1);
        const breaker = globalRegistry.get('DecoratedService.greet')!;
        expect(breaker.stats().calls.success).to.equal(1);
        breaker.forceOpen();
        expect(await rejectionOf(service.greet('you'))).to.be.instanceOf(CircuitOpenError);
      });

      it('passes errors on unchanged and opens for all objects of the class', async () => {
        const error = new Error('down');
        expect(await rejectionOf(service.fail(error))).to.equal(error);
        expect(await rejectionOf(new Service('another').fail(error))).to.equal(error);
        expect(await rejectionOf(service.fail(error))).to.be.instanceOf(CircuitOpenError);
      });

      it('answers a rejected call by the fallback, called on the object', async () => {
        expect(await rejectionOf(service.look('key'))).to.have.property('message', 'no key');
        expect(await service.look('key')).to.equal('service: decorated-fallback has no key');
      });

      it('guards static methods', async () => {
        expect(await Service.count()).to.equal(1);
        expect(globalRegistry.get('DecoratedService.count')!.stats().calls.success).to.equal(1);
      });
    });
  }

  it('has types that the compiler takes under experimentalDecorators too', () => {
    const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), (path) => readFileSync(path, 'utf8')) as {
      config: { compilerOptions: object };
    };
    const compilerOptions = { ...config.compilerOptions, experimentalDecorators: true };
    const { options, errors } = ts.convertCompilerOptionsFromJson(compilerOptions, ROOT);
    expect(errors).to.be.empty;
    const problems = ts.getPreEmitDiagnostics(ts.createProgram([FIXTURE], options));
    expect(problems.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))).to.deep.equal([]);
  });
});
