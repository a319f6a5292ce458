import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../../../../../shared/log/bytes.ts';
import {
  packAssignment,
  packRoster,
  type Roster,
  unpackAssignment,
  unpackRoster,
} from '../../../../../shared/log/group/classic/generation.ts';
import { packProtocols, unpackProtocols } from '../../../../../shared/log/group/classic/protocols.ts';

/** See `formats.test.ts`. In JSON, bytes are hex and maps are objects. */
function golden<Value>(file: string): readonly { readonly hex: string; readonly value: Value }[] {
  const text = readFileSync(new URL(`../../../../fixtures/formats/${file}`, import.meta.url), 'utf8');
  return (JSON.parse(text) as { cases: { hex: string; value: Value }[] }).cases;
}

type WithHex<Value> = { readonly [Name in keyof Value]: Value[Name] extends Uint8Array ? string : Value[Name] };

describe('golden bytes', () => {
  it.each(golden<readonly { name: string; metadata: string }[]>('classic-protocols-v1.json'))(
    'protocols $hex',
    ({ hex, value }) => {
      const protocols = value.map(({ name, metadata }) => ({ name, metadata: fromHex(metadata) }));
      expect(toHex(packProtocols(protocols))).toBe(hex);
      expect(unpackProtocols(fromHex(hex))).toEqual(protocols);
    },
  );

  type RosterJson = Pick<Roster, 'rejected'> & { readonly members: readonly WithHex<Roster['members'][number]>[] };
  it.each(golden<RosterJson>('classic-roster-v1.json'))('roster $hex', ({ hex, value }) => {
    const members = value.members.map((member) => ({ ...member, metadata: fromHex(member.metadata) }));
    const roster = { ...value, members };
    expect(toHex(packRoster(roster))).toBe(hex);
    expect(unpackRoster(fromHex(hex))).toEqual(roster);
  });

  it.each(golden<Readonly<Record<string, string>>>('classic-assignment-v1.json'))(
    'assignment $hex',
    ({ hex, value }) => {
      const assignment = new Map(Object.entries(value).map(([key, bytes]) => [key, fromHex(bytes)]));
      expect(toHex(packAssignment(assignment))).toBe(hex);
      expect(unpackAssignment(fromHex(hex))).toEqual(assignment);
    },
  );
});

describe('damaged bytes', () => {
  const roster = packRoster({ members: [{ key: 'c:a', memberId: 'a', metadata: new Uint8Array(3) }], rejected: [] });
  it.each([
    ['protocols', packProtocols([{ name: 'range', metadata: new Uint8Array(3) }]), unpackProtocols],
    ['roster', roster, unpackRoster],
    ['assignment', packAssignment(new Map([['c:a', new Uint8Array(3)]])), unpackAssignment],
  ] as const)('are found: %s', (_, packed, unpack) => {
    for (let i = 0; i < packed.length; i++) {
      const damaged = packed.slice();
      damaged[i] = (damaged[i] as number) ^ 1;
      expect(() => unpack(damaged)).toThrow(expect.objectContaining({ code: 'corrupt_data' }));
      expect(() => unpack(packed.subarray(0, i))).toThrow(expect.objectContaining({ code: 'corrupt_data' }));
    }
  });

  it('are found if one kind is taken for the other', () => {
    expect(() => unpackAssignment(roster)).toThrow(expect.objectContaining({ code: 'corrupt_data' }));
  });
});
