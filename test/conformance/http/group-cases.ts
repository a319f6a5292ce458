import { expect } from 'vitest';
import type {
  ExtendOutput,
  GroupOutput,
  GroupPage,
  HeartbeatOutput,
  LagOutput,
  OffsetsOutput,
  OffsetsPage,
  PollOutput,
  ResetOutput,
} from '../../../shared/http/groups/contract.ts';
import type { Case } from '../suite.ts';
import type { Client } from './client.ts';

/** A server may need several heartbeats until a member has its partitions; each of them does one step. */
const HEARTBEATS_MAX = 40;

async function joined(http: Client, path: string, topics: readonly string[], count: number): Promise<HeartbeatOutput> {
  let answer = (await http.call<HeartbeatOutput>('PUT', path, { body: { memberEpoch: 0, topics } })).json;
  for (let i = 0; i < HEARTBEATS_MAX; i++) {
    const { memberEpoch, assignment } = answer;
    if (assignment.flatMap(({ partitions }) => partitions).length === count) return answer;
    await pause(answer);
    answer = (await http.call<HeartbeatOutput>('PUT', path, { body: { memberEpoch, owned: assignment } })).json;
  }
  throw new Error(`The member does not get its partitions: ${JSON.stringify(answer)}`);
}

/** As the server asks for while partitions move. A member that has settled before the other came would wait for seconds. */
function pause({ heartbeatIntervalMs }: HeartbeatOutput): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.min(100, heartbeatIntervalMs)));
}

