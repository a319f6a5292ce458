import type { Broker } from '../../shared/broker/broker.ts';

/** The settings that a topic itself sets. */
export async function ownSettings(broker: Broker, topic: string): Promise<Record<string, string | number>> {
  const { config } = await broker.describeTopic(topic);
  return Object.fromEntries(
    Object.entries(config).flatMap(([name, { value, source }]) => (source === 'topic' ? [[name, value]] : [])),
  );
}
