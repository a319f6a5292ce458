import fc from 'fast-check';
import { expect, it } from 'vitest';
import { encodeBatch } from '../../shared/log/batch/record-batch.ts';
import { HttpContract } from '../support/http-contract.ts';
import { memoryApp } from '../support/memory-app.ts';

/**
 * Requests made from the server's own OpenAPI document: first as it describes them, then spoilt. Whatever comes, the answer
 * is one that the document has, never a 5xx, and the server goes on as before.
 */
interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly minimum?: number;
  readonly maximum?: number;
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

interface Operation {
  readonly parameters: readonly {
    readonly name: string;
    readonly in: string;
    readonly required: boolean;
    readonly schema: Schema;
  }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema?: Schema }>> };
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, unknown>> }>>;
}

interface Sent {
  readonly method: string;
  readonly path: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string | Uint8Array | undefined;
}

const RUNS = Number(process.env.FUZZ_RUNS ?? 400);
const TOPICS = ['alpha', 'beta', '__proto__'];
const STRANGE = [
  '__proto__',
  'constructor',
  '../..',
  '%00',
  '\0',
  '\ud800',
  '😀',
  '',
  ' ',
  'null',
  'NaN',
  '-1',
  '1e999',
  '9007199254740993',
  '{"$base64":"x"}',
  '0:1,0:1',
  '"0"',
  "' OR 1=1",
  'a'.repeat(300),
  '%',
  '%ff',
  '..%2f',
  '\u202e',
  'true',
];

const strange = fc.oneof(fc.constantFrom(...STRANGE), fc.string({ unit: 'binary', maxLength: 20 }));
const bytes = fc.uint8Array({ maxLength: 80 }).map((array) => new Uint8Array(array));
const batch = fc
  .array(fc.string({ maxLength: 10 }), { minLength: 1, maxLength: 3 })
  .map((values) =>
    encodeBatch(
      values.map((value) => ({ timestampMs: 1, key: null, value: new TextEncoder().encode(value), headers: [] })),
    ),
  );

/** Values of a schema, with small numbers, so that much of what is asked for is there. */
function valuesOf(schema: Schema, document: Document, depth = 0): fc.Arbitrary<unknown> {
  if (schema.$ref !== undefined) {
    const target = document.components.schemas[schema.$ref.split('/').at(-1) as string] as Schema;
    return valuesOf(target, document, depth);
  }
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map((each) => valuesOf(each, document, depth)));
  switch (schema.type) {
    case 'integer':
    case 'number': {
      const min = schema.minimum ?? 0;
      const max = schema.maximum ?? 1_000;
      return fc.oneof(
        { weight: 8, arbitrary: fc.integer({ min, max: Math.min(max, min + 5) }) },
        { weight: 1, arbitrary: fc.constant(Math.min(max, 3_000)) },
      );
    }
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'string':
      return fc.oneof(
        fc.constantFrom('a', 'AAAA', 'earliest', '0:0', '60000', '"0"', 'delete'),
        fc.string({ minLength: 1, maxLength: 10 }),
      );
    case 'array':
      return fc.array(valuesOf(schema.items ?? {}, document, depth + 1), { minLength: 1, maxLength: 3 });
    case 'object': {
      const { properties = {}, required = [] } = schema;
      const members = Object.entries(properties).map(([name, member]) => {
        const value = name === 'topic' ? fc.constantFrom(...TOPICS) : valuesOf(member, document, depth + 1);
        return [name, value] as const;
      });
      return fc.record(Object.fromEntries(members), { requiredKeys: required as string[] });
    }
    default:
      return fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.record({ $base64: fc.constantFrom('', 'AA==', '!') }));
  }
}

function parameterText(name: string, schema: Schema, document: Document): fc.Arbitrary<string> {
  if (name === 'topic') return fc.constantFrom(...TOPICS);
  // A wait or a page takes time that no run has.
  if (name === 'waitMs') return fc.constantFrom('0', '1');
  return valuesOf(schema, document).map(String);
}