/** Consumer groups over HTTP. */
export function groupCases(test: Case<Client>): void {
  test('a member joins, commits, is described, and leaves', async (http, topic) => {
    await http.topic(topic, 3);
    await http.append(
      topic,
      [0, 1, 1, 2].map((partition) => ({ value: 'x', partition })),
    );
    const group = `/v1/groups/${topic}`;
    const member = `${group}/members/one`;
    expect(await http.problem('GET', group)).toMatchObject({ code: 'unknown_group', status: 404 });
    expect(await http.problem('GET', `${group}/lag`)).toMatchObject({ code: 'unknown_group' });
    const { memberEpoch, assignment, memberId } = await joined(http, member, [topic], 3);
    expect([memberId, assignment]).toEqual(['one', [{ topic, topicId: expect.any(String), partitions: [0, 1, 2] }]]);

    const offsets = [
      { topic, partition: 1, offset: 1, leaderEpoch: 3, metadata: 'é' },
      { topic, partition: 7, offset: 1 },
    ];
    const body = { memberId: 'one', memberEpoch, offsets };
    const committed = await http.call<OffsetsOutput>('PUT', `${group}/offsets`, { body });
    expect(committed.json.offsets).toEqual([
      { topic, partition: 1 },
      { topic, partition: 7, error: expect.objectContaining({ code: 'unknown_partition' }) },
    ]);
    const alone = { ...body, offsets: offsets.slice(1) };
    expect(await http.problem('PUT', `${group}/offsets`, { body: alone })).toMatchObject({ code: 'unknown_partition' });
    const other = { ...body, memberId: 'two', offsets: offsets.slice(0, 1) };
    expect(await http.problem('PUT', `${group}/offsets`, { body: other })).toMatchObject({
      code: 'fenced_member_epoch',
      status: 409,
    });
    const unowned = { offsets: offsets.slice(0, 1) };
    expect(await http.problem('PUT', `${group}/offsets`, { body: unowned })).toMatchObject({
      code: 'group_not_empty',
      status: 409,
    });
    expect((await http.call<OffsetsPage>('GET', `${group}/offsets`)).json).toEqual({
      items: [{ topic, partition: 1, offset: 1, leaderEpoch: 3, metadata: 'é', committedAtMs: expect.any(Number) }],
    });

    const lag = (await http.call<LagOutput>('GET', `${group}/lag`)).json;
    expect(lag).toMatchObject({ totalLagRecords: 1, partitionsWithLag: 1, partitionsWithoutOffset: 2 });
    expect(lag.partitions[1]).toMatchObject({ committedOffset: 1, highWatermark: 2, lagRecords: 1, memberId: 'one' });
    expect(lag.partitions[0]).toMatchObject({ committedOffset: null, lagRecords: null });
    const { json: untimed } = await http.call<LagOutput>('GET', `${group}/lag?withTimes=false`);
    expect([untimed.maxLagMs, untimed.totalLagRecords]).toEqual([null, 1]);

    const { json: described } = await http.call<GroupOutput>('GET', group);
    expect(described).toMatchObject({
      group: topic,
      assignor: 'uniform',
      members: [{ memberId: 'one', instanceId: null, memberEpoch, topics: [topic] }],
    });
    for (const [method, path] of [
      ['DELETE', group],
      ['DELETE', `${group}/offsets?topic=${topic}`],
    ] as const)
      expect(await http.problem(method, path)).toMatchObject({ code: 'group_not_empty' });

    expect((await http.call('DELETE', member)).status).toBe(204);
    expect(await http.problem('DELETE', member)).toMatchObject({ code: 'unknown_member', status: 404 });
    const late = { memberEpoch, owned: assignment };
    expect(await http.problem('PUT', member, { body: late })).toMatchObject({ code: 'unknown_member', status: 404 });
    expect((await http.call('DELETE', group)).status).toBe(204);
    expect(await http.problem('DELETE', group)).toMatchObject({ code: 'unknown_group' });
  });

  test('two members share partitions, each of one of them', async (http, topic) => {
    await http.topic(topic, 4);
    const at = (member: string): string => `/v1/groups/${topic}/members/${member}`;
    let [one, two] = [await joined(http, at('one'), [topic], 4), await joined(http, at('two'), [topic], 0)];
    const counts = (): (number | undefined)[] => [one, two].map(({ assignment }) => assignment[0]?.partitions.length);
    for (let i = 0; i < HEARTBEATS_MAX && counts().join() !== '2,2'; i++) {
      for (const member of ['one', 'two']) {
        const { memberEpoch, assignment } = member === 'one' ? one : two;
        const { json } = await http.call<HeartbeatOutput>('PUT', at(member), {
          body: { memberEpoch, owned: assignment },
        });
        if (member === 'one') one = json;
        else two = json;
        const all = [one, two].flatMap((each) => each.assignment.flatMap(({ partitions }) => partitions));
        expect(new Set(all).size).toBe(all.length);
        await pause(json);
      }
    }
    expect(counts()).toEqual([2, 2]);
  });

  test('polls in one call: joins, reads, commits what the last poll gave', async (http, topic) => {
    await http.topic(topic, 2);
    await http.append(
      topic,
      [0, 0, 0, 1].map((partition, i) => ({ key: `k${i}`, value: { i }, partition })),
    );
    const group = `/v1/groups/${topic}`;
    const poll = async (body: object): Promise<PollOutput> =>
      (await http.call<PollOutput>('POST', `${group}/poll`, { body: { waitMs: 5_000, ...body } })).json;
    let answer = await poll({ topics: [topic], memberId: 'cron', maxRecords: 2, leaseMs: 60_000 });
    expect([answer.memberId, answer.isSettled, answer.commits]).toEqual(['cron', true, []]);
    expect(answer.assignment).toMatchObject([{ topic, partitions: [0, 1] }]);
    expect(answer.leaseExpiresAtMs).toBeGreaterThan(1_000_000_000_000);
    const seen: string[] = [];
    const note = ({ partitions }: PollOutput): void => {
      for (const { partition, records, nextOffset } of partitions) {
        for (const { offset, key, value } of records)
          seen.push(`${partition} ${offset} ${key} ${JSON.stringify(value)}`);
        expect(records.at(-1)?.offset).toBe(nextOffset - 1);
      }
    };
    note(answer);
    expect(seen).toHaveLength(2);
    const extended = await http.call<ExtendOutput>('POST', `${group}/members/cron/extend`, {
      body: { token: answer.token },
    });
    expect(extended.json.leaseExpiresAtMs).toBeGreaterThanOrEqual(answer.leaseExpiresAtMs);
    expect(
      await http.problem('POST', `${group}/members/other/extend`, { body: { token: answer.token } }),
    ).toMatchObject({ code: 'invalid_request', field: 'token' });
    for (let i = 0; i < 10 && seen.length < 4; i++) {
      answer = await poll({ after: answer.token, encoding: null });
      expect(answer.commits.every((commit) => !('error' in commit))).toBe(true);
      note(answer);
    }
    expect(seen.sort()).toEqual(['0 0 k0 {"i":0}', '0 1 k1 {"i":1}', '0 2 k2 {"i":2}', '1 0 k3 {"i":3}']);
    const last = await poll({ after: answer.token, maxRecords: 0, waitMs: 0 });
    expect(last.partitions).toEqual([]);
    expect((await http.call<LagOutput>('GET', `${group}/lag`)).json).toMatchObject({ totalLagRecords: 0 });

    await http.append(topic, [{ value: 'x', partition: 0 }]);
    const once = await poll({ after: last.token, commit: 'at_once', encoding: 'base64' });
    expect(once.partitions).toMatchObject([{ partition: 0, records: [{ offset: 3, value: { $base64: 'eA==' } }] }]);
    expect(once.commits).toEqual([{ topic, partition: 0, offset: 4 }]);
    for (const [body, field] of [
      [{}, 'topics'],
      [{ after: 'x' }, 'after'],
      [{ topics: [topic], after: once.token, memberId: 'other' }, 'after'],
      [{ topics: [topic], waitMs: 20_001 }, 'waitMs'],
      [{ topics: [topic], commit: 'never' }, 'commit'],
    ] as const)
      expect(await http.problem('POST', `${group}/poll`, { body })).toMatchObject({ code: 'invalid_request', field });
    expect((await http.call('DELETE', `${group}/members/cron`)).status).toBe(204);
  });

  test('a static member comes back, and nobody else can use its instance id', async (http, topic) => {
    await http.topic(topic);
    const at = (member: string): string => `/v1/groups/${topic}/members/${member}`;
    const join = { memberEpoch: 0, topics: [topic], instanceId: 'i' };
    expect((await http.call('PUT', at('one'), { body: join })).status).toBe(200);
    expect(await http.problem('PUT', at('two'), { body: join })).toMatchObject({
      code: 'instance_in_use',
      status: 409,
    });
    expect(await http.problem('DELETE', `${at('one')}?willReturn=true`)).toMatchObject({ field: 'willReturn' });
    expect((await http.call('DELETE', `${at('one')}?instanceId=i&willReturn=true`)).status).toBe(204);
    expect((await http.call('PUT', at('two'), { body: join })).status).toBe(200);
    expect(await http.problem('DELETE', `${at('one')}?instanceId=i`)).toMatchObject({ code: 'fenced_member_epoch' });
  });

  test('resets and deletes offsets of a group without members', async (http, topic) => {
    await http.topic(topic, 2);
    await http.append(
      topic,
      ['a', 'b', 'c'].map((value) => ({ value, partition: 0, timestamp: 1_000 })),
    );
    const path = `/v1/groups/${topic}/offsets`;
    const reset = (how: object): Promise<{ readonly json: ResetOutput }> =>
      http.call<ResetOutput>('POST', `${path}/reset`, { body: { topics: [{ topic }], ...how } });
    const stored = async (): Promise<(number | null)[]> =>
      (await http.call<OffsetsPage>('GET', path)).json.items.map(({ offset }) => offset);
    expect(await http.problem('POST', `${path}/reset`, { body: { topics: [{ topic }], to: 'latest' } })).toMatchObject({
      code: 'unknown_group',
    });
    await http.call('PUT', path, { body: { offsets: [{ topic, partition: 0, offset: 1 }] } });
    expect((await reset({ to: 'latest', dryRun: true })).json).toEqual({
      dryRun: true,
      partitions: [
        { topic, partition: 0, oldOffset: 1, newOffset: 3 },
        { topic, partition: 1, oldOffset: null, newOffset: 0 },
      ],
    });
    expect(await stored()).toEqual([1]);
    expect((await reset({ shiftBy: 9 })).json.partitions).toEqual([
      { topic, partition: 0, oldOffset: 1, newOffset: 3, clampedTo: 'high_watermark' },
      { topic, partition: 1, oldOffset: null, newOffset: null },
    ]);
    await reset({ timestamp: 500, dryRun: false });
    expect(await stored()).toEqual([0, 0]);
    const one = { topics: [{ topic, partitions: [0] }], offset: 2, dryRun: null };
    expect((await http.call<ResetOutput>('POST', `${path}/reset`, { body: one })).json.partitions).toEqual([
      { topic, partition: 0, oldOffset: 0, newOffset: 2 },
    ]);
    for (const wrong of [{}, { to: 'latest', offset: 1 }, { offset: 1, shiftBy: 0 }])
      expect(await http.problem('POST', `${path}/reset`, { body: { topics: [{ topic }], ...wrong } })).toMatchObject({
        code: 'invalid_request',
        field: 'to',
      });

    const deleted = await http.call<OffsetsOutput>('DELETE', `${path}?topic=${topic}&partition=0`);
    expect([deleted.json.offsets, await stored()]).toEqual([[{ topic, partition: 0 }], [0]]);
    expect((await http.call<OffsetsOutput>('DELETE', `${path}?topic=${topic}`)).json.offsets).toHaveLength(2);
    expect(await stored()).toEqual([]);
    expect(await http.problem('DELETE', `${path}?topic=${topic}&partition=9`)).toMatchObject({
      code: 'unknown_partition',
    });
  });

  test('lists groups in pages, also those with names that paths need encoded', async (http, prefix) => {
    await http.topic(prefix);
    const names = ['a/b', 'a%2Fb', '..x', 'a b+c', 'ü#?&', '日本', '💣', "';--", '<b>', 'constructor'].map(
      (rest) => `${prefix} ${rest}`,
    );
    for (const name of names) {
      const path = `/v1/groups/${encodeURIComponent(name)}`;
      const body = { offsets: [{ topic: prefix, partition: 0, offset: 0 }] };
      expect((await http.call('PUT', `${path}/offsets`, { body })).status).toBe(200);
      expect((await http.call<GroupOutput>('GET', path)).json).toMatchObject({ group: name, state: 'empty' });
    }
    const found: string[] = [];
    for (let query = 'limit=3'; ; ) {
      const { json } = await http.call<GroupPage>('GET', `/v1/groups?${query}`);
      expect(json.items.length).toBeLessThanOrEqual(3);
      found.push(...json.items.map(({ group }) => group));
      if (json.nextPageToken === undefined) break;
      query = `limit=3&pageToken=${encodeURIComponent(json.nextPageToken)}`;
    }
    expect(found.filter((name) => name.startsWith(`${prefix} `)).sort()).toEqual([...names].sort());
  });

  test('rejects what it cannot take, and names it', async (http, topic) => {
    const group = `/v1/groups/${topic}`;
    for (const name of ['%00', 'a%0A', '%E2%80%8B', 'x'.repeat(256), 'ü'.repeat(128)])
      expect(await http.problem('GET', `/v1/groups/${name}`)).toMatchObject({
        code: 'invalid_request',
        field: 'group',
      });
    for (const name of ['%00', 'x'.repeat(256)])
      expect(
        await http.problem('PUT', `${group}/members/${name}`, { body: { memberEpoch: 0, topics: ['t'] } }),
      ).toMatchObject({ code: 'invalid_request' });
    const offset = { topic: 't', partition: 0, offset: 0 };
    for (const [path, body, field] of [
      ['members/m', {}, 'memberEpoch'],
      ['members/m', { memberEpoch: 0 }, 'topics'],
      ['members/m', { memberEpoch: -1, topics: ['t'] }, 'memberEpoch'],
      ['members/m', { memberEpoch: 0, topics: ['a/b'] }, 'topics[0]'],
      ['members/m', { memberEpoch: 0, topics: ['t'], assignor: 'best' }, 'assignor'],
      ['members/m', { memberEpoch: 0, topics: ['t'], sessionTimeoutMs: 1 }, 'sessionTimeoutMs'],
      [
        'members/m',
        { memberEpoch: 0, topics: ['t'], owned: [{ topicId: 't', partitions: [-1] }] },
        'owned[0].partitions[0]',
      ],
      ['members/m', { memberEpoch: 0, topics: ['t'], x: 1 }, 'x'],
      ['offsets', { offsets: [] }, 'offsets'],
      ['offsets', { offsets: [{ ...offset, offset: 2 ** 53 }] }, 'offsets[0].offset'],
      ['offsets', { offsets: [offset, offset] }, 'offsets'],
      ['offsets', { offsets: [{ ...offset, metadata: 'ü'.repeat(2_049) }] }, 'offsets.metadata'],
      ['offsets', { memberEpoch: 1, offsets: [offset] }, 'memberEpoch'],
      ['offsets', { instanceId: 'i', offsets: [offset] }, 'instanceId'],
      ['offsets', { memberId: 'm', offsets: [offset] }, 'memberEpoch'],
    ] as const)
      expect(await http.problem('PUT', `${group}/${path}`, { body })).toMatchObject({ code: 'invalid_request', field });
    expect((await http.call('PUT', `${group}/offsets`, { body: 'x', type: 'text/plain' })).status).toBe(415);
    expect(await http.problem('GET', group)).toMatchObject({ code: 'unknown_group' });
  });
}
