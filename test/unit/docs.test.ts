import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';
import { PROBLEMS } from '../../shared/http/answer/problem.ts';
import { ERROR_CODES, type ErrorCode } from '../../shared/log/errors.ts';
import { documents } from '../support/doc-examples.ts';

const ROOT = join(import.meta.dirname, '../..');

/** As GitHub makes it. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
}

describe('docs', () => {
  test('link to files that the package has, and to headings that are there', () => {
    const wrong: string[] = [];
    let links = 0;
    for (const path of documents()) {
      const text = readFileSync(join(ROOT, path), 'utf8');
      for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^https?:/.test(target)) continue;
        links += 1;
        const [name = '', anchor] = target.split('#');
        const file = name === '' ? join(ROOT, path) : join(ROOT, dirname(path), name);
        const packed = /^(?:docs\/|README\.md$|CHANGELOG\.md$|LICENSE$)/.test(relative(ROOT, file));
        if (!packed || !existsSync(file)) wrong.push(`${path}: ${target}`);
        else if (anchor !== undefined) {
          const headings = [...readFileSync(file, 'utf8').matchAll(/^#+ (.+)$/gm)].map((match) =>
            anchorOf(match[1] as string),
          );
          if (!headings.includes(anchor)) wrong.push(`${path}: ${target}`);
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(links).toBeGreaterThan(5);
  });

  test('list every error code with its status and what to do', async () => {
    // Cells of tables are filled up with blanks, for people who read them as they are.
    const text = (await readFile(new URL('../../docs/http-api.md', import.meta.url), 'utf8')).replaceAll(/ +\|/g, ' |');
    for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
      expect(text).toContain(`| \`${code}\` | ${PROBLEMS[code].status} | \`${ERROR_CODES[code].retry}\` |`);
    }
  });
});
