import { RemovalPolicy } from 'aws-cdk-lib';
import { AttributeType, BillingMode, StreamViewType, Table } from 'aws-cdk-lib/aws-dynamodb';
import { Construct } from 'constructs';
import { IDEMPOTENCY } from '../../shared/storage/keys.ts';
import { acknowledge } from './acknowledge.ts';

export interface MetadataTableProps {
  /** What becomes of the table when it leaves the stack. @default RemovalPolicy.RETAIN */
  readonly removalPolicy?: RemovalPolicy;
  /** Whether the table refuses to be deleted, by whomever. @default true */
  readonly deletionProtection?: boolean;
  /** Whether the table can be restored as of any second of the last 35 days, at $0.20 per GB and month. @default true */
  readonly pointInTimeRecovery?: boolean;
  /** Whether changes can be followed by a stream of keys. @default false */
  readonly stream?: boolean;
}

/**
 * The table of topics, heads, tail nodes, inline batches and the rest (`shared/storage/keys.ts`): on demand, so that an
 * idle log costs what it keeps. Encrypted under a key of DynamoDB's own, which costs nothing a request.
 */
export class MetadataTable extends Construct {
  readonly table: Table;

  constructor(scope: Construct, id: string, props: MetadataTableProps = {}) {
    super(scope, id);
    // `Table` rather than `TableV2`, which makes a global table, which not every emulator knows.
    this.table = new Table(this, 'Table', {
      partitionKey: { name: 'pk', type: AttributeType.STRING },
      sortKey: { name: 'sk', type: AttributeType.STRING },
      billingMode: BillingMode.PAY_PER_REQUEST,
      timeToLiveAttribute: IDEMPOTENCY.expiresAt,
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: props.pointInTimeRecovery ?? true },
      deletionProtection: props.deletionProtection ?? true,
      removalPolicy: props.removalPolicy ?? RemovalPolicy.RETAIN,
      ...(props.stream ? { stream: StreamViewType.KEYS_ONLY } : {}),
    });
    if (props.pointInTimeRecovery === false) {
      acknowledge(this.table, { 'AwsSolutions-DDB3': 'Asked for: what is in the table is thrown away with it.' });
    }
  }
}
