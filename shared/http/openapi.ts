import * as z from 'zod';
import type { ErrorCode } from '../log/errors.ts';
import { PROBLEMS } from './answer/problem.ts';
import { MEDIA } from './contract.ts';
import { COMMON_ERRORS, type Operation, TAGS } from './operation.ts';
import { SCHEMAS } from './operations.ts';

/**
 * Makes the OpenAPI 3.1 document from the operations and their schemas, so that the document describes exactly what is
 * checked. OpenAPI 3.1 includes JSON Schema (2020-12), which zod prints.
 */
export type JsonObject = { [name: string]: unknown };

const COMPONENTS = '#/components/schemas/';

export interface OpenApiOptions {
  readonly version: string;
  /** Whether requests need a credential. */
  readonly authenticated: boolean;
}

export function openApiDocument(
  operations: Readonly<Record<string, Operation>>,
  { version, authenticated }: OpenApiOptions,
): JsonObject {
  const schemas = new SchemaPrinter();
  const paths: Record<string, JsonObject> = {};
  for (const [id, operation] of Object.entries(operations)) {
    const path = operation.path.replaceAll('+}', '}');
    const described = { ...describeOperation(id, operation, schemas), security: security(operation, authenticated) };
    paths[path] = { ...paths[path], [operation.method]: described };
  }
  const tags = new Set(Object.values(operations).map(({ tag }) => tag));
  return {
    openapi: '3.1.1',
    info: {
      title: 'Tailrace',
      version,
      description: 'A serverless event log: topics, partitions, records, offsets.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: [...tags].map((name) => ({ name, description: TAGS[name] })),
    paths,
    components: { schemas: usedSchemas(paths, schemas.components()), securitySchemes: { bearer: BEARER } },
  };
}

const BEARER = {
  type: 'http',
  scheme: 'bearer',
  description:
    'An API key, or a token of an issuer that the server trusts. Each operation names the right that it requires. On AWS, ' +
    'requests are signed (SigV4) instead if the deployment is configured that way.',
};

/** The security requirements of an operation. Every request meets an empty requirement. */
function security({ action }: Operation, authenticated: boolean): JsonObject[] {
  if (action === 'open') return [];
  return authenticated ? [{ bearer: [] }] : [{}, { bearer: [] }];
}

/** Describes the right that an operation requires, and on which resource. */
function rightOf({ action, topics, groups, transactionalIds }: Operation): string {
  if (action === 'open') return 'Requires no right.';
  const right = action === 'any' ? 'any right' : `the right \`${action}\``;
  const on = {
    path: 'the topic',
    body: 'each of the topics',
    some: 'some topic',
    all: 'all topics (`*`)',
    none: 'nothing',
  };
  const resources = [
    ...(groups === undefined ? [] : [groups === 'path' ? 'the group' : 'some group']),
    ...(transactionalIds === undefined
      ? []
      : [transactionalIds === 'path' ? 'the transactional id' : 'some transactional id']),
  ];
  if (resources.length === 0 || topics === 'body') resources.push(on[topics]);
  return `Takes ${right} on ${resources.join(', and on ')}.`;
}

function describeOperation(id: string, operation: Operation, schemas: SchemaPrinter): JsonObject {
  const { params, query, headers, body, summary, description, tag } = operation;
  return {
    operationId: id,
    tags: [tag],
    summary,
    description: [...(description === undefined ? [] : [description]), rightOf(operation)].join(' '),
    parameters: [
      ...parameters(params, 'path', schemas),
      ...parameters(query, 'query', schemas),
      ...(headers === undefined ? [] : parameters(headers, 'header', schemas)),
    ],
    ...(body === undefined
      ? {}
      : { requestBody: { required: body.required, content: mapContent(body.content, schemas) } }),
    responses: { ...answers(operation, schemas), ...problems(operation) },
  };
}

function parameters(schema: z.ZodObject, place: 'path' | 'query' | 'header', schemas: SchemaPrinter): JsonObject[] {
  const printed = schemas.print(schema);
  const required = (printed.required ?? []) as readonly string[];
  return Object.entries((printed.properties ?? {}) as Record<string, JsonObject>).map(
    ([name, { description, ...rest }]) => ({
      name,
      in: place,
      required: required.includes(name),
      ...(description === undefined ? {} : { description }),
      schema: rest,
    }),
  );
}

function answers({ answers }: Operation, schemas: SchemaPrinter): JsonObject {
  return Object.fromEntries(
    Object.entries(answers).map(([status, { description, content, headers = {} }]) => [
      status,
      {
        description,
        headers: {
          'Request-Id': { ...REQUEST_ID, required: true },
          ...Object.fromEntries(
            Object.entries(headers).map(([name, meaning]) => [
              name,
              { description: meaning, schema: { type: 'string' } },
            ]),
          ),
        },
        ...(content === undefined ? {} : { content: mapContent(content, schemas) }),
      },
    ]),
  );
}

const REQUEST_ID = { description: 'The id of the request.', schema: { type: 'string' } };
const RETRY_AFTER = { description: 'The seconds to wait.', schema: { type: 'integer', minimum: 1 } };

/** By status. None is required: what stands before the server, such as a gateway, may answer by itself. */
const PROBLEM_HEADERS: Readonly<Record<number, JsonObject>> = {
  401: { 'WWW-Authenticate': { description: 'How to authenticate (RFC 6750).', schema: { type: 'string' } } },
  429: { 'Retry-After': RETRY_AFTER },
  503: { 'Retry-After': RETRY_AFTER },
};

/** The problems by status. Each lists the codes of this operation that have the status. */
function problems({ action, errors }: Operation): JsonObject {
  const byStatus = new Map<number, string[]>();
  const ofAccess: readonly ErrorCode[] = action === 'open' ? [] : ['unauthenticated'];
  for (const code of [...COMMON_ERRORS, ...ofAccess, ...errors]) {
    const { status } = PROBLEMS[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, codes]) => [
      status,
      {
        description: codes.map((code) => `\`${code}\``).join(', '),
        headers: { 'Request-Id': REQUEST_ID, ...PROBLEM_HEADERS[status] },
        content: { [MEDIA.problem]: { schema: reference('Problem') } },
      },
    ]),
  );
}