/** Requests as the document has them. */
function requestsOf(path: string, method: string, operation: Operation, document: Document): fc.Arbitrary<Sent> {
  const chosen = operation.parameters.map((parameter) => {
    const text = parameterText(parameter.name, parameter.schema, document);
    const given = parameter.required ? text : fc.option(text, { nil: undefined, freq: 2 });
    return given.map((value) => ({ ...parameter, value }));
  });
  const contents = Object.entries(operation.requestBody?.content ?? {}).map(([type, { schema }]) => {
    const body =
      schema !== undefined
        ? valuesOf(schema, document).map((value) => JSON.stringify(value))
        : type.endsWith('batches')
          ? batch
          : fc.oneof(bytes, fc.string());
    return body.map((value) => ({ type: type === '*/*' ? 'text/plain' : type, value }));
  });
  const content = contents.length === 0 ? fc.constant(undefined) : fc.oneof(...contents);
  const accepts = Object.entries(operation.responses).flatMap(([status, response]) =>
    Number(status) < 300 ? Object.keys(response.content ?? {}) : [],
  );
  const accept = fc.option(fc.constantFrom(...accepts, '*/*'), { nil: undefined });
  return fc.tuple(fc.tuple(...chosen), content, accept).map(([parameters, body, accepted]) => {
    const given = parameters.filter(({ value }) => value !== undefined) as {
      name: string;
      in: string;
      value: string;
    }[];
    const filled = given.reduce(
      (text, { name, value, in: place }) => (place === 'path' ? text.replace(`{${name}}`, encodeText(value)) : text),
      path,
    );
    const query = given
      .filter(({ in: place }) => place === 'query')
      .map(({ name, value }) => `${name}=${encodeText(value)}`);
    const headers = given
      .filter(({ in: place }) => place === 'header')
      .map(({ name, value }) => [name, value] as const);
    if (body !== undefined) headers.push(['Content-Type', body.type]);
    if (accepted !== undefined) headers.push(['Accept', accepted]);
    return {
      method: method.toUpperCase(),
      path: query.length === 0 ? filled : `${filled}?${query.join('&')}`,
      headers,
      body: body?.value as string | Uint8Array | undefined,
    };
  });
}

function encodeText(text: string): string {
  return text.isWellFormed() ? encodeURIComponent(text) : '%ed%a0%80';
}

type Spoil = (sent: Sent) => Sent;

/** One thing done to a request. */
const spoils: fc.Arbitrary<Spoil> = fc.oneof(
  fc.constantFrom('PATCH', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'GET', 'QUERY').map(
    (method): Spoil =>
      (sent) => ({ ...sent, method }),
  ),
  fc.tuple(strange, strange).map(
    ([name, value]): Spoil =>
      (sent) => ({
        ...sent,
        path: `${sent.path}${sent.path.includes('?') ? '&' : '?'}${encodeText(name)}=${encodeText(value)}`,
      }),
  ),
  fc.constant<Spoil>((sent) => ({ ...sent, path: sent.path.replace(/([?&][^&]*)$/, '$1$1'.replace('?', '&')) })),
  fc
    .tuple(fc.nat(60), fc.constantFrom('%', '%ff', '%00', '%2f', '//', '..', '%2e%2e', '?', '#', '&', '=', '+', ';'))
    .map(
      ([at, text]): Spoil =>
        (sent) => ({ ...sent, path: sent.path.slice(0, 1 + at) + text + sent.path.slice(1 + at) }),
    ),
  fc
    .tuple(
      fc.constantFrom(
        'Content-Type',
        'Accept',
        'Content-Encoding',
        'Content-Length',
        'Origin',
        'Host',
        'If-Match',
        'Idempotency-Key',
        'Producer-Id',
        'Producer-Epoch',
        'Producer-Seq',
        'Last-Event-ID',
        'X-Anything',
      ),
      strange,
    )
    .map(
      ([name, value]): Spoil =>
        (sent) => ({ ...sent, headers: [...sent.headers.filter(([given]) => given !== name), [name, value]] }),
    ),
  fc.nat(200).map(
    (at): Spoil =>
      (sent) => ({ ...sent, body: cut(sent.body, at) }),
  ),
  fc.tuple(fc.nat(200), bytes).map(
    ([at, more]): Spoil =>
      (sent) => ({ ...sent, body: insert(sent.body, at, more) }),
  ),
  fc.constant<Spoil>((sent) => ({ ...sent, body: undefined })),
  fc.tuple(fc.nat(), fc.nat(), strange).map(
    ([where, what, text]): Spoil =>
      (sent) => ({ ...sent, body: spoilJson(sent.body, where, what, text) }),
  ),
);

function toBytes(body: string | Uint8Array | undefined): Uint8Array {
  return typeof body === 'string' ? new TextEncoder().encode(body) : (body ?? new Uint8Array(0));
}

function cut(body: string | Uint8Array | undefined, at: number): Uint8Array {
  return toBytes(body).slice(0, at);
}

function insert(body: string | Uint8Array | undefined, at: number, more: Uint8Array): Uint8Array {
  const whole = toBytes(body);
  return new Uint8Array([...whole.slice(0, at), ...more, ...whole.slice(at)]);
}

