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
      const output: CreatedApiKeyOutput = await broker.createApiKey({
        name,
        scopes: scopes.map(whole),
        expiresAtMs: expiresAtMs ?? undefined,
      });
      return json(call, 201, output);
    },

    async listApiKeys(call) {
      const output: ApiKeyPage = await broker.listApiKeys(call.query);
      return json(call, 200, output);
    },

    async revokeApiKey(call) {
      await broker.revokeApiKey(call.params.id);
      return empty(call, 204);
    },
  };
}

function whole({ actions, topics, groups, transactionalIds }: ApiKeyOutput['scopes'][number]): Scope {
  return { actions, topics: topics ?? [], groups: groups ?? [], transactionalIds: transactionalIds ?? [] };
}