function mapContent(
  content: Readonly<Record<string, z.ZodType | 'bytes' | 'events' | 'html' | 'text'>>,
  schemas: SchemaPrinter,
): Record<string, JsonObject> {
  return Object.fromEntries(
    Object.entries(content).map(([type, schema]) => {
      if (schema === 'bytes') return [type, {}];
      if (schema === 'events') return [type, EVENTS];
      return [type, { schema: schema === 'html' || schema === 'text' ? { type: 'string' } : schemas.print(schema) }];
    }),
  );
}

/** OpenAPI 3.1 cannot describe a stream of events. The extension describes the data of each kind of event. */
const EVENTS: JsonObject = {
  schema: { type: 'string', description: 'Server-sent events (WHATWG HTML, section 9.2).' },
  'x-events': {
    record: reference('TailRecord'),
    gap: reference('TailGap'),
    heartbeat: reference('TailHeartbeat'),
    error: reference('Problem'),
  },
};

function reference(name: string): JsonObject {
  return { $ref: COMPONENTS + name };
}

/**
 * `.readonly()` concerns only our types. In JSON Schema it would make generators omit the member from requests. The
 * descriptions are in zod's global registry, which zod ignores when it is given another one for the names.
 */
const PRINTING = {
  io: 'input',
  override: ({ zodSchema, jsonSchema }: Printed) => {
    delete jsonSchema.readOnly;
    const { description, pattern } = z.globalRegistry.get(zodSchema) ?? {};
    if (description !== undefined) jsonSchema.description = description;
    if (typeof pattern === 'string') jsonSchema.pattern = pattern;
  },
} as const;

interface Printed {
  readonly zodSchema: z.core.$ZodType;
  readonly jsonSchema: { readOnly?: boolean; description?: string; pattern?: string };
}

/** Prints schemas. Schemas that have a name are printed as references. */
class SchemaPrinter {
  readonly #registry = z.registry<{ id: string }>();

  constructor() {
    for (const [id, schema] of Object.entries(SCHEMAS)) this.#registry.add(schema, { id });
  }

  components(): Record<string, JsonObject> {
    const { schemas } = z.toJSONSchema(this.#registry, {
      ...PRINTING,
      uri: (id) => COMPONENTS + id,
    });
    return Object.fromEntries(Object.entries(schemas).map(([id, schema]) => [id, stripped(schema as JsonObject)]));
  }

  print(schema: z.ZodType): JsonObject {
    const id = this.#registry.get(schema)?.id;
    if (id !== undefined) return reference(id);
    const printed = z.toJSONSchema(schema, { ...PRINTING, metadata: this.#registry }) as JsonObject;
    const { $defs: _, ...rest } = stripped(printed);
    return withReferences(rest) as JsonObject;
  }
}

/** Those that the value refers to, also through each other: a server with a part of the operations describes no more. */
function usedSchemas(value: unknown, schemas: Readonly<Record<string, JsonObject>>): Record<string, JsonObject> {
  const used = new Set<string>();
  const find = (part: unknown): void => {
    if (typeof part !== 'object' || part === null) return;
    for (const [name, member] of Object.entries(part)) {
      if (name !== '$ref' || typeof member !== 'string') {
        find(member);
        continue;
      }
      const schema = member.slice(COMPONENTS.length);
      if (used.has(schema)) continue;
      used.add(schema);
      find(schemas[schema]);
    }
  };
  find(value);
  return Object.fromEntries(Object.entries(schemas).filter(([name]) => used.has(name)));
}

function stripped({ $schema: _schema, $id: _id, ...rest }: JsonObject): JsonObject {
  return rest;
}

/** References to definitions beside the schema become references to components. */
function withReferences(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withReferences);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      name === '$ref' && typeof member === 'string' ? member.replace('#/$defs/', COMPONENTS) : withReferences(member),
    ]),
  );
}
