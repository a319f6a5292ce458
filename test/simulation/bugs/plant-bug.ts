import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { PlantedBug, SourceEdit } from './planted-bug.ts';

const ROOT = new URL('../../../', import.meta.url);

/** Loads the product with the bug in it: whatever is imported from now on. */
export function plantBug(bug: PlantedBug): void {
  const edits = new Map<string, SourceEdit[]>();
  for (const edit of bug.edits) {
    const url = new URL(edit.file, ROOT).href;
    edits.set(url, [...(edits.get(url) ?? []), edit]);
    editedSource(edit.file, [edit]);
  }
  registerHooks({
    load(url, context, nextLoad) {
      const here = edits.get(url);
      const loaded = nextLoad(url, context);
      return here === undefined ? loaded : { ...loaded, source: editedSource(fileURLToPath(url), here) };
    },
  });
}

/** @throws Error where the text to replace is not there just once: the product has changed, and the bug must follow. */
export function editedSource(file: string, edits: readonly SourceEdit[]): string {
  return edits.reduce(
    (text, { from, to }) => {
      const [before, after, ...more] = text.split(from);
      if (before === undefined || after === undefined || more.length > 0) {
        throw new Error(`${file} holds this ${text.split(from).length - 1} times, not once:\n${from}`);
      }
      return `${before}${to}${after}`;
    },
    readFileSync(new URL(file, ROOT), 'utf8'),
  );
}
