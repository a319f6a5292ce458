import { LRUCache } from 'lru-cache';
import { invalidField } from '../../../log/errors.ts';

/**
 * Patterns of topic names, in RE2's syntax as in Kafka. RE2 takes time in proportion to pattern and name. A `RegExp` does
 * not: a short pattern of one member could keep a process busy for hours.
 */

/**
 * Counted repetitions are written out when a pattern is compiled, so a pattern of 1,000 characters could otherwise take
 * half a gigabyte, and seconds for each name. Within the limit a pattern takes 2,000 steps for each character of a name at most.
 */
const WRITTEN_OUT_LENGTH_MAX = 1_000;
/** A compiled pattern can use up to 8 MB. */
const COMPILED_MAX = 8;

type Matcher = (name: string) => boolean;

const compiled = new LRUCache<string, Matcher>({ max: COMPILED_MAX });

/**
 * Returns whether the whole name matches. The pattern must have the length that `checkSubscription` allows.
 * @throws EventLogError `invalid_request` naming `topicPattern`
 */
export async function compileTopicPattern(pattern: string): Promise<Matcher> {
  const known = compiled.get(pattern);
  if (known !== undefined) return known;
  const length = lengthWrittenOut(pattern);
  if (length > WRITTEN_OUT_LENGTH_MAX) {
    throw invalidField(
      'topicPattern',
      `With its counted repetitions written out, \`topicPattern\` has about ${length} characters, and the limit is ${WRITTEN_OUT_LENGTH_MAX}. Use \`*\` or \`+\` in place of \`{n}\`.`,
      { max: WRITTEN_OUT_LENGTH_MAX },
    );
  }
  // Few groups use patterns, and the library would cost each cold start.
  const { RE2JS, RE2JSException } = await import('re2js');
  try {
    const expression = RE2JS.compile(pattern);
    const matches = (name: string): boolean => expression.testExact(name);
    compiled.set(pattern, matches);
    return matches;
  } catch (cause) {
    if (!(cause instanceof RE2JSException)) throw cause;
    const why = cause.message.replace(/^error parsing regexp: /, '');
    throw invalidField(
      'topicPattern',
      `\`topicPattern\` is not a regular expression in RE2's syntax, which has no look-around and no back-references: ${why}.`,
    );
  }
}

/** Checks the pattern of a request. @throws EventLogError `invalid_request` naming `topicPattern` */
export async function checkTopicPattern(pattern: string): Promise<void> {
  await compileTopicPattern(pattern);
}

const REPETITION = /(.?)\{(\d+)(,?)(\d*)\}/gsu;
/** A repetition after one of these repeats one character or class. After an E it may be another: `\Q\E` is empty. */
const ENDS_ELEMENT = /[a-zA-DF-Z0-9_.\]-]/;

/**
 * An upper bound: a repetition after anything that may end a group counts as one of the whole pattern, because groups can
 * be nested.
 */
function lengthWrittenOut(pattern: string): number {
  let length = pattern.length;
  let factor = 1;
  for (const [, before = '', min, comma, max] of pattern.matchAll(REPETITION)) {
    const count = Math.max(1, max === '' ? Number(min) + (comma === '' ? 0 : 1) : Number(max));
    if (ENDS_ELEMENT.test(before)) length += count;
    else factor *= count;
  }
  return length * factor;
}
