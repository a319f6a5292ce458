import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { PROBLEMS } from '../../../shared/http/answer/problem.ts';
import { type JsonObject, openApiDocument } from '../../../shared/http/openapi.ts';
import { OPERATION_IDS, OPERATIONS } from '../../../shared/http/operations.ts';
import { ERROR_CODES } from '../../../shared/log/errors.ts';
import { memoryApp } from '../../support/memory-app.ts';

interface Document {
  readonly openapi: string;
  readonly paths: Record<string, Record<string, DescribedOperation>>;
  readonly components: { readonly schemas: Record<string, JsonObject> };
}

interface DescribedOperation {
  readonly operationId: string;
  readonly description: string;
  readonly parameters: readonly {
    readonly name: string;
    readonly in: string;
    readonly required: boolean;
    readonly description?: string;
    readonly schema: JsonObject;
  }[];
  readonly requestBody?: { readonly content: Record<string, { readonly schema?: JsonObject }> };
  readonly responses: Record<
    string,
    { readonly description: string; readonly content?: Record<string, { readonly schema?: JsonObject }> }
  >;
}

const document = openApiDocument(OPERATIONS, { version: '1.2.3', authenticated: false }) as unknown as Document;
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
);

/** `GET /v1/topics/{topic}`, from a route of the router or a path of the document. */
function routeName(method: string, path: string): string {
  return `${method.toUpperCase()} ${path.replaceAll(/:(\w+)(\{[^}]*\})?/g, '{$1}')}`;
}

function routesOf(app: ReturnType<typeof memoryApp>['app']): string[] {
  return app.routes.filter(({ method }) => method !== 'ALL').map(({ method, path }) => routeName(method, path));
}

function referencesIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(referencesIn);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) =>
    name === '$ref' && typeof member === 'string' ? [member] : referencesIn(member),
  );
}

