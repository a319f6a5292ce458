/**
 * The text of values within JSON, for keeping them as they were written: parsing and printing again would round large
 * numbers, drop repeated names and reorder members. Everything here works on text that `JSON.parse` has accepted, so it only
 * finds where things end. Nothing recurses, so that no nesting is too deep.
 */
export interface JsonSpan {
  /** The value's text without the blanks between its tokens. */
  readonly text: string;
  /** Where it ends in the whole, exclusive. */
  readonly end: number;
  /** Of arrays and objects within each other: 0 for a plain value, 1 for `[]`. */
  readonly depth: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

export function skipBlanks(json: string, start: number): number {
  let at = start;
  while (isBlank(json.charCodeAt(at))) at++;
  return at;
}

/** The value that begins at `start`, or after the blanks there. */
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

/** Calls `visit` with each member's name and where its value begins; it answers where the value ends. Answers its own end. */
export function eachMember(json: string, start: number, visit: (name: string, valueStart: number) => number): number {
  let at = skipBlanks(json, skipBlanks(json, start) + 1);
  while (json.charCodeAt(at) === QUOTE) {
    const nameEnd = endOfString(json, at);
    const name = json.slice(at + 1, nameEnd - 1);
    const colon = skipBlanks(json, nameEnd);
    const plainName = name.includes('\\') ? (JSON.parse(`"${name}"`) as string) : name;
    at = skipBlanks(json, visit(plainName, skipBlanks(json, colon + 1)));
    if (json.charCodeAt(at) === COMMA) at = skipBlanks(json, at + 1);
  }
  return at + 1;
}

/** Calls `visit` with where each element begins; it answers where the element ends. Answers its own end. */
export function eachElement(json: string, start: number, visit: (elementStart: number) => number): number {
  let at = skipBlanks(json, skipBlanks(json, start) + 1);
  while (json.charCodeAt(at) !== CLOSE_BRACKET) {
    at = skipBlanks(json, visit(at));
    if (json.charCodeAt(at) === COMMA) at = skipBlanks(json, at + 1);
  }
  return at + 1;
}

/** Whether the text has an escape of half a surrogate pair by itself, such as `\ud800`: no UTF-8 can hold what it means. */
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
