import type { ApiKeyDescription } from '../../broker/access/api-keys.ts';
import type { Scope } from '../../log/scopes.ts';
import { empty, json } from '../answer/respond.ts';
import { MEDIA } from '../contract.ts';
import type { Handlers, HttpContext } from '../handler.ts';
import { readJson } from '../request/body.ts';
import { check } from '../request/input.ts';
import { requireMediaType } from '../request/media-type.ts';
import { type ApiKeyOutput, type ApiKeyPage, apiKeyInput, type CreatedApiKeyOutput } from './contract.ts';
import type { accessOperations } from './operations.ts';

export function accessHandlers({ broker }: HttpContext): Handlers<typeof accessOperations> {
  return {
    async createApiKey(call) {
      requireMediaType(call.request.headers.get('content-type'), [MEDIA.json]);
      const { name, scopes, expiresAtMs } = check(apiKeyInput, await readJson(call.request));
      const { key, ...made } = await broker.createApiKey({
        name,
        scopes: scopes.map(whole),
        expiresAtMs: expiresAtMs ?? undefined,
      });
      const output: CreatedApiKeyOutput = { ...toOutput(made), key };
      return json(call, 201, output);
    },

    async listApiKeys(call) {
      const { items, ...rest } = await broker.listApiKeys(call.query);
      const output: ApiKeyPage = { items: items.map(toOutput), ...rest };
      return json(call, 200, output);
    },

    async revokeApiKey(call) {
      await broker.revokeApiKey(call.params.id);
      return empty(call, 204);
    },
  };
}

function whole({ actions, topics, groups }: ApiKeyOutput['scopes'][number]): Scope {
  return { actions, topics: topics ?? [], groups: groups ?? [] };
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
