import type { Group } from '../../../../shared/log/group/group.ts';
import type { Member } from '../../../../shared/log/group/member.ts';
import { subscriptionHash } from '../../../../shared/log/group/subscription.ts';
import { unpackTarget } from '../../../../shared/log/group/target.ts';

interface KnownMember {
  readonly isLive: boolean;
  readonly subscriptionHash: number;
  /** When it last came, went, or changed its subscription, */
  readonly changedAt: number;
  /** and when it last came or went, in the order of writes. */
  readonly lifeFrom: number;
}

/**
 * Judges the epochs of a group: a target knows every change of the members up to the epoch that it names, no older target
 * replaces a newer one, and who has joined has raised the epoch.
 */
export class TargetWatch {
  private readonly broken: (message: string) => void;
  private writes = 0;
  private lastRaiseAt = 0;
  /** The epoch of the group -> the write by which it came about. */
  private readonly reachedAt = new Map<number, number>();
  private readonly members = new Map<string, KnownMember>();
  /** Sort key -> a part of a target. */
  private readonly parts = new Map<string, Uint8Array>();

  constructor(broken: (message: string) => void) {
    this.broken = broken;
  }

  get partsLeft(): number {
    return this.parts.size;
  }

  wrotePart(sk: string, part: unknown): void {
    if (part instanceof Uint8Array) this.parts.set(sk, part);
    else this.parts.delete(sk);
  }

  /** `undefined`: its item was deleted. */
  wroteMember(key: string, member: Member | undefined): void {
    const at = ++this.writes;
    const known = this.members.get(key);
    const isLive = member !== undefined && !member.isGone;
    const hash = member === undefined ? 0 : subscriptionHash(member.subscription);
    const isSameLife = (known?.isLive ?? false) === isLive;
    if (known !== undefined && isSameLife && known.subscriptionHash === hash) return;
    const lifeFrom = known !== undefined && isSameLife ? known.lifeFrom : at;
    this.members.set(key, { isLive, subscriptionHash: hash, changedAt: at, lifeFrom });
  }

  wroteGroup(before: Group | undefined, after: Group): void {
    const at = ++this.writes;
    if (after.epoch > (before?.epoch ?? 0)) {
      this.lastRaiseAt = at;
      for (let epoch = (before?.epoch ?? 0) + 1; epoch <= after.epoch; epoch++) this.reachedAt.set(epoch, at);
    }
    const was = before?.targetEpoch ?? 0;
    if (after.targetEpoch < was) this.broken(`The epoch of the target went from ${was} to ${after.targetEpoch}.`);
    if (after.targetEpoch > after.epoch)
      this.broken(`The target is of epoch ${after.targetEpoch}, and the group has reached ${after.epoch} only.`);
    if (after.target !== undefined && after.target.name !== before?.target?.name) this.judgeTarget(after);
  }

  /** Which life of the member this is; `undefined` if it is not there. */
  lifeOf(key: string): number | undefined {
    const known = this.members.get(key);
    return known?.isLive ? known.lifeFrom : undefined;
  }

  /** A member was told that it has joined. */
  joined(key: string): void {
    const life = this.lifeOf(key);
    if (life !== undefined && life > this.lastRaiseAt)
      this.broken(`${key} has joined, and the epoch of the group was not raised.`);
  }

  private judgeTarget({ target, targetEpoch }: Group): void {
    if (target === undefined) return;
    const names = Array.from({ length: target.parts }, (_, i) => `${target.name}#${i.toString().padStart(4, '0')}`);
    const parts = names.flatMap((name) => this.parts.get(name) ?? []);
    if (parts.length < names.length) {
      this.broken(`The target of epoch ${targetEpoch} is not there.`);
      return;
    }
    const given = new Map(unpackTarget(Buffer.concat(parts)).members.map((each) => [each.key, each.subscriptionHash]));
    const reachedAt = this.reachedAt.get(targetEpoch) ?? 0;
    for (const [key, known] of this.members) {
      // What came later may be known to it or not.
      if (known.changedAt > reachedAt) continue;
      if (given.has(key) !== known.isLive || (known.isLive && given.get(key) !== known.subscriptionHash))
        this.broken(`The target of epoch ${targetEpoch} does not know what ${key} was before that epoch.`);
    }
  }
}
