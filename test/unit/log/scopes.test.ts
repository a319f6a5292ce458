import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ALL_SCOPES,
  allowsAllGroups,
  allowsAllTopics,
  allowsGroup,
  allowsSomeGroup,
  allowsSomeTopic,
  allowsSomeTransactionalId,
  allowsTopic,
  allowsTransactionalId,
  parseScopes,
  type Scope,
  visibleTransactionalIds,
} from '../../../shared/log/scopes.ts';

const scope = (topics: readonly string[], actions: Scope['actions'] = ['consume'], groups: string[] = []): Scope => ({
  actions,
  topics,
  groups,
});

describe('allowsTopic', () => {
  it.each([
    ['orders', 'orders', true],
    ['orders', 'orders2', false],
    ['orders2', 'orders', false],
    ['orders*', 'orders', true],
    ['orders*', 'orders-eu', true],
    ['orders-*', 'orders', false],
    ['*', 'anything', true],
    ['*', '', true],
    // No regular expression, nor any letter for another.
    ['orders.eu', 'orders-eu', false],
    ['ORDERS', 'orders', false],
    ['.*', 'orders', false],
    ['.*', '.orders', true],
  ])('%s covers %s: %s', (pattern, topic, expected) => {
    expect(allowsTopic([scope([pattern])], 'consume', topic)).toBe(expected);
  });

  it('joins actions and topics within a scope, never across scopes', () => {
    const scopes = [scope(['a'], ['produce']), scope(['b'], ['consume', 'admin'])];
    expect(allowsTopic(scopes, 'produce', 'a')).toBe(true);
    expect(allowsTopic(scopes, 'produce', 'b')).toBe(false);
    expect(allowsTopic(scopes, 'consume', 'a')).toBe(false);
    expect(allowsTopic(scopes, 'any', 'a')).toBe(true);
    expect(allowsTopic(scopes, 'any', 'c')).toBe(false);
  });

  it('takes no right on groups for one on topics', () => {
    const scopes = [scope([], ['consume'], ['*'])];
    expect(allowsTopic(scopes, 'consume', 'a')).toBe(false);
    expect(allowsSomeTopic(scopes, 'any')).toBe(false);
    expect(allowsAllTopics(scopes, 'consume')).toBe(false);
  });

  it('is true of all topics only by the pattern of all', () => {
    expect(allowsAllTopics([scope(['a*', 'b*'], ['admin'])], 'admin')).toBe(false);
    expect(allowsAllTopics([scope(['*'], ['consume'])], 'admin')).toBe(false);
    expect(allowsAllTopics(ALL_SCOPES, 'admin')).toBe(true);
  });

  it('agrees with what patterns mean', () => {
    const name = fc.string({ unit: fc.constantFrom('a', 'b', '-', '.'), maxLength: 4 });
    fc.assert(
      fc.property(name, fc.boolean(), name, (text, isPrefix, topic) => {
        const expected = isPrefix ? topic.startsWith(text) : topic === text;
        expect(allowsTopic([scope([isPrefix ? `${text}*` : text])], 'consume', topic)).toBe(expected);
      }),
    );
  });
});

describe('allowsGroup', () => {
  const scopes = [scope(['*'], ['admin']), scope([], ['consume'], ['billing', 'team-*'])];

  it.each([
    ['billing', true],
    ['billing2', false],
    ['team-a/b', true],
    ['team', false],
    ['*', false],
  ])('of %s: %s', (group, expected) => {
    expect(allowsGroup(scopes, 'consume', group)).toBe(expected);
    expect(allowsGroup(scopes, 'any', group)).toBe(expected);
    expect(allowsGroup(scopes, 'admin', group)).toBe(false);
  });

  it('takes no right on topics for one on groups', () => {
    expect(allowsSomeGroup([scope(['*'])], 'any')).toBe(false);
    expect(allowsAllGroups([scope(['*'])], 'any')).toBe(false);
    expect(allowsSomeGroup(scopes, 'consume')).toBe(true);
    expect(allowsSomeGroup(scopes, 'admin')).toBe(false);
    expect(allowsAllGroups(scopes, 'consume')).toBe(false);
    expect(allowsAllGroups(ALL_SCOPES, 'admin')).toBe(true);
  });
});

describe('allowsTransactionalId', () => {
  const scopes: Scope[] = [
    { ...scope(['*'], ['admin'], ['*']) },
    { ...scope([], ['produce']), transactionalIds: ['sums', 'orders-*'] },
  ];

  it.each([
    ['sums', true],
    ['sums2', false],
    ['orders-1', true],
    ['orders', false],
  ])('of %s: %s', (id, expected) => {
    expect(allowsTransactionalId(scopes, 'produce', id)).toBe(expected);
    expect(allowsTransactionalId(scopes, 'any', id)).toBe(expected);
    expect(allowsTransactionalId(scopes, 'admin', id)).toBe(false);
  });

  it('takes no right on topics or groups for one on transactional ids, nor the other way round', () => {
    expect(allowsSomeTransactionalId([scope(['*'], ['produce'], ['*'])], 'any')).toBe(false);
    expect(allowsSomeTransactionalId(scopes, 'produce')).toBe(true);
    expect(allowsSomeTransactionalId(scopes, 'admin')).toBe(false);
    expect(visibleTransactionalIds(scopes)?.('orders-1')).toBe(true);
    expect(visibleTransactionalIds(scopes)?.('orders')).toBe(false);
    expect(visibleTransactionalIds(ALL_SCOPES)).toBeUndefined();
    const [, ofIds] = scopes as [Scope, Scope];
    expect(allowsSomeTopic([ofIds], 'any') || allowsSomeGroup([ofIds], 'any')).toBe(false);
  });
});

describe('parseScopes', () => {
  it('takes what it gives', () => {
    const scopes = [
      scope(['a', 'b*', '*'], ['produce', 'admin'], ['group one', 'gruppe-ä*']),
      { ...scope([], ['produce']), transactionalIds: ['x', 'id one*'] },
    ];
    expect(parseScopes(JSON.parse(JSON.stringify(scopes)))).toEqual(scopes);
    expect(parseScopes([{ actions: ['produce'], topics: ['a'] }])).toEqual([scope(['a'], ['produce'])]);
  });

  it('bounds all patterns together', () => {
    const names = Array.from({ length: 67 }, (_, i) => `n${i}`);
    const wide = { ...scope(names, ['consume'], names), transactionalIds: names.slice(1) };
    expect(parseScopes([wide])).toEqual([wide]);
    expect(() => parseScopes([{ ...wide, transactionalIds: names }])).toThrow('at most 200 patterns');
  });

  it('refuses anything else, quickly', () => {
    const long = 'a'.repeat(100_000);
    for (const wrong of [
      undefined,
      null,
      'x',
      {},
      [],
      [null],
      [[]],
      [{ actions: [long] }],
      [scope([`${long}*`])],
      [{ ...scope(['a']), transactionalIds: 'x' }],
    ])
      expect(() => parseScopes(wrong)).toThrow();
    fc.assert(
      fc.property(fc.anything(), (given) => {
        try {
          parseScopes(given);
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalid_request' });
        }
      }),
    );
  });
});
