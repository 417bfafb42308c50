import { expect } from 'chai';
import {
  INSTRUMENTATION_SCOPES,
  SCHEMES,
  SYSTEMS,
  parseTarget,
  presetOf,
  targetLabels,
  targetName,
  targetOfUrl,
  type Target,
} from '../../src/target.js';

const NAMES: readonly (readonly [Target, name: string])[] = [
  [{ system: 'http', scheme: 'http', host: 'api.example.com', port: 80 }, 'http://api.example.com'],
  [{ system: 'http', scheme: 'https', host: 'api.example.com', port: 443 }, 'https://api.example.com'],
  [{ system: 'http', scheme: 'http', host: 'api.example.com', port: 443 }, 'http://api.example.com:443'],
  [{ system: 'http', scheme: 'https', host: 'api.example.com', port: 8443 }, 'https://api.example.com:8443'],
  [{ system: 'http', scheme: 'http', host: '::1', port: 8080 }, 'http://[::1]:8080'],
  [{ system: 'http', scheme: 'http', host: '[::1]', port: 80 }, 'http://[::1]'],
  [{ system: 'redis', scheme: 'redis', host: 'cache', port: 6379 }, 'redis://cache:6379'],
  [{ system: 'redis', scheme: 'redis+cluster', host: 'node-1', port: 7000 }, 'redis+cluster://node-1:7000'],
  [
    { system: 'postgresql', scheme: 'postgresql', host: 'db', port: 5432, database: 'orders' },
    'postgresql://db:5432/orders',
  ],
  [{ system: 'http', scheme: 'unix', host: '/run/x.sock', port: 0 }, 'unix:/run/x.sock'],
];

describe('targetName', () => {
  for (const [target, name] of NAMES) {
    it(`calls ${JSON.stringify(target)} ${name}`, () => expect(targetName(target)).to.equal(name));
  }
});

describe('targetLabels', () => {
  it('are the system, the address and the port', () => {
    expect(targetLabels({ system: 'redis', scheme: 'redis', host: 'cache', port: 6379 })).to.deep.equal({
      system: 'redis',
      server_address: 'cache',
      server_port: 6379,
    });
  });

  it('name no port for a unix socket, which has none', () => {
    expect(targetLabels({ system: 'http', scheme: 'unix', host: '/run/x.sock', port: 0 })).to.deep.equal({
      system: 'http',
      server_address: '/run/x.sock',
    });
  });
});

describe('The table of systems', () => {
  it('names the target of each scheme, with its default port', () => {
    const names = SCHEMES.map((scheme) => {
      const target = parseTarget(scheme === 'unix' ? 'unix:/run/x.sock' : `${scheme}://host`);
      return target && targetName(target);
    });
    expect(names).to.deep.equal([
      'http://host',
      'https://host',
      'grpc://host:443',
      'redis://host:6379',
      'redis://host:6379',
      'redis+cluster://host:6379',
      'redis+sentinel://host:26379',
      'postgresql://host:5432',
      'postgresql://host:5432',
      'mysql://host:3306',
      'mysql://host:3306',
      'mongodb://host:27017',
      'mongodb://host:27017',
      'smtp://host:587',
      'smtp://host:465',
      'unix:/run/x.sock',
    ]);
  });

  it('reads one target from a URL and from a call to it', () => {
    for (const url of ['http://api.example.com', 'https://[::1]:8443', 'https://api.example.com:443']) {
      expect(targetOfUrl(new URL(url))).to.deep.equal(parseTarget(url));
    }
  });

  it('has a preset for each system, and a package of OpenTelemetry for each client that has one', () => {
    const presets = ['httpApi', 'httpApi', 'cache', 'database', 'database', 'database', 'notifications'];
    expect(SYSTEMS.map(presetOf)).to.deep.equal(presets);
    const clients = ['http', 'undici', 'ioredis', 'node-redis', 'pg', 'mysql2', 'mongodb', 'grpc'];
    expect([...INSTRUMENTATION_SCOPES.keys()]).to.have.members(clients);
  });

  it('knows no scheme that every object has', () => expect(parseTarget('constructor://host')).to.equal(undefined));
});
