import { expect } from 'chai';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderApiReports, REPORTS } from '../../scripts/api-report.js';
import { ROOT } from '../support/child.js';

const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { exports: Record<string, string> };

describe('the reviewed report of the public API', () => {
  it('has one file for each typed entry point, and no other', () => {
    const typed = Object.keys(exports).filter((entry) => exports[entry]!.endsWith('.js'));
    expect(Object.values(REPORTS)).to.have.members(typed);
    expect(readdirSync(join(ROOT, 'api')).map((file) => `api/${file}`)).to.have.members(Object.keys(REPORTS));
  });

  it('is what was built', function () {
    // The compiler reads the declarations of Node and of OpenTelemetry four times.
    this.timeout(120_000);
    for (const entry of Object.values(exports)) {
      expect(existsSync(join(ROOT, entry)), `${entry} is missing: run npm run build`).to.equal(true);
    }
    for (const [file, built] of renderApiReports()) {
      const reviewed = readFileSync(join(ROOT, file), 'utf8');
      expect(built, `The public API has changed. Run npm run api and review the difference in ${file}.`).to.equal(
        reviewed,
      );
    }
  });
});
