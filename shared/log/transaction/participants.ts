import { ByteFormatError, ByteReader, ByteWriter } from '../bytes.ts';
import { EventLogError } from '../errors.ts';
import type { HeadParticipant, PageParticipant, Participants } from './transaction.ts';

const VERSION = 1;

/** The number of heads, pages and groups. */
export function participantCount({ heads, pages, groups }: Participants): number {
  return heads.length + pages.length + groups.length;
}

/** Those of `wanted` that `known` lacks, each once. */
export function missingParticipants(known: Participants, wanted: Participants): Participants {
  const names = namesOf(known);
  const added = new Set<string>();
  const isNew = (name: string): boolean => !names.has(name) && added.size < added.add(name).size;
  return {
    heads: wanted.heads.filter((head) => isNew(headName(head))),
    pages: wanted.pages.filter((page) => isNew(pageName(page))),
    groups: wanted.groups.filter((group) => isNew(groupName(group))),
  };
}

export function addParticipants(known: Participants, added: Participants): Participants {
  return {
    heads: [...known.heads, ...added.heads],
    pages: [...known.pages, ...added.pages],
    groups: [...known.groups, ...added.groups],
  };
}

/** Each batch of a transaction asks the same participants. */
const NAMES = new WeakMap<Participants, ReadonlySet<string>>();

function namesOf(participants: Participants): ReadonlySet<string> {
  let names = NAMES.get(participants);
  if (names === undefined) {
    const { heads, pages, groups } = participants;
    names = new Set([...heads.map(headName), ...pages.map(pageName), ...groups.map(groupName)]);
    NAMES.set(participants, names);
  }
  return names;
}

/** The names of topics and ids contain no line break, and the group comes last. */
function headName({ topicId, headNumber }: HeadParticipant): string {
  return `h\n${topicId}\n${headNumber}`;
}

function pageName({ group, topicId, page }: PageParticipant): string {
  return `p\n${topicId}\n${page}\n${group}`;
}

function groupName(group: string): string {
  return `g\n${group}`;
}

/**
 * version uint8 = 1 · count of topics, for each: id, name, count of heads, head numbers · count of groups with pages, for
 * each: id, count of topics, for each: id, count of pages, pages · count of named groups, their ids. A number is a varuint; a
 * text is its length in bytes as a varuint, and UTF-8. Persisted in the items of transactional ids.
 *
 * Participants come back ordered by topic and by group, each in the order of its first one.
 */
export function packParticipants({ heads, pages, groups }: Participants): Uint8Array {
  const writer = new ByteWriter(512);
  writer.uint8(VERSION);
  const topics = grouped(heads, ({ topicId }) => topicId);
  writer.varuint(topics.length);
  for (const [topicId, ofTopic] of topics) {
    writer.text(topicId);
    writer.text((ofTopic[0] as HeadParticipant).topic);
    writeNumbers(
      writer,
      ofTopic.map(({ headNumber }) => headNumber),
    );
  }
  const paged = grouped(pages, ({ group }) => group);
  writer.varuint(paged.length);
  for (const [group, ofGroup] of paged) {
    writer.text(group);
    const ofTopics = grouped(ofGroup, ({ topicId }) => topicId);
    writer.varuint(ofTopics.length);
    for (const [topicId, ofTopic] of ofTopics) {
      writer.text(topicId);
      writeNumbers(
        writer,
        ofTopic.map(({ page }) => page),
      );
    }
  }
  writer.varuint(groups.length);
  for (const group of groups) writer.text(group);
  return writer.finish();
}

/** @throws EventLogError `corrupt_data` */
export function unpackParticipants(packed: Uint8Array): Participants {
  try {
    const reader = new ByteReader(packed);
    const version = reader.uint8();
    if (version !== VERSION) throw new ByteFormatError(`version ${version} is not known`);
    const heads: HeadParticipant[] = [];
    const pages: PageParticipant[] = [];
    for (let topics = readCount(reader); topics > 0; topics--) {
      const [topicId, topic] = [reader.text(), reader.text()];
      for (const headNumber of readNumbers(reader)) heads.push({ topicId, topic, headNumber });
    }
    for (let paged = readCount(reader); paged > 0; paged--) {
      const group = reader.text();
      for (let topics = readCount(reader); topics > 0; topics--) {
        const topicId = reader.text();
        for (const page of readNumbers(reader)) pages.push({ group, topicId, page });
      }
    }
    const groups = Array.from({ length: readCount(reader) }, () => reader.text());
    if (reader.remaining > 0) throw new ByteFormatError(`${reader.remaining} bytes are left`);
    return { heads, pages, groups };
  } catch (cause) {
    throw new EventLogError('corrupt_data', 'The participants of a transaction are damaged.', { cause });
  }
}

function grouped<T>(all: readonly T[], keyOf: (one: T) => string): [string, T[]][] {
  const groups = new Map<string, T[]>();
  for (const one of all) {
    const group = groups.get(keyOf(one));
    if (group === undefined) groups.set(keyOf(one), [one]);
    else group.push(one);
  }
  return [...groups];
}

function writeNumbers(writer: ByteWriter, numbers: readonly number[]): void {
  writer.varuint(numbers.length);
  for (const number of numbers) writer.varuint(number);
}

function readNumbers(reader: ByteReader): number[] {
  return Array.from({ length: readCount(reader) }, () => reader.varuint());
}

/** Each of what is counted takes at least a byte: damaged bytes must not make a huge list. */
function readCount(reader: ByteReader): number {
  const count = reader.varuint();
  if (count > reader.remaining) throw new ByteFormatError(`${count} elements do not fit ${reader.remaining} bytes`);
  return count;
}
