import { MEDIA, noParams, noQuery, pageQuery } from '../contract.ts';
import { BODY_ERRORS, type Operation } from '../operation.ts';
import { apiKeyInput, apiKeyPage, apiKeyParams, createdApiKeyOutput } from './contract.ts';

export const accessOperations = {
  createApiKey: {
    method: 'post',
    path: '/v1/api-keys',
    tag: 'access',
    action: 'admin',
    topics: 'all',
    summary: 'Make an API key',
    description: 'The answer contains the whole key. The server stores only hashes; the key cannot be retrieved later.',
    params: noParams,
    query: noQuery,
    body: { required: true, content: { [MEDIA.json]: apiKeyInput } },
    answers: { 201: { description: 'The key was made.', content: { [MEDIA.json]: createdApiKeyOutput } } },
    errors: BODY_ERRORS,
  },
  listApiKeys: {
    method: 'get',
    path: '/v1/api-keys',
    tag: 'access',
    action: 'admin',
    topics: 'all',
    summary: 'List API keys, including revoked and expired keys',
    params: noParams,
    query: pageQuery,
    answers: { 200: { description: 'A page of keys.', content: { [MEDIA.json]: apiKeyPage } } },
    errors: [],
  },
  revokeApiKey: {
    method: 'delete',
    path: '/v1/api-keys/{id}',
    tag: 'access',
    action: 'admin',
    topics: 'all',
    summary: 'Revoke an API key',
    description:
      'A server that has cached the key accepts it for up to 30 seconds more. Revoking again changes nothing.',
    params: apiKeyParams,
    query: noQuery,
    answers: { 204: { description: 'The key is revoked.' } },
    errors: ['not_found'],
  },
} as const satisfies Record<string, Operation>;
