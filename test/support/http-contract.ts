import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';

interface Content {
  readonly schema?: object;
}

interface OpenApi {
  readonly paths: Record<string, Record<string, DescribedOperation>>;
  readonly components: { readonly schemas: Record<string, object> };
}

interface DescribedOperation {
  readonly responses: Record<string, { readonly content?: Record<string, Content> }>;
}

export interface Answered {
  readonly status: number;
  readonly contentType: string | null;
  readonly body: string;
}

/** Checks answers against the OpenAPI document of the server itself. */
export class HttpContract {
  private readonly document: OpenApi;
  private readonly ajv = new Ajv2020({ strict: false });
  private readonly compiled = new Map<object, ValidateFunction>();

  constructor(document: unknown) {
    this.document = closed(document) as OpenApi;
    this.ajv.addSchema(located({ $id: ROOT, $defs: this.document.components.schemas }));
  }

  /** Describes what is wrong with an answer; `undefined` if the document allows it. */
  fault(method: string, path: string, answer: Answered): string | undefined {
    const operation = this.operation(method, path);
    const what = `${method} ${path}: ${answer.status}`;
    if (operation === undefined) {
      return [404, 405].includes(answer.status) ? this.problemFault(answer) : `${what} is not in the document`;
    }
    const response = operation.responses[String(answer.status)];
    if (response === undefined) return `${what} is not in the document`;
    const type = answer.contentType?.split(';')[0] ?? '';
    if (response.content === undefined) return answer.body === '' ? undefined : `${what} has a body`;
    const content = response.content[type];
    if (content === undefined) return `${what} with the content type ${type} is not in the document`;
    if (type === 'application/x-ndjson') {
      const faults = answer.body
        .trimEnd()
        .split('\n')
        .map((line) => this.schemaFault(content, line));
      return faults.find((fault) => fault !== undefined);
    }
    return type.endsWith('json') ? this.schemaFault(content, answer.body) : undefined;
  }

  problemFault({ contentType, body }: Answered): string | undefined {
    if (contentType !== 'application/problem+json') return `a problem has the content type ${contentType}`;
    return this.schemaFault({ schema: { $ref: '#/components/schemas/Problem' } }, body);
  }

  private schemaFault(content: Content, body: string): string | undefined {
    if (content.schema === undefined) return undefined;
    let validate = this.compiled.get(content.schema);
    if (validate === undefined) {
      validate = this.ajv.compile(located(content.schema));
      this.compiled.set(content.schema, validate);
    }
    if (validate(JSON.parse(body))) return undefined;
    return `${this.ajv.errorsText(validate.errors)} in ${body.slice(0, 1_000)}`;
  }

  private operation(method: string, path: string): DescribedOperation | undefined {
    const plain = path.split('?')[0] ?? '';
    const wanted = method === 'HEAD' ? 'get' : method.toLowerCase();
    for (const [template, methods] of Object.entries(this.document.paths)) {
      const pattern = template
        .replaceAll('.', '\\.')
        .replace('{key}', '.+')
        .replaceAll(/\{\w+\}/g, '[^/]+');
      if (new RegExp(`^${pattern}$`).test(plain)) return methods[wanted];
    }
    return undefined;
  }
}

const ROOT = 'https://tailrace.test/';

function located<T extends object>(schema: T): T {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/components/schemas/', `"${ROOT}#/$defs/`)) as T;
}

/**
 * Answers may gain members, so the document leaves their objects open. Here they are closed, so that every member must be
 * described.
 */
function closed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed);
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.fromEntries(Object.entries(value).map(([name, member]) => [name, closed(member)]));
  const isOpen = members.type === 'object' && 'properties' in members && !('additionalProperties' in members);
  return isOpen ? { ...members, additionalProperties: false } : members;
}
