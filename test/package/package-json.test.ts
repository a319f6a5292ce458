import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SDK_PACKAGES } from '../../shared/aws/sdk-packages.ts';

/** What npm goes by: `package.json`, and the lock that `npm ci` installs from on every platform. */

const ROOT = join(import.meta.dirname, '../..');

type Names = Readonly<Record<string, string>>;

const PACKAGE = read('package.json') as {
  readonly name: string;
  readonly version: string;
  readonly engines: Names;
  readonly bin: Names;
  readonly dependencies: Names;
  readonly optionalDependencies: Names;
  readonly devDependencies: Names;
  readonly peerDependencies: Names;
  readonly peerDependenciesMeta: Readonly<Record<string, { readonly optional: boolean }>>;
};
const LOCK = read('package-lock.json') as {
  readonly packages: Readonly<Record<string, { readonly optionalDependencies?: Names }>>;
};

function read(name: string): unknown {
  return JSON.parse(readFileSync(join(ROOT, name), 'utf8'));
}

describe('package.json', () => {
  it('names optional peers only, each of them a development dependency too', () => {
    const { peerDependencies, peerDependenciesMeta, devDependencies } = PACKAGE;
    for (const name of Object.keys(peerDependencies)) {
      expect(peerDependenciesMeta[name], name).toEqual({ optional: true });
      expect(Object.keys(devDependencies)).toContain(name);
    }
    expect(Object.keys(peerDependenciesMeta).sort()).toEqual(Object.keys(peerDependencies).sort());
  });

  it('has the packages of the AWS SDK that errors name as peers', () => {
    const sdk = Object.keys(PACKAGE.peerDependencies).filter((name) => name.startsWith('@aws-sdk/'));
    expect(sdk.sort()).toEqual([...SDK_PACKAGES].sort());
  });

  it('is what the lock was made from, so that `npm ci` takes it', () => {
    const root = LOCK.packages[''] as Readonly<Record<string, unknown>>;
    const fields = [
      'name',
      'version',
      'engines',
      'bin',
      'dependencies',
      'optionalDependencies',
      'devDependencies',
      'peerDependencies',
      'peerDependenciesMeta',
    ] as const;
    for (const field of fields)
      expect(root[field], `${field}: run npm install --package-lock-only`).toEqual(PACKAGE[field]);
  });

  it('has in its lock every package that another platform may need', () => {
    const lacking: string[] = [];
    let optional = 0;
    for (const [path, { optionalDependencies = {} }] of Object.entries(LOCK.packages)) {
      for (const name of Object.keys(optionalDependencies)) {
        optional += 1;
        // Beside the package that asks for it, or in a folder further up.
        const places = path.split(/(?=\/?node_modules\/)/).map((_, i, parts) => parts.slice(0, i + 1).join(''));
        const found = ['', ...places].some((place) => `${place}${place && '/'}node_modules/${name}` in LOCK.packages);
        if (!found) lacking.push(`${path} lacks ${name}`);
      }
    }
    expect(lacking, 'run npm install --package-lock-only').toEqual([]);
    expect(optional).toBeGreaterThan(50);
  });
});
