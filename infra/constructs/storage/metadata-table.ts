import { RemovalPolicy } from 'aws-cdk-lib';
import { AttributeType, BillingMode, StreamViewType, Table, TableEncryption } from 'aws-cdk-lib/aws-dynamodb';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { IDEMPOTENCY } from '../../../shared/storage/keys.ts';
import { acknowledge } from '../acknowledge.ts';

export interface MetadataTableProps {
  /** What happens to the table when it is removed from the stack. @default RemovalPolicy.RETAIN */
  readonly removalPolicy?: RemovalPolicy;
  /** Whether the table is protected from deletion by everyone. @default true */
  readonly deletionProtection?: boolean;
  /** Whether the table can be restored to any second of the last 35 days, at $0.20 per GB and month. @default true */
  readonly pointInTimeRecovery?: boolean;
  /**
   * Your key, which encrypts the table. DynamoDB keeps the decrypted key of the table for each role, so few requests go to
   * KMS. If the key is disabled, no record can be appended or read. @default - a key that DynamoDB owns, at no cost
   */
  readonly encryptionKey?: IKey;
  /**
   * Whether a stream publishes the keys of changed items. It starts merges; without it only the schedule does, and busy
   * heads wait longer. It costs nothing. @default true
   */
  readonly stream?: boolean;
}

/**
 * The table of topics, heads, tail nodes, inline batches and all other items (`shared/storage/keys.ts`). Its capacity is
 * on demand, so that an idle log costs only its stored data.
 */
export class MetadataTable extends Construct {
  readonly table: Table;

  constructor(scope: Construct, id: string, props: MetadataTableProps = {}) {
    super(scope, id);
    // `TableV2` would make a global table, which not every emulator supports.
    this.table = new Table(this, 'Table', {
      partitionKey: { name: 'pk', type: AttributeType.STRING },
      sortKey: { name: 'sk', type: AttributeType.STRING },
      billingMode: BillingMode.PAY_PER_REQUEST,
      timeToLiveAttribute: IDEMPOTENCY.expiresAt,
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: props.pointInTimeRecovery ?? true },
      deletionProtection: props.deletionProtection ?? true,
      removalPolicy: props.removalPolicy ?? RemovalPolicy.RETAIN,
      ...(props.encryptionKey === undefined
        ? {}
        : { encryption: TableEncryption.CUSTOMER_MANAGED, encryptionKey: props.encryptionKey }),
      ...((props.stream ?? true) ? { stream: StreamViewType.KEYS_ONLY } : {}),
    });
    if (props.pointInTimeRecovery === false) {
      acknowledge(this.table, { 'AwsSolutions-DDB3': 'Asked for: what is in the table is thrown away with it.' });
    }
  }
}
