import { createConfig, lintFromString } from '@redocly/openapi-core';
import { expect, test } from 'vitest';
import { openApiDocument } from '../../../shared/http/openapi.ts';
import type { Operation } from '../../../shared/http/operation.ts';
import { OPERATIONS } from '../../../shared/http/operations.ts';

/** Every rule of the linter is on, except these, each for the reason beside it. */
const RULES_OFF = {
  // Tags are in the order in which one needs them: topics before records.
  'tags-alphabetical': 'off',
  // The project has no address to which it could promise answers.
  'info-contact': 'off',
  // The licence has an SPDX identifier, which excludes an address (OpenAPI 3.1, License Object).
  'info-license-url': 'off',
  // Types and ranges are exact, and the descriptions have examples where the form is not plain.
  'scalar-property-missing-example': 'off',
  // Answers have texts of any length, and requests have a minimum where an empty text is an error.
  'required-string-property-missing-min-length': 'off',
  // Both allow one media type for the whole document; problems, lines, events and raw batches have their own.
  'response-mime-type': 'off',
  'request-mime-type': 'off',
  // Tastes of names and order: `v1` and `health` have no plural, and `atomic` is as plain as `isAtomic`.
  'path-segment-plural': 'off',
  'path-http-verbs-order': 'off',
  'boolean-parameter-prefixes': 'off',
  // It doesn't see that `x-events` refers to schemas; openapi.test.ts checks the same and does.
  'no-unused-components': 'off',
} as const;

async function lint(operations: Readonly<Record<string, Operation>>, authenticated: boolean): Promise<string[]> {
  const problems = await lintFromString({
    source: JSON.stringify(openApiDocument(operations, { version: '1.2.3', authenticated })),
    absoluteRef: 'openapi.json',
    config: await createConfig({ extends: ['all'], rules: RULES_OFF }),
  });
  return problems.map(
    ({ ruleId, severity, message, location }) => `${severity} ${ruleId} at ${location[0]?.pointer}: ${message}`,
  );
}

function withTags(...tags: readonly string[]): Record<string, Operation> {
  return Object.fromEntries(Object.entries(OPERATIONS).filter(([, { tag }]) => tags.includes(tag)));
}

test('the linter finds nothing in the OpenAPI document of all operations', async () => {
  expect(await lint(OPERATIONS, false)).toEqual([]);
});

test('the linter finds nothing in the OpenAPI document of the function that only appends', async () => {
  expect(await lint(withTags('append', 'service'), true)).toEqual([]);
});

test('the linter finds a parameter without a description', async () => {
  const { listTopics } = OPERATIONS;
  const { shape } = listTopics.query;
  const query = listTopics.query.extend({ limit: shape.limit.unwrap().optional().describe('') });
  expect(await lint({ listTopics: { ...listTopics, query } }, false)).toEqual([
    expect.stringContaining('parameter-description'),
  ]);
});
