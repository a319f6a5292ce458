import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { PROBLEMS } from '../../shared/http/answer/problem.ts';
import { ERROR_CODES, type ErrorCode } from '../../shared/log/errors.ts';

describe('docs', () => {
  test('list every error code with its status and what to do', async () => {
    // Cells of tables are filled up with blanks, for people who read them as they are.
    const text = (await readFile(new URL('../../docs/http-api.md', import.meta.url), 'utf8')).replaceAll(/ +\|/g, ' |');
    for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
      expect(text).toContain(`| \`${code}\` | ${PROBLEMS[code].status} | \`${ERROR_CODES[code].retry}\` |`);
    }
  });
});
