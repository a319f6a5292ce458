import type * as z from 'zod';
import { type EventLogError, invalidField } from '../../log/errors.ts';
import type { Inputs, Operation } from '../operation.ts';

/**
 * Checks the parts of a request other than the body by the operation's schemas. Everything unknown, repeated or malformed
 * is rejected by name: a misspelt parameter must not be ignored.
 */
type Given = Record<string, unknown>;

/** The raw path of a request's URL, percent-encoded as it was sent. */
export function rawPath(request: Request): string {
  const { url } = request;
  const start = url.indexOf('/', url.indexOf('://') + 3);
  if (start < 0) return '/';
  const end = url.slice(start).search(/[?#]/);
  return end < 0 ? url.slice(start) : url.slice(start, start + end);
}

/**
 * Checks that the router can decode the whole path: the router leaves malformed percent-encoding as it is.
 * @throws EventLogError `invalid_request`
 */
export function checkPath(path: string): void {
  if (!path.includes('%')) return;
  decodePercent(path, 'path');
}

/**
 * Headers that make a request conditional, done once, or resumed. A client that sends one relies on it, so every operation
 * that does not honour the header rejects the request.
 */
export const BINDING_HEADERS = [
  'Idempotency-Key',
  'If-Match',
  'If-Unmodified-Since',
  'Last-Event-ID',
  'Producer-Epoch',
  'Producer-Id',
  'Producer-Seq',
] as const;

/**
 * Headers that are rejected by every operation that changes something. A GET may ignore them: nothing here has an entity
 * tag, so `If-None-Match` finds none that matches (RFC 9110, section 13.1.2), and the others say nothing about a GET.
 * `Content-Range` would append a part as if it were whole, and `X-HTTP-Method-Override` would append a record in place of
 * a deletion. All operations may ignore `If-Modified-Since`, `Range` and `If-Range` (sections 13.1.3, 14.2 and 13.1.5): the
 * status tells the client that its answer is whole.
 */
export const BINDING_IF_UNSAFE = ['Content-Range', 'If-None-Match', 'X-HTTP-Method-Override'] as const;

export type InputReader<O extends Operation> = (
  params: Readonly<Record<string, string>>,
  url: string,
  headers: Headers,
) => Inputs<O>;

/** Reads the parts of a request other than the body. @throws EventLogError `invalid_request` naming the field */
export function inputReader<O extends Operation>(operation: O): InputReader<O> {
  const { params, query, signed, headers } = operation;
  const needsQuery = !query.safeParse({}).success;
  const known = Object.keys(headers?.shape ?? {});
  const refused = [...BINDING_HEADERS, ...(operation.method === 'get' ? [] : BINDING_IF_UNSAFE)].filter(
    (name) => !known.includes(name),
  );
  return (rawParams, url, given) => {
    for (const name of refused) {
      if (given.has(name)) throw invalidField(name, `This request does not support ${name}. Leave the header out.`);
    }
    return {
      params: readParams(params, rawParams),
      query: signed || (!needsQuery && !url.includes('?')) ? {} : readQuery(query, url),
      headers: headers === undefined ? {} : readHeaders(headers, known, given),
    } as Inputs<O>;
  };
}

/** Reads the operation's path parameters, which the router has matched and decoded. */
function readParams(schema: z.ZodObject, raw: Readonly<Record<string, string>>): Given {
  const given: Given = Object.create(null);
  let none = true;
  for (const [name, text] of Object.entries(raw)) {
    given[name] = convert(schema.shape[name], text);
    none = false;
  }
  return none ? given : check(schema, given);
}

/** Reads the operation's query parameters. `+` means a blank, as browsers and forms send it. */
function readQuery(schema: z.ZodObject, url: string): Given {
  const given: Given = Object.create(null);
  const start = url.indexOf('?');
  if (start >= 0) {
    const hash = url.indexOf('#', start);
    for (const pair of url.slice(start + 1, hash < 0 ? undefined : hash).split('&')) {
      if (pair === '') continue;
      const equals = pair.indexOf('=');
      const name = decodePercent((equals < 0 ? pair : pair.slice(0, equals)).replaceAll('+', ' '), 'query');
      const text = decodePercent(equals < 0 ? '' : pair.slice(equals + 1).replaceAll('+', ' '), name);
      if (Object.hasOwn(given, name)) throw invalidField(name, `The parameter ${name} is given more than once.`);
      given[name] = convert(Object.hasOwn(schema.shape, name) ? schema.shape[name] : undefined, text);
    }
  }
  return check(schema, given);
}

function readHeaders(schema: z.ZodObject, names: readonly string[], headers: Headers): Given {
  const given: Given = Object.create(null);
  let none = true;
  for (const name of names) {
    const text = headers.get(name);
    if (text === null) continue;
    given[name] = convert(schema.shape[name], text);
    none = false;
  }
  // No operation requires a header, so there is nothing to check.
  return none ? given : check(schema, given);
}

/** @throws EventLogError `invalid_request` naming an unknown field, if there is one, otherwise the first that is wrong */
export function check<S extends z.ZodType>(schema: S, value: unknown, at: readonly PropertyKey[] = []): z.infer<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw toInvalidRequest(result.error, at);
}

function toInvalidRequest(error: z.ZodError, at: readonly PropertyKey[]): EventLogError {
  // A misspelt name leaves the field without a value that it was meant for: the name is the cause.
  const unknown = error.issues.find(({ code }) => code === 'unrecognized_keys');
  const issue = unknown ?? (error.issues[0] as z.core.$ZodIssue);
  const path = [...at, ...issue.path];
  const more = error.issues.length > 1 ? ` (and ${error.issues.length - 1} more)` : '';
  if (issue.code === 'unrecognized_keys') {
    const field = fieldName([...path, issue.keys[0] ?? '']);
    return invalidField(field, `Unknown field or parameter: ${field}${more}.`);
  }
  const field = fieldName(path) || 'body';
  if (issue.code === 'invalid_type') {
    const missing = issue.message.endsWith('received undefined');
    const what = missing ? 'is required' : issue.message.replace(/^Invalid input: expected/, 'must be');
    return invalidField(field, `${field} ${what}${more}.`);
  }
  return invalidField(field, `${field}: ${lowerFirst(issue.message)}${more}.`);
}

/** The name of a field, such as `records[3].headers[0].name`. Long names are cut, because they come from the request. */
function fieldName(path: readonly PropertyKey[]): string {
  let name = '';
  for (const part of path) {
    if (typeof part === 'number') name += `[${part}]`;
    else name += `${name === '' ? '' : '.'}${String(part).slice(0, 100)}`;
  }
  return name;
}

function lowerFirst(message: string): string {
  return message.charAt(0).toLowerCase() + message.slice(1);
}

/** Converts a parameter, which is text. If the schema requires a number or a boolean, the text is read as JSON. */
function convert(schema: z.core.SomeType | undefined, text: string): unknown {
  const type = schema === undefined ? 'string' : typeOf(schema);
  if (type === 'number' && /^-?(0|[1-9]\d*)$/.test(text)) return Number(text);
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  return text;
}

function typeOf(schema: z.core.SomeType): string {
  const { def } = schema._zod;
  // A number or one of some words: text that is no number stays text.
  if ('options' in def)
    return (def.options as z.core.SomeType[]).some((one) => typeOf(one) === 'number') ? 'number' : 'string';
  return 'innerType' in def ? typeOf(def.innerType as z.core.SomeType) : def.type;
}

function decodePercent(text: string, field: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalidField(
      field.slice(0, 100),
      `The percent-encoding of ${field === 'path' ? 'the path' : field.slice(0, 100)} is not UTF-8 text.`,
    );
  }
}
