import fc from 'fast-check';
import { RE2JS } from 're2js';
import { describe, expect, it } from 'vitest';
import { checkTopicPattern, compileTopicPattern } from '../../../../shared/broker/groups/membership/topic-pattern.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import type { HeartbeatResult } from '../../../../shared/log/group/heartbeat-result.ts';
import { memoryBroker, memoryStores } from '../../../support/memory-broker.ts';

const matches = async (pattern: string, name: string): Promise<boolean> => (await compileTopicPattern(pattern))(name);

const isRefused = async (pattern: string, says: RegExp): Promise<void> => {
  await expect(checkTopicPattern(pattern)).rejects.toThrow(
    expect.objectContaining({
      code: 'invalid_request',
      message: expect.stringMatching(says),
      details: expect.objectContaining({ field: 'topicPattern' }),
    }),
  );
};

describe('a pattern of topics', () => {
  it.each<[pattern: string, yes: readonly string[], no: readonly string[]]>([
    ['orders', ['orders'], ['orders2', 'my-orders', 'Orders']],
    ['orders-.*', ['orders-', 'orders-eu'], ['orders', 'x-orders-eu']],
    ['a|ab|b.*', ['a', 'ab', 'b', 'bcd'], ['ac', 'abc', 'xb']],
    ['^a$|^b', ['a', 'b'], ['ab', 'bc']],
    ['(?i)eu-[a-z]{2,3}', ['EU-de', 'eu-fra'], ['eu-d', 'eu-fran']],
    ['a.b', ['a.b', 'axb'], ['ab']],
    ['a\\.b', ['a.b'], ['axb']],
    ['(?:a{2}-){3}z', ['aa-aa-aa-z'], ['aa-aa-z']],
    ['\\Qa.b\\E', ['a.b'], ['axb']],
  ])('%s matches whole names', async (pattern, yes, no) => {
    for (const name of yes) expect(await matches(pattern, name), name).toBe(true);
    for (const name of no) expect(await matches(pattern, name), name).toBe(false);
  });

  it('matches as a RegExp does where both know the syntax', async () => {
    const part = fc.constantFrom('a', 'b', '.', '[ab]', '[^a]', 'a*', 'b?', '(?:ab)+', '|', 'a{1,2}', '\\.', '^', '$');
    await fc.assert(
      fc.asyncProperty(
        fc.array(part, { minLength: 1, maxLength: 6 }),
        fc.string({ unit: fc.constantFrom('a', 'b', '.'), maxLength: 6 }),
        async (parts, name) => {
          const pattern = parts.join('');
          expect(await matches(pattern, name), pattern).toBe(new RegExp(`^(?:${pattern})$`).test(name));
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it.each([
    ['(', /missing closing/],
    ['[a', /missing closing/],
    ['a**', /repetition/],
    ['(?=a)b', /no look-around/],
    ['(?<!a)b', /no look-around/],
    ['(a)\\1', /no back-references/],
    ['\\', /backslash/],
    ['a{1001}', /1000/],
  ])('%s is refused, and the error says why', async (pattern, says) => {
    await isRefused(pattern, says);
    await expect(compileTopicPattern(pattern)).rejects.toThrow(EventLogError);
  });

  it('has 1,000 characters at most when its repetitions are written out', async () => {
    const tooLarge = /about \d+ characters, and the limit is 1000/;
    await checkTopicPattern('x'.repeat(1_000));
    await checkTopicPattern('[a-z]{1,50}(\\.[a-z0-9-]{1,50}){1,5}');
    await checkTopicPattern('(?:x{9}){9}');
    await checkTopicPattern('x{900}');
    await isRefused('x{994,}', tooLarge);
    await isRefused(`(${'a?'.repeat(490)}){1000}`, tooLarge);
    await isRefused(`((${'a?'.repeat(480)}){31}){32}`, tooLarge);
    await isRefused('(?:.*a.{0,400}){3}c', tooLarge);
    await isRefused('(?:x{0,300}){0,4}', tooLarge);
  });

  it('is a program of 2,000 steps at most, whatever is written', async () => {
    const piece = fc.constantFrom(
      'a',
      '[a-z]',
      '\\pL',
      '.',
      '(',
      '(?:',
      ')',
      '(?i)',
      '|',
      '*',
      '?',
      '\\Q',
      '\\E',
      '\\Q\\E',
      '\\x{41}',
      '\\b',
      '[)]',
      '{3}',
      '{0,9}',
      '{9,}',
      '{60}',
      '{500}',
      'E',
    );
    const group = fc.letrec<{ node: string }>((tie) => ({
      node: fc.oneof(
        { depthSize: 'small' },
        fc.array(piece, { minLength: 1, maxLength: 5 }).map((pieces) => pieces.join('')),
        fc
          .tuple(tie('node'), fc.constantFrom('', '{3}', '{0,9}', '{9,}', '{60}', '(?i){30}', '\\Q\\E{30}'))
          .map(([inner, after]) => `(${inner})${after}`),
        fc.tuple(tie('node'), tie('node')).map(([a, b]) => a + b),
      ),
    })).node;
    let checked = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          group,
          fc.array(piece, { maxLength: 40 }).map((pieces) => pieces.join('')),
        ),
        async (pattern) => {
          try {
            await checkTopicPattern(pattern);
          } catch (error) {
            expect((error as EventLogError).code).toBe('invalid_request');
            return;
          }
          checked++;
          expect(RE2JS.compile(pattern).programSize()).toBeLessThanOrEqual(2_010);
        },
      ),
      { numRuns: 3_000 },
    );
    expect(checked).toBeGreaterThan(300);
  });

  /** A RegExp takes longer than anybody waits for each of the first four. */
  it.each([
    '(a+)+b',
    '(a|a)*b',
    '(a*)*(a*)*(a*)*b',
    `${'a?'.repeat(490)}b`,
    'a{0,900}b',
    '.*.*.*.*.*.*.*.*b',
    '(?:[ab]*a[ab]{90}|[ab]*b[ab]{90})c',
  ])('%s is answered for the longest names', async (pattern) => {
    const isMatch = await compileTopicPattern(pattern);
    for (let i = 0; i < 20; i++) {
      const name = Array.from({ length: 248 }, (_, at) => ((at * (i + 1)) % 7 === 3 ? 'b' : 'a')).join('');
      expect(isMatch(`${name}.`)).toBe(false);
    }
    expect(isMatch('a'.repeat(249))).toBe(false);
  });

  it('is compiled again after many others', async () => {
    const first = await compileTopicPattern('first.*');
    expect(await compileTopicPattern('first.*')).toBe(first);
    for (let i = 0; i < 100; i++) await compileTopicPattern(`other-${i}`);
    expect(await compileTopicPattern('first.*')).not.toBe(first);
    expect(await matches('first.*', 'first-of-all')).toBe(true);
  });

  it('of a heartbeat is checked before anything is stored, also for a member that has joined', async () => {
    const world = memoryStores();
    const broker = memoryBroker(world);
    const beat = (memberEpoch: number, pattern: string) =>
      world.clock.run(
        broker.heartbeat({ group: 'g', memberId: 'm', memberEpoch, subscription: { topics: [], pattern } }),
      );
    const refused = expect.objectContaining({
      code: 'invalid_request',
      details: expect.objectContaining({ field: 'topicPattern' }),
    });
    for (const pattern of ['', '(', 'x{1000}', 'x'.repeat(1_001)])
      await expect(beat(0, pattern)).rejects.toThrow(refused);
    await expect(world.clock.run(broker.describeGroup('g'))).rejects.toThrow(
      expect.objectContaining({ code: 'unknown_group' }),
    );
    const { memberEpoch } = await beat(0, 'orders-.*');
    await expect(beat(memberEpoch, '(')).rejects.toThrow(refused);
  });

  it('gives a member the topics that match, and those that are made later', async () => {
    const world = memoryStores();
    const broker = memoryBroker(world);
    const { clock } = world;
    for (const name of ['orders-eu', 'my-orders-eu']) await clock.run(broker.putTopic({ name, partitions: 2 }));
    let answer: HeartbeatResult | undefined;
    const settle = async (): Promise<readonly string[]> => {
      for (let i = 0; i < 40; i++) {
        answer = await clock.run(
          broker.heartbeat({
            group: 'g',
            memberId: 'm',
            memberEpoch: answer?.memberEpoch ?? 0,
            subscription: { topics: [], pattern: 'orders-.*' },
          }),
        );
        await clock.run(clock.sleep(answer.heartbeatIntervalMs));
      }
      return (answer?.assignment ?? []).map(({ topic }) => topic).toSorted();
    };
    expect(await settle()).toEqual(['orders-eu']);
    await clock.run(broker.putTopic({ name: 'orders-us', partitions: 1 }));
    expect(await settle()).toEqual(['orders-eu', 'orders-us']);
  });
});
