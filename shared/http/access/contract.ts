import * as z from 'zod';
import { API_KEY_NAME_LENGTH_MAX, SCOPE_PATTERN_LENGTH_MAX, SCOPE_PATTERNS_MAX, SCOPES_MAX } from '../../log/limits.ts';
import { ACTIONS } from '../../log/scopes.ts';
import { nextPageToken, timeMs } from '../contract.ts';

const id = z
  .string()
  .regex(/^[0-9a-f]{16}$/, 'takes the id of a key: 16 lowercase hexadecimal digits')
  .describe('The id of the key.');

const patterns = z
  .array(z.string().min(1).max(SCOPE_PATTERN_LENGTH_MAX))
  .max(SCOPE_PATTERNS_MAX)
  .readonly()
  .nullish()
  .describe('Names, or prefixes of names followed by an asterisk: `orders-*`, `*`. Default: none.');

export const scope = z
  .strictObject({
    actions: z.array(z.enum(ACTIONS)).min(1).max(ACTIONS.length).readonly(),
    topics: patterns,
    groups: patterns,
    transactionalIds: patterns,
  })
  .describe(
    'Each of the actions on each of the topics, groups and transactional ids. `produce`: append. `consume`: read. `admin`: ' +
      'make, change and delete. Actions do not imply each other: `admin` does not include `consume`.',
  );

const keyMembers = {
  name: z.string().min(1).max(API_KEY_NAME_LENGTH_MAX).describe('The purpose of the key, for people.'),
  scopes: z.array(scope).min(1).max(SCOPES_MAX).readonly(),
};
const expiresAtMs = timeMs.describe('Milliseconds since 1970-01-01T00:00:00Z; absent: never.');

export const apiKeyInput = z
  .strictObject({ ...keyMembers, expiresAtMs: expiresAtMs.nullish() })
  .describe('The properties of a new key.');

export const apiKeyOutput = z
  .object({
    id,
    ...keyMembers,
    createdAtMs: timeMs,
    expiresAtMs: expiresAtMs.optional(),
    revokedAtMs: timeMs.optional(),
  })
  .describe('A key, without its secret.');
export type ApiKeyOutput = z.infer<typeof apiKeyOutput>;

export const createdApiKeyOutput = z.object({
  ...apiKeyOutput.shape,
  key: z.string().describe('The whole key, for `Authorization: Bearer`. It is shown only this once.'),
});
export type CreatedApiKeyOutput = z.infer<typeof createdApiKeyOutput>;

export const apiKeyPage = z.object({
  items: z.array(apiKeyOutput).readonly(),
  nextPageToken,
});
export type ApiKeyPage = z.infer<typeof apiKeyPage>;

export const apiKeyParams = z.strictObject({ id });

export const accessSchemas = {
  ApiKey: apiKeyOutput,
  ApiKeyInput: apiKeyInput,
  ApiKeyPage: apiKeyPage,
  CreatedApiKey: createdApiKeyOutput,
  Scope: scope,
};
