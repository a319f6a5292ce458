import type { AttributeValue } from '@aws-sdk/client-dynamodb';
import { awsError } from './stub-client.ts';

/**
 * The part of DynamoDB's expression language that the adapter writes, evaluated over one item. It is as strict as DynamoDB:
 * a placeholder that is missing or not used, or an operand of the wrong type, is a ValidationException.
 */

export type DynamoItem = Readonly<Record<string, AttributeValue>>;

export interface Placeholders {
  readonly ExpressionAttributeNames?: Readonly<Record<string, string>> | undefined;
  readonly ExpressionAttributeValues?: Readonly<Record<string, AttributeValue>> | undefined;
}

export function invalid(message: string): Error {
  return Object.assign(awsError('ValidationException'), { message });
}

/** Of the expression as it is sent, with placeholders. */
const EXPRESSION_BYTES_MAX = 4_096;
const OPERATORS_MAX = 300;
const OPERATOR = /^(?:AND|OR|NOT|BETWEEN|[<>=]+|\w+_exists|contains|size)$/;

const TOKEN = /\s*(#\w+|:\w+|[A-Za-z_]+|\d+|<=|>=|[=<>(),+[\]])/y;

/** The expressions of one request, which share their placeholders. */
export class ExpressionReader {
  readonly #names: Readonly<Record<string, string>>;
  readonly #values: Readonly<Record<string, AttributeValue>>;
  readonly #used = new Set<string>();
  #tokens: string[] = [];
  #at = 0;

  constructor({ ExpressionAttributeNames, ExpressionAttributeValues }: Placeholders) {
    this.#names = ExpressionAttributeNames ?? {};
    this.#values = ExpressionAttributeValues ?? {};
    for (const given of [ExpressionAttributeNames, ExpressionAttributeValues])
      if (given !== undefined && Object.keys(given).length === 0) throw invalid('Placeholders must not be empty.');
  }

  /** Whether the condition holds for the item; a missing item counts as an item without attributes. */
  holds(expression: string | undefined, item: DynamoItem): boolean {
    if (expression === undefined) return true;
    this.#begin(expression);
    if (this.#tokens.filter((token) => OPERATOR.test(token)).length > OPERATORS_MAX)
      throw invalid('The expression contains too many operators.');
    const result = this.#or(item);
    this.#end();
    return result;
  }

  /** The item after the update, each clause evaluated over the item before it. */
  update(expression: string | undefined, item: DynamoItem): DynamoItem {
    const after: Record<string, AttributeValue> = { ...item };
    if (expression === undefined) return after;
    this.#begin(expression);
    const removed = new Map<string, Set<number>>();
    while (this.#at < this.#tokens.length) {
      const clause = this.#next();
      if (clause !== 'SET' && clause !== 'REMOVE') throw invalid(`Clause ${clause}`);
      do {
        const name = this.#name();
        if (clause === 'SET') {
          this.#expect('=');
          define(after, name, this.#sum(item));
        } else if (this.#peek() === '[') {
          this.#expect('[');
          const elements = removed.get(name) ?? new Set();
          removed.set(name, elements.add(Number(this.#next())));
          this.#expect(']');
        } else delete after[name];
      } while (this.#take(','));
    }
    for (const [name, elements] of removed) {
      const list = own(item, name)?.L;
      if (list === undefined) throw invalid('The document path is invalid for update.');
      define(after, name, { L: list.filter((_, i) => !elements.has(i)) });
    }
    return after;
  }

  /** Must be called after all expressions of the request were read. */
  checkAllUsed(): void {
    for (const name of [...Object.keys(this.#names), ...Object.keys(this.#values)])
      if (!this.#used.has(name)) throw invalid(`${name} is not used in any expression.`);
  }

  #begin(expression: string): void {
    if (Buffer.byteLength(expression) > EXPRESSION_BYTES_MAX)
      throw invalid(`Expression size has exceeded the maximum allowed size: ${Buffer.byteLength(expression)}`);
    this.#tokens = [];
    this.#at = 0;
    TOKEN.lastIndex = 0;
    while (TOKEN.lastIndex < expression.length) {
      const { lastIndex } = TOKEN;
      const match = TOKEN.exec(expression);
      if (match === null) throw invalid(`Syntax error at: ${expression.slice(lastIndex)}`);
      this.#tokens.push(match[1] as string);
    }
    if (this.#tokens.length === 0) throw invalid('An expression must not be empty.');
  }

  #end(): void {
    if (this.#at < this.#tokens.length) throw invalid(`Syntax error at: ${this.#tokens.slice(this.#at).join(' ')}`);
  }

  #peek(): string | undefined {
    return this.#tokens[this.#at];
  }

  #next(): string {
    const token = this.#tokens[this.#at++];
    if (token === undefined) throw invalid('Syntax error at the end.');
    return token;
  }

  #take(token: string): boolean {
    if (this.#peek() !== token) return false;
    this.#at++;
    return true;
  }

  #expect(token: string): void {
    const next = this.#next();
    if (next !== token) throw invalid(`Syntax error: ${next} instead of ${token}.`);
  }

  #name(): string {
    const placeholder = this.#next();
    const name = this.#names[placeholder];
    if (name === undefined) throw invalid(`The name ${placeholder} is not defined.`);
    this.#used.add(placeholder);
    return name;
  }

  // Every operand is read, even if the result is known: unused placeholders and wrong types must not depend on the item.

  #or(item: DynamoItem): boolean {
    let result = this.#and(item);
    while (this.#take('OR')) result = this.#and(item) || result;
    return result;
  }

  #and(item: DynamoItem): boolean {
    let result = this.#not(item);
    while (this.#take('AND')) result = this.#not(item) && result;
    return result;
  }

  #not(item: DynamoItem): boolean {
    if (this.#take('NOT')) return !this.#not(item);
    if (this.#take('(')) {
      const result = this.#or(item);
      this.#expect(')');
      return result;
    }
    const token = this.#peek();
    if (token === 'attribute_exists' || token === 'attribute_not_exists') {
      this.#next();
      this.#expect('(');
      const exists = own(item, this.#name()) !== undefined;
      this.#expect(')');
      return exists === (token === 'attribute_exists');
    }
    if (token === 'contains') {
      this.#next();
      this.#expect('(');
      const list = this.#operand(item)?.L ?? [];
      this.#expect(',');
      const element = this.#operand(item) as AttributeValue;
      this.#expect(')');
      return list.some((each) => compare(each, element) === 0);
    }
    return this.#comparison(item);
  }

  #comparison(item: DynamoItem): boolean {
    const left = this.#operand(item);
    const operator = this.#next();
    const right = this.#operand(item);
    if (operator === 'BETWEEN') {
      this.#expect('AND');
      const last = this.#operand(item);
      if ((compare(right, last) ?? 1) > 0) throw invalid('BETWEEN needs its lower bound first.');
      return (compare(left, right) ?? -1) >= 0 && (compare(left, last) ?? 1) <= 0;
    }
    const order = compare(left, right);
    switch (operator) {
      case '=':
        return order === 0;
      case '<':
        return order !== undefined && order < 0;
      case '<=':
        return order !== undefined && order <= 0;
      case '>=':
        return order !== undefined && order >= 0;
      default:
        throw invalid(`The operator ${operator}`);
    }
  }

  #sum(item: DynamoItem): AttributeValue {
    const left = this.#operand(item);
    if (!this.#take('+')) return left as AttributeValue;
    const right = this.#operand(item);
    if (left?.N === undefined || right?.N === undefined) throw invalid('An operand in the update has a wrong type.');
    return { N: String(BigInt(left.N) + BigInt(right.N)) };
  }

  #operand(item: DynamoItem): AttributeValue | undefined {
    const token = this.#next();
    if (token.startsWith(':')) {
      const value = this.#values[token];
      if (value === undefined) throw invalid(`The value ${token} is not defined.`);
      this.#used.add(token);
      return value;
    }
    if (token.startsWith('#')) {
      this.#at--;
      return own(item, this.#name());
    }
    this.#expect('(');
    const first = this.#operand(item);
    if (token === 'size') {
      this.#expect(')');
      const size = first?.L?.length ?? first?.B?.length ?? first?.S?.length;
      return size === undefined ? undefined : { N: String(size) };
    }
    this.#expect(',');
    const second = this.#operand(item);
    this.#expect(')');
    if (token === 'if_not_exists') return first ?? second;
    if (token !== 'list_append') throw invalid(`The function ${token}`);
    if (first?.L === undefined || second?.L === undefined) throw invalid('An operand in the update has a wrong type.');
    return { L: [...first.L, ...second.L] };
  }
}

/** A number below, at or above 0; undefined if an operand is missing or the types differ. */
export function compare(a: AttributeValue | undefined, b: AttributeValue | undefined): number | undefined {
  if (a?.N !== undefined && b?.N !== undefined) return Number(BigInt(a.N) - BigInt(b.N));
  if (a?.S !== undefined && b?.S !== undefined) return Buffer.compare(Buffer.from(a.S), Buffer.from(b.S));
  if (a?.B !== undefined && b?.B !== undefined) return Buffer.compare(a.B, b.B);
  return undefined;
}

function own(item: DynamoItem, name: string): AttributeValue | undefined {
  return Object.hasOwn(item, name) ? item[name] : undefined;
}

/** Sets an attribute, even if every object has a property of that name. */
function define(item: Record<string, AttributeValue>, name: string, value: AttributeValue): void {
  Object.defineProperty(item, name, { value, enumerable: true, configurable: true, writable: true });
}
