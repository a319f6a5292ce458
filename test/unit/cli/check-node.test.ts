import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { nodeProblem } from '../../../shared/cli/check-node.js';

const ROOT = join(import.meta.dirname, '../../..');
const run = promisify(execFile);

/** Loaded before anything else, so that Node seems to be an old one. */
const OLD_NODE = `data:text/javascript,${encodeURIComponent(
  "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.19.0' } });",
)}`;

function packageJson(): {
  engines: { node: string };
  bin: { tailrace: string };
  scripts: Readonly<Record<string, string>>;
} {
  return JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
}

describe('the check of the Node version', () => {
  it.each(['22.18.0', '22.22.3', '24.0.0', '24.21.0', '25.1.0', '100.0.0'])('accepts Node %s', (version) => {
    expect(nodeProblem(version)).toBeUndefined();
  });

  it.each(['14.0.0', '20.20.2', '22.9.0', '22.15.1', '22.17.9', '23.11.1'])('rejects Node %s', (version) => {
    expect(nodeProblem(version)).toContain(`This is Node ${version} (${process.execPath})`);
    expect(nodeProblem(version)).toContain('nvm install 24');
  });

  it('agrees with the engines of package.json and with the README', () => {
    expect(packageJson().engines.node).toBe('^22.18.0 || >=24.0.0');
    expect(readFileSync(join(ROOT, 'README.md'), 'utf8')).toContain('Node 24 or later, or Node 22 from 22.18 on');
    expect(nodeProblem('20.0.0')).toContain('Node 24 or later, or Node 22 from 22.18 on');
  });

  it('is plain JavaScript without imports, so that an old Node can load it', () => {
    expect(readFileSync(join(ROOT, 'shared/cli/check-node.js'), 'utf8')).not.toMatch(/\bimport\b[^\n]*from|\?\./);
  });

  it.each(['start', 'demo', 'deploy', 'destroy', 'diff', 'make-key'])(
    'runs before anything else in `npm run %s`',
    async (name) => {
      const [command, ...parameters] = packageJson().scripts[name]?.split(' ') ?? [];
      expect(command).toBe('node');
      const ended = run(process.execPath, ['--import', OLD_NODE, ...parameters], { cwd: ROOT });
      await expect(ended).rejects.toMatchObject({
        code: 1,
        stdout: '',
        stderr: expect.stringMatching(
          /^Tailrace needs Node 24 .* This is Node 20\.19\.0 [^\n]*\nInstall Node 24 [^\n]*\n$/,
        ),
      });
    },
  );
});
