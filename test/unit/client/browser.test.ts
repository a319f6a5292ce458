import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';
import { FILES, ROOT } from '../../support/source-files.ts';

const KIB = 1024;

describe('the client in a browser', () => {
  it('bundles without anything of Node, and is small', async () => {
    const { outputFiles, metafile } = await build({
      entryPoints: [join(ROOT, 'shared/client/index.ts')],
      bundle: true,
      write: false,
      minify: true,
      format: 'esm',
      platform: 'browser',
      target: 'es2022',
      metafile: true,
      logLevel: 'silent',
    });
    const inputs = Object.keys(metafile.inputs);
    expect(inputs.length).toBeGreaterThan(10);
    const packages = new Set(inputs.map((path) => /node_modules\/([^/]+)/.exec(path)?.[1]).filter((name) => name));
    expect([...packages]).toEqual(['crc-32']);
    const code = outputFiles[0]?.text as string;
    expect(code).not.toMatch(/node:|\bBuffer\b\.from|\bprocess\./);
    const sizes = { bytes: code.length, gzip: gzipSync(code).length };
    // docs/client.md says 46 KB, and 16 KB with gzip.
    expect(sizes.bytes, JSON.stringify(sizes)).toBeLessThan(47 * KIB);
    expect(sizes.gzip, JSON.stringify(sizes)).toBeLessThan(17 * KIB);
  });

  it('takes only types of the HTTP API', () => {
    const client = FILES.filter(({ path }) => path.startsWith('shared/client/'));
    const values = client.filter(({ code }) =>
      /^import (?!type )[^;]*shared\/http|^import (?!type )[^;]*\.\.\/http\//m.test(code),
    );
    expect(values.map(({ path }) => path)).toEqual([]);
  });
});
