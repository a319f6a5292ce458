import type { JsonObject } from '../../shared/http/openapi.ts';

/**
 * OpenAPI 3.1 has no words for answers that are a sequence: our document has the schema of one line of NDJSON, and beside a
 * stream of events the schemas of their data (`x-events`). This writes both as Schemathesis checks them: the list of lines,
 * and one event.
 */
export function withSequences(document: JsonObject): JsonObject {
  return replaced(document) as JsonObject;
}

function replaced(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(replaced);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => {
      if (name === 'text/event-stream') return [name, { schema: eventSchema(member) }];
      if (name === 'responses') return [name, replaced(withLines(member))];
      return [name, replaced(member)];
    }),
  );
}

function withLines(responses: unknown): unknown {
  return JSON.parse(JSON.stringify(responses), (name: string, member: unknown) =>
    name === 'application/x-ndjson' ? { schema: { type: 'array', items: (member as JsonObject).schema } } : member,
  );
}

function eventSchema(media: { readonly 'x-events': Readonly<Record<string, JsonObject>> }): JsonObject {
  return {
    oneOf: Object.entries(media['x-events']).map(([event, contentSchema]) => ({
      type: 'object',
      properties: {
        event: { const: event },
        id: { type: 'string' },
        data: { type: 'string', contentMediaType: 'application/json', contentSchema },
      },
      required: ['event', 'data'],
      additionalProperties: false,
    })),
  };
}

/** Of several of these, or one of them with some bodies, most combinations are rejected; `waitMs` would wait. */
const OPTIONS = ['envelope', 'pageToken', 'partition', 'tail', 'timestamp', 'waitMs'];

/**
 * The document without headers and parameters that exclude each other, so that most valid requests are accepted. Where an
 * answer has several media types, `Accept` asks for one of them.
 */
export function withoutOptions(document: JsonObject): JsonObject {
  return JSON.parse(JSON.stringify(document), (_name: string, member: unknown) =>
    isOperation(member)
      ? { ...member, parameters: [...member.parameters.filter(isPlain), ...acceptedTypes(member)] }
      : member,
  );
}

interface DescribedOperation {
  readonly parameters: readonly Parameter[];
  readonly responses: { readonly 200?: { readonly content?: Readonly<Record<string, unknown>> } };
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required: boolean;
}

function isOperation(value: unknown): value is DescribedOperation {
  return typeof value === 'object' && value !== null && 'parameters' in value && 'responses' in value;
}

function acceptedTypes({ responses }: DescribedOperation): JsonObject[] {
  const types = Object.keys(responses[200]?.content ?? {});
  return types.length < 2 ? [] : [{ name: 'Accept', in: 'header', required: true, schema: { enum: types } }];
}

function isPlain(parameter: Parameter): boolean {
  return parameter.required || (parameter.in === 'query' && !OPTIONS.includes(parameter.name));
}
