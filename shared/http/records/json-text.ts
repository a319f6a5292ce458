import { type EventLogError, invalidField } from '../../log/errors.ts';

/**
 * Finds the text of values within JSON, so that values are kept as they were written. Parsing and printing would round
 * large numbers, drop members of a repeated name and reorder the others. All functions here require text that `JSON.parse`
 * has accepted, so they only find where values end. Nothing recurses, so that no nesting is too deep.
 */
export interface JsonSpan {
  /** The value's text without the blanks between its tokens. */
  readonly text: string;
  /** The end of the value in the whole text, exclusive. */
  readonly end: number;
  /** The nesting of arrays and objects: 0 for a plain value, 1 for `[]`. */
  readonly depth: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

export function skipBlanks(json: string, start: number): number {
  let at = start;
  while (isBlank(json.charCodeAt(at))) at++;
  return at;
}

/** Returns the value that begins at `start`, or after the blanks at `start`. */
export function valueAt(json: string, start: number): JsonSpan {
  const begin = skipBlanks(json, start);
  const first = json.charCodeAt(begin);
  if (first === QUOTE) {
    const end = endOfString(json, begin);
    return { text: json.slice(begin, end), end, depth: 0 };
  }
  if (first !== OPEN_BRACE && first !== OPEN_BRACKET) {
    let end = begin + 1;
    while (end < json.length && !endsPlainValue(json.charCodeAt(end))) end++;
    return { text: json.slice(begin, end), end, depth: 0 };
  }
  let text = '';
  let copied = begin;
  let at = begin;
  let level = 0;
  let depth = 0;
  for (;;) {
    const code = json.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(json, at);
    } else if (isBlank(code)) {
      text += json.slice(copied, at);
      at = skipBlanks(json, at);
      copied = at;
    } else {
      at++;
      if (code === OPEN_BRACE || code === OPEN_BRACKET) {
        level++;
        if (level > depth) depth = level;
      } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
        level--;
        if (level === 0) return { text: text + json.slice(copied, at), end: at, depth };
      }
    }
  }
}

/**
 * Calls `visit` with the name of each member and the start of its value; `visit` returns the end of the value. Returns the
 * end of the object. A repeated name is an error, because `JSON.parse` would silently keep only the last member.
 * @throws EventLogError `invalid_request`; `field` names the object, or is empty for the whole
 */
export function eachMember(
  json: string,
  start: number,
  field: () => string,
  visit: (name: string, valueStart: number) => number,
): number {
  const seen: string[] = [];
  let at = skipBlanks(json, skipBlanks(json, start) + 1);
  while (json.charCodeAt(at) === QUOTE) {
    const nameEnd = endOfString(json, at);
    const name = plainName(json.slice(at + 1, nameEnd - 1));
    if (seen.includes(name)) throw repeatedMember(field(), name);
    seen.push(name);
    const colon = skipBlanks(json, nameEnd);
    at = skipBlanks(json, visit(name, skipBlanks(json, colon + 1)));
    if (json.charCodeAt(at) === COMMA) at = skipBlanks(json, at + 1);
  }
  return at + 1;
}

function plainName(name: string): string {
  return name.includes('\\') ? (JSON.parse(`"${name}"`) as string) : name;
}

function repeatedMember(field: string, name: string): EventLogError {
  const path = `${field === '' ? '' : `${field}.`}${name.slice(0, 100)}`;
  return invalidField(path, `${path} is given more than once in its object.`);
}

/** Checks every object of a text as `eachMember` does, at any depth. @throws EventLogError `invalid_request` */
export function checkMembers(json: string): void {
  /** The names of each open object, and `undefined` for each open array. */
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < json.length; ) {
    const code = json.charCodeAt(at);
    if (code === OPEN_BRACE) open.push(new Set());
    else if (code === OPEN_BRACKET) open.push(undefined);
    else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) open.pop();
    if (code !== QUOTE) {
      at++;
      continue;
    }
    const end = endOfString(json, at);
    const names = open.at(-1);
    if (names !== undefined && json.charCodeAt(skipBlanks(json, end)) === COLON) {
      const name = plainName(json.slice(at + 1, end - 1));
      if (names.has(name)) throw repeatedMember('', name);
      names.add(name);
    }
    at = end;
  }
}

/** Calls `visit` with the start of each element; `visit` returns the element's end. Returns the end of the array. */
export function eachElement(json: string, start: number, visit: (elementStart: number) => number): number {
  let at = skipBlanks(json, skipBlanks(json, start) + 1);
  while (json.charCodeAt(at) !== CLOSE_BRACKET) {
    at = skipBlanks(json, visit(at));
    if (json.charCodeAt(at) === COMMA) at = skipBlanks(json, at + 1);
  }
  return at + 1;
}

/** Whether the text has an escape of an unpaired surrogate, such as `\ud800`, which UTF-8 cannot represent. */
export function hasLoneSurrogate(json: string): boolean {
  if (!SURROGATE_ESCAPE.test(json)) return false;
  return SURROGATE_ESCAPE.test(json.replaceAll('\\\\', '.').replaceAll(SURROGATE_PAIR, '.'));
}

const SURROGATE_ESCAPE = /\\u[dD][89a-fA-F]/;
const SURROGATE_PAIR = /\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}/g;

function endOfString(json: string, start: number): number {
  let at = start;
  for (;;) {
    at = json.indexOf('"', at + 1);
    let backslashes = 0;
    while (json.charCodeAt(at - 1 - backslashes) === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return at + 1;
  }
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

function endsPlainValue(code: number): boolean {
  return code === COMMA || code === CLOSE_BRACKET || code === CLOSE_BRACE || isBlank(code);
}