describe('the OpenAPI document', () => {
  it('says what the positions of a live tail look like', () => {
    const patternOf = (id: string, name: string): RegExp => {
      const found = operations.find(({ operation }) => operation.operationId === id)?.operation;
      const pattern = found?.parameters.find((parameter) => parameter.name === name)?.schema.pattern;
      return new RegExp(String(pattern), 'u');
    };
    const eventId = 'q83vASNF.AQACAAAB';
    for (const id of ['tailTopic', 'readRecords'])
      for (const name of ['Last-Event-ID', 'lastEventId']) {
        expect(patternOf(id, name).test(eventId)).toBe(true);
        expect(patternOf(id, name).test('0:17')).toBe(false);
      }
    const from = patternOf('tailTopic', 'from');
    for (const text of ['latest', 'earliest', 'ts:1763722800000', eventId, '0:17', '0:17,1:4'])
      expect(text).toMatch(from);
    for (const text of ['', 'newest', 'ts:', '0:', '0:17,', '0:17 1:4']) expect(text).not.toMatch(from);
  });

  it('has every route of the router, and no other', () => {
    const described = operations.map(({ method, path }) => routeName(method, path));
    expect(described.sort()).toEqual(routesOf(memoryApp().app).sort());
    expect(described).toHaveLength(OPERATION_IDS.length);
  });

  it('has the routes of objects and of metrics only where there are any', async () => {
    const { app, call } = memoryApp({ http: { signedObjects: undefined, processMetrics: undefined } });
    const served = (await (await call('GET', '/openapi.json')).json()) as Document;
    const described = Object.entries(served.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => routeName(method, path)),
    );
    expect(described.sort()).toEqual(routesOf(app).sort());
    expect(described).not.toContain('GET /v1/objects/{key}');
    expect(described).not.toContain('GET /metrics');
    expect((await call('GET', '/v1/objects/x?start=0&end=1&expires=9&signature=x')).status).toBe(404);
    expect((await call('GET', '/metrics')).status).toBe(404);
  });

  it('is what the server answers', async () => {
    const served: unknown = await (
      await memoryApp({ http: { settings: { version: '1.2.3' } } }).call('GET', '/openapi.json')
    ).json();
    expect(served).toEqual(JSON.parse(JSON.stringify(document)));
  });

  it('has only schemas that are JSON Schema 2020-12', () => {
    const ajv = new Ajv2020({ strict: true, strictRequired: false, allowUnionTypes: true });
    const located = (schema: JsonObject): JsonObject =>
      JSON.parse(JSON.stringify(schema).replaceAll('"#/components/schemas/', '"https://tailrace.test/#/$defs/'));
    ajv.addSchema({ $id: 'https://tailrace.test/', $defs: located(document.components.schemas) });
    const bodies = operations.flatMap(({ operation }) => [
      ...operation.parameters.map(({ schema }) => schema),
      ...Object.values(operation.requestBody?.content ?? {}).map(({ schema }) => schema),
      ...Object.values(operation.responses).flatMap(({ content }) =>
        Object.values(content ?? {}).map(({ schema }) => schema),
      ),
    ]);
    const all = [...Object.values(document.components.schemas), ...bodies.filter((schema) => schema !== undefined)];
    expect(all.length).toBeGreaterThan(80);
    for (const schema of all) {
      expect(ajv.validateSchema(schema)).toBe(true);
      expect(() => ajv.compile(located(schema))).not.toThrow();
    }
  });

  it('refers only to what is there, and uses all of it', () => {
    const ofAppends = Object.fromEntries(Object.entries(OPERATIONS).filter(([, { tag }]) => tag === 'append'));
    for (const operations of [OPERATIONS, ofAppends]) {
      const document = openApiDocument(operations, { version: '1.2.3', authenticated: false }) as unknown as Document;
      const references = new Set(referencesIn(document));
      const components = Object.keys(document.components.schemas).map((name) => `#/components/schemas/${name}`);
      for (const reference of references) expect(components).toContain(reference);
      expect(components.filter((name) => !references.has(name))).toEqual([]);
    }
  });

  it('has the descriptions of parameters, members and schemas', () => {
    const { Record, RecordInput } = document.components.schemas;
    expect(RecordInput).toMatchObject({
      description: expect.stringContaining('Only `value` is required.'),
      properties: { value: { description: expect.stringContaining('A null value is a tombstone.') } },
    });
    expect(Record).toMatchObject({ properties: { timestamp: { description: expect.stringContaining('−1') } } });
    const parameters = operations.flatMap(({ operation }) => operation.parameters);
    expect(parameters.filter(({ description = '' }) => description === '')).toEqual([]);
  });

  it('tells no generator to leave a member out of requests', () => {
    expect(JSON.stringify(document)).not.toContain('"readOnly"');
  });

  it('has the headers that tell a client what to do next', () => {
    const responses = document.paths['/v1/topics']?.get?.responses;
    expect(responses?.[200]).toMatchObject({ headers: { 'Request-Id': { required: true } } });
    expect(responses?.[401]).toMatchObject({ headers: { 'WWW-Authenticate': {} } });
    for (const status of [429, 503]) {
      expect(responses?.[status]).toMatchObject({ headers: { 'Retry-After': { schema: { type: 'integer' } } } });
    }
  });

  it('names every parameter of every path, and says what is required', () => {
    for (const { path, operation } of operations) {
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const described = operation.parameters.filter((parameter) => parameter.in === 'path');
      expect(described.map(({ name }) => name)).toEqual(inPath);
      expect(described.every(({ required }) => required)).toBe(true);
      const names = operation.parameters.map((parameter) => `${parameter.in} ${parameter.name}`);
      expect(new Set(names).size).toBe(names.length);
    }
  });

  it.each([
    ['appendRecords', 'Takes the right `produce` on the topic.'],
    ['appendEntries', 'Takes the right `produce` on each of the topics.'],
    ['listTopics', 'Takes any right on some topic.'],
    ['getUsage', 'Takes the right `admin` on all topics (`*`).'],
    ['listGroups', 'Takes any right on some group.'],
    ['commitOffsets', 'Takes the right `consume` on the group, and on each of the topics.'],
    ['deleteOffsets', 'Takes the right `admin` on the group.'],
    ['listTransactions', 'Takes any right on some transactional id.'],
    ['beginTransaction', 'Takes the right `produce` on the transactional id.'],
    ['appendInTransaction', 'Takes the right `produce` on the transactional id, and on each of the topics.'],
    ['getHealth', 'Requires no right.'],
  ] as const)('says which right is required: %s', (id, text) => {
    const { method, path } = OPERATIONS[id];
    const description = document.paths[path]?.[method]?.description;
    expect(description?.endsWith(text), description).toBe(true);
  });

  it('has every code of an error in some operation, but for those that none of them has', () => {
    const codes = new Set(
      operations.flatMap(({ operation }) =>
        Object.values(operation.responses).flatMap(({ description }) => description.match(/(?<=`)[a-z_]+(?=`)/g) ?? []),
      ),
    );
    const missing = Object.keys(ERROR_CODES).filter((code) => !codes.has(code));
    // Of the router itself, of the local server before it listens, and of Kafka's protocols.
    expect(missing.sort()).toEqual([
      'data_folder_unusable',
      'fenced_instance_id',
      'group_full',
      'illegal_generation',
      'inconsistent_group_protocol',
      'member_id_required',
      'method_not_allowed',
      'rebalance_in_progress',
      'unstable_offsets',
    ]);
  });

  it('gives each error the status that it has', () => {
    for (const id of OPERATION_IDS) {
      const { path, method, errors } = OPERATIONS[id];
      const described = document.paths[path.replace('+}', '}')]?.[method];
      for (const code of errors)
        expect(described?.responses[PROBLEMS[code].status]?.description).toContain(`\`${code}\``);
    }
  });
});
