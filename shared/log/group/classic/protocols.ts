import { ByteFormatError, ByteWriter, equalBytes } from '../../bytes.ts';
import { EventLogError, invalidField } from '../../errors.ts';
import { CLASSIC_METADATA_BYTES_MAX, CLASSIC_PROTOCOLS_MAX } from '../../limits.ts';
import { readerOfChecked, withCrc } from '../checked-bytes.ts';

/** A protocol that a member of a classic group supports: for consumers, an assignor and what the member subscribes to. */
export interface ClassicProtocol {
  readonly name: string;
  /** Only the members' leader understands it. */
  readonly metadata: Uint8Array;
}

const NAME_LENGTH_MAX = 255;

/** @throws EventLogError `invalid_request` naming `protocols` */
export function checkProtocols(protocols: readonly ClassicProtocol[]): void {
  if (protocols.length < 1 || protocols.length > CLASSIC_PROTOCOLS_MAX)
    throw invalidField(
      'protocols',
      `A member supports 1 to ${CLASSIC_PROTOCOLS_MAX} protocols; this one names ${protocols.length}.`,
      { max: CLASSIC_PROTOCOLS_MAX },
    );
  let bytes = 0;
  for (const { name, metadata } of protocols) {
    if (name === '' || name.length > NAME_LENGTH_MAX)
      throw invalidField('protocols', `The name of a protocol has 1 to ${NAME_LENGTH_MAX} characters.`);
    bytes += name.length + metadata.length;
  }
  if (new Set(protocols.map(({ name }) => name)).size < protocols.length)
    throw invalidField('protocols', '`protocols` names a protocol twice; name each once.');
  if (bytes > CLASSIC_METADATA_BYTES_MAX)
    throw invalidField(
      'protocols',
      `The protocols of a member can have at most ${CLASSIC_METADATA_BYTES_MAX} bytes together; these have ${bytes}. Subscribe to fewer topics, or offer fewer protocols.`,
      { bytesMax: CLASSIC_METADATA_BYTES_MAX },
    );
}

export function sameProtocols(a: readonly ClassicProtocol[], b: readonly ClassicProtocol[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ name, metadata }, i) => name === b[i]?.name && equalBytes(metadata, (b[i] as ClassicProtocol).metadata))
  );
}

/** `undefined`: it does not support the protocol. */
export function metadataOf(protocols: readonly ClassicProtocol[], name: string): Uint8Array | undefined {
  return protocols.find((protocol) => protocol.name === name)?.metadata;
}

/**
 * Chooses among the protocols that all members support: each member votes for the first of them in its own order. The one
 * with the most votes wins, the first by name among equals. Undefined if there is no protocol that all support.
 */
export function chooseProtocol(members: readonly (readonly ClassicProtocol[])[]): string | undefined {
  const [first = [], ...others] = members;
  const shared = new Set(
    first.map(({ name }) => name).filter((name) => others.every((protocols) => metadataOf(protocols, name))),
  );
  const votes = new Map<string, number>();
  for (const protocols of members) {
    const vote = protocols.find(({ name }) => shared.has(name))?.name;
    if (vote !== undefined) votes.set(vote, (votes.get(vote) ?? 0) + 1);
  }
  const [chosen] = [...votes].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
  return chosen?.[0];
}

const VERSION = 1;

/** The packed form is persisted in members' items (`docs/format.md`), in the member's order. */
export function packProtocols(protocols: readonly ClassicProtocol[]): Uint8Array {
  const writer = new ByteWriter();
  writer.uint8(VERSION);
  writer.varuint(protocols.length);
  for (const { name, metadata } of protocols) {
    writer.text(name);
    writer.varuint(metadata.length);
    writer.write(metadata);
  }
  return withCrc(writer.finish());
}

/** @throws EventLogError `corrupt_data` */
export function unpackProtocols(packed: Uint8Array): ClassicProtocol[] {
  try {
    const reader = readerOfChecked(packed);
    const version = reader.uint8();
    if (version !== VERSION) throw new ByteFormatError(`version ${version} is not ${VERSION}`);
    const protocols: ClassicProtocol[] = [];
    for (let left = reader.varuint(); left > 0; left--) {
      const name = reader.text();
      protocols.push({ name, metadata: reader.view(reader.varuint()).slice() });
    }
    if (reader.remaining > 0) throw new ByteFormatError(`${reader.remaining} bytes follow the last protocol`);
    return protocols;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EventLogError('corrupt_data', `The protocols of a member cannot be read: ${why}.`, { cause });
  }
}