/** Changes one value somewhere in a JSON body: gone, of another type, extreme, or with a member that is not known. */
function spoilJson(
  body: string | Uint8Array | undefined,
  where: number,
  what: number,
  text: string,
): string | Uint8Array | undefined {
  if (typeof body !== 'string') return body;
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return body;
  }
  const places: { readonly holder: Record<string, unknown>; readonly name: string }[] = [];
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const name of Object.keys(value)) {
      places.push({ holder: value as Record<string, unknown>, name });
      visit((value as Record<string, unknown>)[name]);
    }
  };
  visit(parsed);
  const place = places[where % Math.max(1, places.length)];
  if (place === undefined) return JSON.stringify(text);
  const { holder, name } = place;
  const others = [null, true, -1, 1.5, 1e308, 2 ** 53, '', text, [], {}, { $base64: text }, [[[]]], { [text]: text }];
  switch (what % 4) {
    case 0:
      delete holder[name];
      break;
    case 1:
      Object.defineProperty(holder, text, { value: 1, enumerable: true, configurable: true, writable: true });
      break;
    default:
      holder[name] = others[what % others.length];
  }
  return JSON.stringify(parsed);
}

it('answers anything as the document says, and stays well', async () => {
  const memory = memoryApp();
  const document = (await (await memory.call('GET', '/openapi.json')).json()) as Document;
  const contract = new HttpContract(document);
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => requestsOf(path, method, operation, document)),
  );
  const before = snapshotOfPrototypes();
  const statuses = new Map<number, number>();
  const requests = fc
    .tuple(fc.oneof(...operations), fc.array(spoils, { maxLength: 3 }))
    .map(([sent, changes]) => changes.reduce((changed, spoil) => spoil(changed), sent));
  await fc.assert(
    fc.asyncProperty(fc.array(requests, { minLength: 1, maxLength: 8 }), async (sents) => {
      for (const topic of TOPICS)
        await memory
          .call('PUT', `/v1/topics/${topic}`, { body: { partitions: 2 } })
          .then((response) => expect(response.status).toBeLessThan(300));
      for (const sent of sents) {
        const request = toRequest(sent);
        if (request === undefined) continue;
        const response = await memory.app.fetch(request);
        const contentType = response.headers.get('content-type');
        const body = contentType === 'text/event-stream' ? await firstPiece(response) : await response.text();
        statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
        expect(response.status).toBeLessThan(500);
        expect(response.headers.get('request-id')).not.toBeNull();
        if (sent.method === 'HEAD') {
          expect(body).toBe('');
          continue;
        }
        const answered = { status: response.status, contentType, body };
        const path = request.url.slice('http://localhost'.length).split('#')[0] as string;
        if (response.status >= 400) expect(contract.problemFault(answered)).toBeUndefined();
        // What any path may answer with: it is no such path, an origin that may not, or a method that is not there.
        else if (sent.method !== 'OPTIONS') expect(contract.fault(sent.method, path, answered)).toBeUndefined();
      }
      expect(memory.errors).toEqual([]);
      expect((await memory.call('GET', '/v1/health')).status).toBe(200);
      expect(snapshotOfPrototypes()).toEqual(before);
      for (const topic of TOPICS) await memory.call('DELETE', `/v1/topics/${topic}`);
    }),
    { numRuns: RUNS },
  );
  if (process.env.FUZZ_RUNS !== undefined) console.info(Object.fromEntries(statuses));
  // It reached deep: much was done, much refused, for many reasons.
  expect(statuses.get(200) ?? 0).toBeGreaterThan(RUNS / 4);
  for (const status of [201, 204, 400, 403, 404, 405])
    expect(statuses.get(status) ?? 0, String(status)).toBeGreaterThan(0);
}, 300_000);

/** `undefined` where no client of HTTP could send this. */
function toRequest({ method, path, headers, body }: Sent): Request | undefined {
  try {
    const hasBody = body !== undefined && method !== 'GET' && method !== 'HEAD';
    return new Request(`http://localhost${path}`, {
      method,
      headers: headers as [string, string][],
      ...(hasBody ? { body: body as BodyInit } : {}),
    });
  } catch {
    return undefined;
  }
}

async function firstPiece(response: Response): Promise<string> {
  if (response.body === null) return '';
  const reader = response.body.getReader();
  const { value } = await reader.read();
  await reader.cancel();
  return new TextDecoder().decode(value);
}

function snapshotOfPrototypes(): unknown {
  return [Object.prototype, Array.prototype, Function.prototype, String.prototype].map((prototype) =>
    Reflect.ownKeys(prototype).map(String),
  );
}
