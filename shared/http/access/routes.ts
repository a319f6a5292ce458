import type { ApiKeyDescription } from '../../broker/access/api-keys.ts';
import type { Scope } from '../../log/scopes.ts';
import { empty, json } from '../answer/respond.ts';
import { MEDIA } from '../contract.ts';
import type { Handler, HttpContext } from '../handler.ts';
import { OPERATIONS } from '../operation.ts';
import { readJson } from '../request/body.ts';
import { check, parseParams, parseQuery } from '../request/input.ts';
import { requireMediaType } from '../request/media-type.ts';
import { type ApiKeyOutput, type ApiKeyPage, apiKeyInput, apiKeyParams, type CreatedApiKeyOutput } from './contract.ts';

type ApiKeyOperation = 'createApiKey' | 'listApiKeys' | 'revokeApiKey';

export function apiKeyHandlers({ broker }: HttpContext): Record<ApiKeyOperation, Handler> {
  return {
    async createApiKey(call) {
      parseQuery(OPERATIONS.createApiKey.query, call.request.url);
      requireMediaType(call.request.headers.get('content-type'), [MEDIA.json]);
      const { name, scopes, expiresAtMs } = check(apiKeyInput, await readJson(call.request));
      const { key, ...made } = await broker.createApiKey({ name, scopes: scopes.map(whole), expiresAtMs });
      const output: CreatedApiKeyOutput = { ...toOutput(made), key };
      return json(call, 201, output);
    },

    async listApiKeys(call) {
      const { items, ...rest } = await broker.listApiKeys(parseQuery(OPERATIONS.listApiKeys.query, call.request.url));
      const output: ApiKeyPage = { items: items.map(toOutput), ...rest };
      return json(call, 200, output);
    },

    async revokeApiKey(call) {
      const { id } = parseParams(apiKeyParams, call.params);
      parseQuery(OPERATIONS.revokeApiKey.query, call.request.url);
      await broker.revokeApiKey(id);
      return empty(call, 204);
    },
  };
}

function whole({ actions, topics = [], groups = [] }: ApiKeyOutput['scopes'][number]): Scope {
  return { actions, topics, groups };
}

function toOutput({ scopes, ...rest }: ApiKeyDescription): ApiKeyOutput {
  return {
    ...rest,
    scopes: scopes.map(({ actions, topics, groups }) => ({
      actions: [...actions],
      topics: [...topics],
      groups: [...groups],
    })),
  };
}
