import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');

/** A block of TypeScript in README.md or docs. */
export interface DocExample {
  /** The file, with the heading that the block is under. */
  readonly name: string;
  readonly code: string;
  /** Which of the package's entries it uses. */
  readonly entry: 'tailrace' | 'tailrace/client' | 'tailrace/local' | 'tailrace/cdk';
}

/** Every document that a reader of the package finds, as a path from the root. */
export function documents(): string[] {
  const docs = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' });
  return ['README.md', 'CHANGELOG.md', ...docs.filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)];
}

export function docExamples(): DocExample[] {
  return documents().flatMap((path) => {
    const text = readFileSync(join(ROOT, path), 'utf8');
    return [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map((match) => {
      const code = match[1] as string;
      const heading = [...text.slice(0, match.index).matchAll(/^#+ (.+)$/gm)].at(-1)?.[1];
      const entry = /from '(tailrace(?:\/(?:client|local|cdk))?)'/.exec(code)?.[1] as DocExample['entry'] | undefined;
      if (entry === undefined)
        throw new Error(`An example of ${path} uses nothing of the package, so nothing runs it.`);
      return { name: `${path}, ${heading}`, code, entry };
    });
  });
}
