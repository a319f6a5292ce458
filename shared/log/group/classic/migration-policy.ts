/**
 * Which changes a group may make between the two protocols while it has members: Kafka's `group.consumer.migration.policy`.
 * `upgrade`: from the classic protocol to KIP-848, with the first member by that. `downgrade`: back, when the last such member is
 * gone. A group without members takes the protocol of its first one, whatever the policy is.
 */
export const MIGRATION_POLICIES = ['disabled', 'upgrade', 'downgrade', 'bidirectional'] as const;

export type MigrationPolicy = (typeof MIGRATION_POLICIES)[number];

export function allowsUpgrade(policy: MigrationPolicy): boolean {
  return policy === 'upgrade' || policy === 'bidirectional';
}

export function allowsDowngrade(policy: MigrationPolicy): boolean {
  return policy === 'downgrade' || policy === 'bidirectional';
}
