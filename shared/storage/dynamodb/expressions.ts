import type { AttributeValue as DynamoValue } from '@aws-sdk/client-dynamodb';
import { invalidField } from '../../log/errors.ts';
import type { Attributes, AttributeValue, Condition, Update } from '../ports.ts';

/** Writes conditions and updates as DynamoDB expressions. Every name and value has a placeholder. */
export class Expressions {
  readonly #names = new Map<string, string>();
  readonly #values: Record<string, DynamoValue> = {};

  name(name: string): string {
    let placeholder = this.#names.get(name);
    if (placeholder === undefined) {
      placeholder = `#${this.#names.size}`;
      this.#names.set(name, placeholder);
    }
    return placeholder;
  }

  value(value: AttributeValue): string {
    const placeholder = `:${Object.keys(this.#values).length}`;
    this.#values[placeholder] = toDynamo(value);
    return placeholder;
  }

  /** The placeholders, as the request takes them next to its expressions. */
  parts(): {
    ExpressionAttributeNames?: Record<string, string>;
    ExpressionAttributeValues?: Record<string, DynamoValue>;
  } {
    const names = Object.fromEntries([...this.#names].map(([name, placeholder]) => [placeholder, name]));
    return {
      ...(this.#names.size > 0 ? { ExpressionAttributeNames: names } : {}),
      ...(Object.keys(this.#values).length > 0 ? { ExpressionAttributeValues: this.#values } : {}),
    };
  }

  #condition(condition: Exclude<Condition, { readonly if: 'lacks' }>): string {
    switch (condition.if) {
      case 'item_exists':
        return `attribute_exists(${this.name('pk')})`;
      case 'item_absent':
        return `attribute_not_exists(${this.name('pk')})`;
      case 'absent':
        return `attribute_not_exists(${this.name(condition.name)})`;
      case 'equals': {
        const name = this.name(condition.name);
        const equal = `${name} = ${this.value(condition.value)}`;
        return condition.value === 0 ? `(${equal} OR attribute_not_exists(${name}))` : equal;
      }
      case 'at_most': {
        const name = this.name(condition.name);
        const atMost = `${name} <= ${this.value(condition.value)}`;
        return condition.value >= 0 ? `(${atMost} OR attribute_not_exists(${name}))` : atMost;
      }
      case 'shorter_than': {
        const name = this.name(condition.name);
        const shorter = `size(${name}) < ${this.value(condition.length)}`;
        return condition.length > 0
          ? `(attribute_not_exists(${name}) OR ${shorter})`
          : `attribute_not_exists(${name}) AND ${shorter}`;
      }
    }
  }

  conditions(conditions: readonly Condition[], bounds: readonly string[] = []): { ConditionExpression?: string } {
    const held: string[] = [];
    const all: string[] = [];
    for (const condition of conditions) {
      if (condition.if === 'lacks') held.push(`contains(${this.name(condition.name)}, ${this.value(condition.value)})`);
      else all.push(this.#condition(condition));
    }
    // One NOT for all: there can be a hundred, and DynamoDB counts every operator.
    if (held.length > 0) all.push(held.length === 1 ? `NOT ${held[0]}` : `NOT (${held.join(' OR ')})`);
    all.push(...bounds);
    return all.length === 0 ? {} : { ConditionExpression: all.join(' AND ') };
  }

  /** The update expression, and for each `add` a condition that keeps the sum within ±(2^53 − 1). */
  update(updates: readonly Update[]): { expression: string; bounds: string[] } {
    const set: string[] = [];
    const remove: string[] = [];
    const bounds: string[] = [];
    for (const update of updates) {
      // DynamoDB rejects a name that no expression uses.
      if (update.do === 'remove_first' && update.count === 0) continue;
      const name = this.name(update.name);
      switch (update.do) {
        case 'set':
          set.push(`${name} = ${this.value(update.value)}`);
          break;
        case 'add':
          set.push(`${name} = if_not_exists(${name}, ${this.value(0)}) + ${this.value(update.by)}`);
          if (update.by !== 0) bounds.push(this.#bound(name, update.by));
          break;
        case 'append':
          set.push(`${name} = list_append(if_not_exists(${name}, ${this.value([])}), ${this.value(update.values)})`);
          break;
        case 'remove_first':
          // Last element first: DynamoDB counts by the list before the update, but some emulators count by what is left.
          for (let i = update.count - 1; i >= 0; i--) remove.push(`${name}[${i}]`);
          break;
        case 'remove':
          remove.push(name);
          break;
      }
    }
    const clauses = [
      set.length > 0 ? `SET ${set.join(', ')}` : '',
      remove.length > 0 ? `REMOVE ${remove.join(', ')}` : '',
    ];
    return { expression: clauses.filter((clause) => clause !== '').join(' '), bounds };
  }

  /** Keeps a sum within both bounds. An absent number counts as 0, so its sum is `by` and needs no check. */
  #bound(name: string, by: number): string {
    const within =
      by > 0
        ? `${name} <= ${this.value(Number.MAX_SAFE_INTEGER - by)}`
        : `${name} >= ${this.value(-Number.MAX_SAFE_INTEGER - by)}`;
    return `(attribute_not_exists(${name}) OR ${within})`;
  }
}

export function toDynamo(value: AttributeValue): DynamoValue {
  if (typeof value === 'string') return { S: value };
  if (typeof value === 'number') return { N: String(value) };
  // A copy: the SDK reads the bytes later, and the caller may change its own by then.
  if (value instanceof Uint8Array) return { B: new Uint8Array(value) };
  return { L: value.map((element) => ({ B: new Uint8Array(element) })) };
}

export function toDynamoItem(attributes: Attributes): Record<string, DynamoValue> {
  return Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, toDynamo(value)]));
}

/** The attributes of an item, without its key. */
export function fromDynamoItem(item: Readonly<Record<string, DynamoValue>>): Attributes {
  const entries = Object.entries(item).filter(([name]) => name !== 'pk' && name !== 'sk');
  return Object.fromEntries(entries.map(([name, value]) => [name, fromDynamo(name, value)]));
}

function fromDynamo(name: string, value: DynamoValue): AttributeValue {
  if (value.S !== undefined) return value.S;
  if (value.N !== undefined) return Number(value.N);
  if (value.B !== undefined) return new Uint8Array(value.B);
  if (value.L !== undefined) return value.L.map((element) => new Uint8Array(element.B ?? new Uint8Array(0)));
  throw invalidField(
    name,
    `The attribute '${name}' has a type that Tailrace does not write. Remove the item, or restore it from a backup.`,
  );
}
