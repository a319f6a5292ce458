import {
  ConditionalCheckFailedException,
  DeleteItemCommand,
  type DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import { invalidField } from '../../log/errors.ts';
import { type AwsAdapterOptions, withRetries } from '../aws-errors.ts';
import type {
  Attributes,
  Condition,
  ItemKey,
  ItemPage,
  ItemRange,
  ItemRead,
  ItemStore,
  Update,
  WriteResult,
} from '../ports.ts';
import { checkItemBytes, checkItemKey, checkItemRange, checkWrite } from '../rules/item-checks.ts';
import { itemBytes, writeUnits } from '../rules/item-size.ts';
import { conditionHolds } from '../rules/item-writes.ts';
import { compareUtf8 } from '../utf8.ts';
import { Expressions, fromDynamoItem, toDynamoItem } from './expressions.ts';

export interface DynamoItemStoreOptions extends AwsAdapterOptions {
  /** A client with `maxAttempts: 1` and a request timeout: this adapter retries itself. */
  readonly client: DynamoDBClient;
  /** A table whose key is the two strings `pk` and `sk`. */
  readonly tableName: string;
}

/** More items than fit in a page of 1 MB. DynamoDB's own limit is a 32-bit number. */
const LIMIT_MAX = 1_000_000;

/** Items in a DynamoDB table. Each method sends one request, and repeats it if its outcome allows that. */
export class DynamoItemStore implements ItemStore {
  readonly #options: DynamoItemStoreOptions;

  constructor(options: DynamoItemStoreOptions) {
    this.#options = options;
  }

  async get(key: ItemKey): Promise<ItemRead> {
    checkItemKey(key);
    const command = new GetItemCommand({
      TableName: this.#options.tableName,
      Key: toDynamoItem({ ...key }),
      ConsistentRead: true,
      ReturnConsumedCapacity: 'TOTAL',
    });
    const answer = await this.#retrying('GetItem', () => this.#options.client.send(command));
    return {
      attributes: answer.Item && fromDynamoItem(answer.Item),
      units: answer.ConsumedCapacity?.CapacityUnits ?? 1,
    };
  }

  async put(key: ItemKey, attributes: Attributes, conditions: readonly Condition[] = []): Promise<WriteResult> {
    checkWrite(key, { kind: 'put', attributes, conditions });
    checkItemBytes(itemBytes(key, attributes));
    const item = toDynamoItem({ ...attributes, ...key });
    const expressions = new Expressions();
    const command = new PutItemCommand({
      TableName: this.#options.tableName,
      Item: item,
      ...expressions.conditions(conditions),
      ...expressions.parts(),
      ReturnConsumedCapacity: 'TOTAL',
      ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
    });
    return this.#write('PutItem', key, conditions, async () => {
      const answer = await this.#options.client.send(command);
      return { ok: true, attributes: fromDynamoItem(item), units: answer.ConsumedCapacity?.CapacityUnits ?? 1 };
    });
  }

  async update(key: ItemKey, updates: readonly Update[], conditions: readonly Condition[] = []): Promise<WriteResult> {
    checkWrite(key, { kind: 'update', updates, conditions });
    const expressions = new Expressions();
    const { expression, bounds } = expressions.update(updates);
    const command = new UpdateItemCommand({
      TableName: this.#options.tableName,
      Key: toDynamoItem({ ...key }),
      ...(expression === '' ? {} : { UpdateExpression: expression }),
      ...expressions.conditions(conditions, bounds),
      ...expressions.parts(),
      ReturnConsumedCapacity: 'TOTAL',
      ReturnValues: 'ALL_NEW',
      ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
    });
    return this.#write('UpdateItem', key, conditions, async () => {
      const answer = await this.#options.client.send(command);
      return {
        ok: true,
        attributes: fromDynamoItem(answer.Attributes ?? {}),
        units: answer.ConsumedCapacity?.CapacityUnits ?? 1,
      };
    });
  }

  async delete(key: ItemKey, conditions: readonly Condition[] = []): Promise<WriteResult> {
    checkWrite(key, { kind: 'delete', conditions });
    const expressions = new Expressions();
    const command = new DeleteItemCommand({
      TableName: this.#options.tableName,
      Key: toDynamoItem({ ...key }),
      ...expressions.conditions(conditions),
      ...expressions.parts(),
      ReturnConsumedCapacity: 'TOTAL',
      ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
    });
    return this.#write('DeleteItem', key, conditions, async () => {
      const answer = await this.#options.client.send(command);
      return { ok: true, attributes: {}, units: answer.ConsumedCapacity?.CapacityUnits ?? 1 };
    });
  }

  async query(range: ItemRange): Promise<ItemPage> {
    checkItemRange(range);
    // DynamoDB takes no empty string for a key: every key is above it.
    const from = range.from === '' ? undefined : range.from;
    const { to } = range;
    if (to !== undefined && compareUtf8(from ?? '', to) >= 0) return { items: [], more: false, units: 1 };
    const expressions = new Expressions();
    const conditions = [`${expressions.name('pk')} = ${expressions.value(range.pk)}`];
    // DynamoDB takes one condition on the sort key, and BETWEEN includes both ends: the upper one is dropped below.
    if (from !== undefined && to !== undefined)
      conditions.push(`${expressions.name('sk')} BETWEEN ${expressions.value(from)} AND ${expressions.value(to)}`);
    else if (from !== undefined) conditions.push(`${expressions.name('sk')} >= ${expressions.value(from)}`);
    else if (to !== undefined) conditions.push(`${expressions.name('sk')} < ${expressions.value(to)}`);
    const command = new QueryCommand({
      TableName: this.#options.tableName,
      KeyConditionExpression: conditions.join(' AND '),
      ...expressions.parts(),
      ConsistentRead: true,
      ScanIndexForward: !range.descending,
      Limit: Math.min(LIMIT_MAX, range.limit + (from !== undefined && to !== undefined ? 1 : 0)),
      ReturnConsumedCapacity: 'TOTAL',
    });
    const answer = await this.#retrying('Query', () => this.#options.client.send(command));
    const within = (answer.Items ?? [])
      .map((item) => ({ sk: item.sk?.S ?? '', attributes: fromDynamoItem(item) }))
      .filter((item) => to === undefined || item.sk !== to);
    const items = within.slice(0, range.limit);
    const lastKey = answer.LastEvaluatedKey?.sk?.S;
    const more =
      within.length > range.limit || (lastKey !== undefined && (range.descending === true || lastKey !== to));
    // A query that finds nothing is billed one unit.
    return { items, more, units: Math.max(1, answer.ConsumedCapacity?.CapacityUnits ?? 1) };
  }

  async #write(
    request: string,
    key: ItemKey,
    conditions: readonly Condition[],
    send: () => Promise<WriteResult>,
  ): Promise<WriteResult> {
    return this.#retrying(request, async (mayBeApplied) => {
      try {
        return await send();
      } catch (error) {
        if (!(error instanceof ConditionalCheckFailedException)) throw error;
        const attributes = error.Item && fromDynamoItem(error.Item);
        if (conditions.every((condition) => conditionHolds(attributes, condition))) {
          throw invalidField('updates', 'Adding to a number would leave the range ±(2^53 − 1).');
        }
        // The exception lacks the units. DynamoDB bills the item that the write found.
        const units = writeUnits(itemBytes(key, attributes), 0);
        return { ok: false, attributes, units, ...(mayBeApplied && { mayBeApplied }) };
      }
    });
  }

  #retrying<T>(request: string, run: (mayBeApplied: boolean) => Promise<T>): Promise<T> {
    return withRetries(this.#options, `${request} of table '${this.#options.tableName}'`, run);
  }
}
