import { PRICES } from '../../broker/usage/prices.ts';
import { addCounts, dollars, noRequests } from '../../broker/usage/request-counts.ts';
import { EventLogError } from '../../log/errors.ts';
import { bytes, json, text } from '../answer/respond.ts';
import { type HealthOutput, MEDIA, type RootOutput, type UsageOutput } from '../contract.ts';
import type { Handler, HttpContext } from '../handler.ts';
import { openApiDocument } from '../openapi.ts';
import { OPERATIONS } from '../operation.ts';
import { parseParams, parseQuery } from '../request/input.ts';

type ServiceOperation = 'getUsage' | 'getHealth' | 'getOpenApi' | 'getRoot';

const USAGE_NOTE =
  'Counted requests to the storage of this process since it started, at list prices. Compute, kept bytes and transfer out of the Region are not included.';

export function serviceHandlers({
  broker,
  settings,
  access,
  signedObjects,
}: HttpContext): Record<ServiceOperation, Handler> {
  let document: string | undefined;
  return {
    getUsage(call) {
      const { by = 'topic' } = parseQuery(OPERATIONS.getUsage.query, call.request.url);
      const total = noRequests();
      const groups = new Map<string, ReturnType<typeof noRequests>>();
      for (const row of broker.usage()) {
        const group = groups.get(row[by]) ?? noRequests();
        groups.set(row[by], group);
        addCounts(group, row.counts);
        addCounts(total, row.counts);
      }
      const output: UsageOutput = {
        by,
        rows: [...groups].map(([name, counts]) => ({ [by]: name, counts, dollars: dollars(counts) })),
        total: { counts: total, dollars: dollars(total) },
        prices: { asOf: PRICES.asOf, region: PRICES.region, currency: PRICES.currency },
        note: USAGE_NOTE,
      };
      return json(call, 200, output);
    },

    getHealth(call) {
      parseQuery(OPERATIONS.getHealth.query, call.request.url);
      const output: HealthOutput = { status: 'ok', version: settings.version };
      return json(call, 200, output);
    },

    getOpenApi(call) {
      parseQuery(OPERATIONS.getOpenApi.query, call.request.url);
      document ??= JSON.stringify(
        openApiDocument({
          version: settings.version,
          objects: signedObjects !== undefined,
          authenticated: access?.mode === 'authenticated',
        }),
      );
      return text(call, 200, document, { 'Content-Type': MEDIA.json });
    },

    getRoot(call) {
      parseQuery(OPERATIONS.getRoot.query, call.request.url);
      const output: RootOutput = {
        name: 'tailrace',
        version: settings.version,
        openapi: '/openapi.json',
        health: '/v1/health',
        documentation: 'https://tailrace.dev/docs/http-api',
      };
      return json(call, 200, output);
    },
  };
}

/** Bytes at the addresses of fetch plans. Whatever is wrong with an address, the answer tells nothing about the object. */
export function objectHandlers({ clock, signedObjects }: HttpContext): Record<'getObject', Handler> {
  return {
    async getObject(call) {
      const { key } = parseParams(OPERATIONS.getObject.params, call.params);
      const query = new URL(call.request.url).searchParams;
      const range = rangeOf(query);
      if (signedObjects === undefined || range === undefined || !signedObjects.verify(key, query, clock.nowMs())) {
        throw new EventLogError('access_denied', 'The address was altered or has expired. Ask for a new fetch plan.');
      }
      const found = await signedObjects.get(key, range);
      if (found === undefined) {
        throw new EventLogError('corrupt_data', `The stored data '${key}' is missing.`, { details: { storedAs: key } });
      }
      return bytes(call, found, { 'Content-Type': MEDIA.bytes });
    },
  };
}

/** `undefined` unless each parameter is there once, so that what was signed and what is read are the same. */
function rangeOf(query: URLSearchParams): { start: number; end: number } | undefined {
  for (const name of ['start', 'end', 'expires', 'signature']) if (query.getAll(name).length !== 1) return undefined;
  const [start, end] = ['start', 'end'].map((name) =>
    /^\d{1,16}$/.test(query.get(name) ?? '') ? Number(query.get(name)) : -1,
  );
  if (start === undefined || end === undefined || start < 0 || end < start || !Number.isSafeInteger(end))
    return undefined;
  return { start, end };
}
