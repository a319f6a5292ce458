import {
  type AttributeValue,
  ConditionalCheckFailedException,
  type DeleteItemCommandInput,
  type GetItemCommandInput,
  type PutItemCommandInput,
  type QueryCommandInput,
  type UpdateItemCommandInput,
} from '@aws-sdk/client-dynamodb';
import { fromDynamoItem } from '../../shared/storage/dynamodb/expressions.ts';
import { itemBytes, QUERY_PAGE_BYTES_MAX, readUnits, writeUnits } from '../../shared/storage/rules/item-size.ts';
import { compare, type DynamoItem, ExpressionReader, invalid } from './dynamo-expressions.ts';
import type { SentCommand } from './stub-client.ts';

const ITEM_BYTES_MAX = 400 * 1024;
const NOTHING: DynamoItem = {};

/** An item as it is, and as it was before its last write: a read that is not consistent may see the older version. */
interface Versions {
  readonly now: DynamoItem | undefined;
  readonly before: DynamoItem | undefined;
}

/**
 * A DynamoDB table in memory that is as strict as DynamoDB. Without `ConsistentRead` a read misses the last write of every
 * item. Capacity and the item of a rejected write are returned only on request.
 */
export class DynamoTable {
  /** All sent commands, in order. */
  readonly sent: SentCommand[] = [];
  readonly #items = new Map<string, Map<string, Versions>>();

  readonly answer = async (sent: SentCommand): Promise<object> => {
    this.sent.push(sent);
    switch (sent.command) {
      case 'GetItemCommand':
        return this.#get(sent.input as unknown as GetItemCommandInput);
      case 'PutItemCommand':
        return this.#put(sent.input as unknown as PutItemCommandInput);
      case 'UpdateItemCommand':
        return this.#update(sent.input as unknown as UpdateItemCommandInput);
      case 'DeleteItemCommand':
        return this.#delete(sent.input as unknown as DeleteItemCommandInput);
      case 'QueryCommand':
        return this.#query(sent.input as unknown as QueryCommandInput);
      default:
        throw invalid(sent.command);
    }
  };

  #get(input: GetItemCommandInput): object {
    const item = this.#read(keyOf(input.Key), input.ConsistentRead);
    const units = readUnits(bytesOf(item)) * (input.ConsistentRead === true ? 1 : 0.5);
    return { ...(item === undefined ? {} : { Item: structuredClone(item) }), ...billed(input, units) };
  }

  #put(input: PutItemCommandInput): object {
    return this.#write(input, keyOf(input.Item), () => structuredClone(input.Item) as DynamoItem);
  }

  #update(input: UpdateItemCommandInput): object {
    const key = keyOf(input.Key);
    return this.#write(input, key, (before, reader) =>
      reader.update(input.UpdateExpression, before ?? { pk: { S: key.pk }, sk: { S: key.sk } }),
    );
  }

  #delete(input: DeleteItemCommandInput): object {
    return this.#write(input, keyOf(input.Key), () => undefined);
  }

  #query(input: QueryCommandInput): object {
    const { KeyConditionExpression, ScanIndexForward, Limit = Number.POSITIVE_INFINITY } = input;
    if (Limit < 1 || (Limit !== Number.POSITIVE_INFINITY && Limit > 2 ** 31 - 1)) throw invalid(`Limit ${Limit}`);
    const reader = new ExpressionReader(input);
    reader.holds(KeyConditionExpression, NOTHING);
    reader.checkAllUsed();
    for (const value of Object.values(input.ExpressionAttributeValues ?? {}))
      if (value.S === '') throw invalid('A key must not be empty.');
    const all = [...this.#items.values()]
      .flatMap((partition) => [...partition.values()])
      .map((versions) => visible(versions, input.ConsistentRead))
      .filter((item) => item !== undefined && reader.holds(KeyConditionExpression, item)) as DynamoItem[];
    all.sort((a, b) => (compare(a.sk, b.sk) as number) * (ScanIndexForward === false ? -1 : 1));
    const items: DynamoItem[] = [];
    let bytes = 0;
    let more = false;
    for (const item of all) {
      more = items.length === Limit || (items.length > 0 && bytes + bytesOf(item) > QUERY_PAGE_BYTES_MAX);
      if (more) break;
      items.push(item);
      bytes += bytesOf(item);
    }
    // This holds even if the page ends with the last item: DynamoDB has not looked further.
    const last = more || items.length === Limit ? items.at(-1) : undefined;
    return {
      Items: structuredClone(items),
      ...(last === undefined ? {} : { LastEvaluatedKey: { pk: last.pk, sk: last.sk } }),
      ...billed(input, readUnits(bytes) * (input.ConsistentRead === true ? 1 : 0.5)),
    };
  }

  #write(
    input: PutItemCommandInput | UpdateItemCommandInput | DeleteItemCommandInput,
    key: Key,
    change: (before: DynamoItem | undefined, reader: ExpressionReader) => DynamoItem | undefined,
  ): object {
    const before = this.#read(key, true);
    const reader = new ExpressionReader(input);
    const holds = reader.holds(input.ConditionExpression, before ?? NOTHING);
    // A rejected write must be as well-formed as one that succeeds.
    if (!holds && 'UpdateExpression' in input) readOnly(reader, input.UpdateExpression, before);
    const after = holds ? change(before, reader) : before;
    reader.checkAllUsed();
    if (!holds) {
      const asked = input.ReturnValuesOnConditionCheckFailure === 'ALL_OLD' && before !== undefined;
      throw new ConditionalCheckFailedException({
        message: 'The conditional request failed',
        $metadata: {},
        ...(asked ? { Item: structuredClone(before) } : {}),
      });
    }
    if (bytesOf(after) > ITEM_BYTES_MAX) throw invalid('Item size has exceeded the maximum allowed size');
    let partition = this.#items.get(key.pk);
    if (partition === undefined) {
      partition = new Map();
      this.#items.set(key.pk, partition);
    }
    partition.set(key.sk, { now: after, before });
    return {
      ...(input.ReturnValues === 'ALL_NEW' ? { Attributes: structuredClone(after) } : {}),
      ...billed(input, writeUnits(bytesOf(before), bytesOf(after))),
    };
  }

  #read({ pk, sk }: Key, consistent: boolean | undefined): DynamoItem | undefined {
    const versions = this.#items.get(pk)?.get(sk);
    return versions && visible(versions, consistent);
  }
}

interface Key {
  readonly pk: string;
  readonly sk: string;
}

function visible({ now, before }: Versions, consistent: boolean | undefined): DynamoItem | undefined {
  return consistent === true ? now : before;
}

/** Reads an update whose result does not matter: the update may not fit the item. */
function readOnly(reader: ExpressionReader, expression: string | undefined, item: DynamoItem | undefined): void {
  try {
    reader.update(expression, item ?? NOTHING);
  } catch {
    // DynamoDB checks types after the condition.
  }
}

function keyOf(item: Readonly<Record<string, AttributeValue>> | undefined): Key {
  const pk = item?.pk?.S ?? '';
  const sk = item?.sk?.S ?? '';
  if (pk === '' || sk === '') throw invalid('A key must not be empty.');
  return { pk, sk };
}

function bytesOf(item: DynamoItem | undefined): number {
  return item === undefined ? 0 : itemBytes(keyOf(item), fromDynamoItem(item));
}

function billed(input: { readonly ReturnConsumedCapacity?: string | undefined }, units: number): object {
  return input.ReturnConsumedCapacity === 'TOTAL' ? { ConsumedCapacity: { CapacityUnits: units } } : {};
}
