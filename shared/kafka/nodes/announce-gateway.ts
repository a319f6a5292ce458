import type { Broker } from '../../broker/broker.ts';
import { ANNOUNCE_MS, GatewaySightings } from '../../log/gateways/sightings.ts';
import type { Clock, Random } from '../../storage/ports.ts';
import type { GatewayNode } from '../gateway.ts';
import { nodeIdOf, nodesByAddress } from './nodes-by-address.ts';

export interface GatewayToAnnounce {
  readonly broker: Pick<Broker, 'announceGateway' | 'announcedGateways' | 'withdrawGateway'>;
  readonly clock: Clock;
  readonly random: Random;
  /** Where clients reach it. */
  readonly host: string;
  readonly port: number;
  /** Called when an announcement or a look has failed. It is tried again; meanwhile others may take this gateway for gone. */
  readonly onError: (error: unknown) => void;
}

export interface AnnouncedSelf {
  readonly self: GatewayNode;
  /** The gateways of this log as they were seen last, this one among them until it leaves. */
  nodes(): readonly GatewayNode[];
  /** Takes this gateway from the list, so that clients go to others: they hear of it within `ANNOUNCE_MS`. May be called again. */
  leave(): Promise<void>;
}

const ID_BYTES = 12;

/**
 * Puts a gateway on the list of all gateways of its log, and keeps it there until it leaves. Costs 1 PutItem and 1 Query every
 * 5 s: for a gateway that always runs about 0.4 dollars a month (us-east-1, on demand). One that dies is on the list of the
 * others for up to 20 s.
 * @throws EventLogError `storage_unavailable` if it cannot be put on the list at first
 */
export async function announceSelf(gateway: GatewayToAnnounce): Promise<AnnouncedSelf> {
  const { broker, clock, random, host, port, onError } = gateway;
  const id = Buffer.from(random.bytes(ID_BYTES)).toString('base64url');
  const self: GatewayNode = { nodeId: nodeIdOf({ host, port }), host, port };
  const sightings = new GatewaySightings();
  let others: readonly GatewayNode[] = [];
  let nodes: readonly GatewayNode[] = [self];
  const round = async (beat: number): Promise<void> => {
    await broker.announceGateway({ id, host, port, beat });
    sightings.look(await broker.announcedGateways(), clock.nowMs());
    others = sightings.live
      .filter((live) => live.id !== id)
      .map((live) => ({ nodeId: nodeIdOf(live), host: live.host, port: live.port }));
    nodes = nodesByAddress([self, ...others]);
  };
  await round(0);
  const leaving = new AbortController();
  const goOn = async (): Promise<void> => {
    for (let beat = 1; ; beat++) {
      await clock.sleep(ANNOUNCE_MS, leaving.signal);
      if (leaving.signal.aborted) return;
      await round(beat).catch(onError);
    }
  };
  const announcing = goOn();
  const leave = async (): Promise<void> => {
    leaving.abort();
    // An announcement that is under way would put it on the list again.
    await announcing;
    // A client that hears of no gateway at all gives up.
    if (others.length > 0) nodes = nodesByAddress(others);
    await broker.withdrawGateway(id);
  };
  return { self, nodes: () => nodes, leave };
}
