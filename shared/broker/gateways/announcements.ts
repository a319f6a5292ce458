import type { AnnouncedGateway } from '../../log/gateways/sightings.ts';
import { GATEWAY, GATEWAYS, gatewayKey } from '../../storage/keys.ts';
import type { BrokerContext } from '../context.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';

export type { AnnouncedGateway };

/** The store may remove what a gateway that died has left after so long. */
const KEPT_MS = 3_600_000;
const GATEWAYS_PER_QUERY = 500;

export type GatewayAnnouncement = Omit<AnnouncedGateway, 'announcedAtMs'>;

/** Tells the other gateways of this log of one. 1 PutItem. Announcements that are late or repeated do no harm. */
export async function announceGateway(context: BrokerContext, gateway: GatewayAnnouncement): Promise<void> {
  const { items } = context.usage.of(NO_TOPIC, 'admin');
  const nowMs = context.clock.nowMs();
  await items.put(gatewayKey(gateway.id), {
    [GATEWAY.host]: gateway.host,
    [GATEWAY.port]: gateway.port,
    [GATEWAY.beat]: gateway.beat,
    [GATEWAY.announcedAtMs]: nowMs,
    [GATEWAY.expiresAt]: Math.ceil((nowMs + KEPT_MS) / 1_000),
  });
}

/** What all gateways last announced, also those that are gone. 1 Query for every 500. */
export async function announcedGateways(context: BrokerContext): Promise<AnnouncedGateway[]> {
  const { items } = context.usage.of(NO_TOPIC, 'admin');
  const gateways: AnnouncedGateway[] = [];
  for (let from = '', more = true; more; ) {
    const page = await items.query({ pk: GATEWAYS, from, limit: GATEWAYS_PER_QUERY });
    for (const { sk: id, attributes } of page.items)
      gateways.push({
        id,
        host: String(attributes[GATEWAY.host]),
        port: Number(attributes[GATEWAY.port]),
        beat: Number(attributes[GATEWAY.beat]),
        announcedAtMs: Number(attributes[GATEWAY.announcedAtMs]),
      });
    from = `${page.items.at(-1)?.sk}\0`;
    more = page.more;
  }
  return gateways;
}

/** Takes back what a gateway announced, because it is going. 1 DeleteItem. */
export async function withdrawGateway(context: BrokerContext, id: string): Promise<void> {
  await context.usage.of(NO_TOPIC, 'admin').items.delete(gatewayKey(id));
}
