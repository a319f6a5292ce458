import * as z from 'zod';
import type { HistoryEvent } from './history.ts';

/** A history as text, one event a line, so that one of real processes can be kept and judged later. */

const whole = z.int().min(0);

const content = {
  value: z.string(),
  key: z.string().exactOptional(),
  headers: z.record(z.string(), z.string()).exactOptional(),
  timestampMs: z.int().exactOptional(),
};

const settings = z.record(z.string(), z.string());

const facts = { op: whole, process: z.string(), time: z.number(), topic: z.string() };
const asked = { ...facts, type: z.literal('invoke') };
const ended = { ...facts, type: z.enum(['ok', 'fail', 'info']), error: z.string().exactOptional() };

const fate = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('ok'),
    partition: whole,
    offset: whole,
    duplicate: z.boolean().exactOptional(),
  }),
  z.strictObject({ type: z.enum(['fail', 'info']), error: z.string() }),
]);

const invocation = z.discriminatedUnion('f', [
  z.strictObject({
    ...asked,
    f: z.literal('append'),
    records: z.array(z.strictObject({ ...content, partition: whole.exactOptional() })).min(1),
    atomic: z.boolean().exactOptional(),
    idempotencyKey: z.string().exactOptional(),
    producer: z.strictObject({ id: whole, epoch: whole, sequence: whole }).exactOptional(),
    expectedOffset: whole.exactOptional(),
    after: whole.exactOptional(),
  }),
  z.strictObject({ ...asked, f: z.literal('read'), partition: whole, offset: whole.exactOptional() }),
  z.strictObject({ ...asked, f: z.literal('end'), partition: whole }),
  z.strictObject({
    ...asked,
    f: z.literal('create_topic'),
    partitions: whole.exactOptional(),
    config: settings.exactOptional(),
  }),
  z.strictObject({ ...asked, f: z.enum(['delete_topic', 'describe_topic']) }),
]);

const completion = z.discriminatedUnion('f', [
  z.strictObject({
    ...ended,
    f: z.literal('append'),
    outcomes: z.array(fate).exactOptional(),
    nextOffset: whole.exactOptional(),
  }),
  z.strictObject({
    ...ended,
    f: z.literal('read'),
    highWatermark: whole.exactOptional(),
    logStartOffset: whole.exactOptional(),
    nextOffset: whole.exactOptional(),
    records: z.array(z.strictObject({ ...content, offset: whole })).exactOptional(),
  }),
  z.strictObject({ ...ended, f: z.literal('end'), highWatermark: whole.exactOptional() }),
  z.strictObject({
    ...ended,
    f: z.enum(['create_topic', 'describe_topic']),
    partitions: whole.exactOptional(),
    config: settings.exactOptional(),
  }),
  z.strictObject({ ...ended, f: z.literal('delete_topic') }),
]);

/** @throws Error with the number of the line, from 1 on, that is no event. Empty lines are passed over. */
export function parseHistory(text: string): HistoryEvent[] {
  const events: HistoryEvent[] = [];
  text.split('\n').forEach((line, i) => {
    if (line.trim() !== '') events.push(parseLine(line, i + 1));
  });
  return events;
}

function parseLine(line: string, number: number): HistoryEvent {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch (cause) {
    throw new Error(`Line ${number} of the history is not JSON: ${cause instanceof Error ? cause.message : cause}`);
  }
  const isInvocation = typeof json === 'object' && json !== null && 'type' in json && json.type === 'invoke';
  const parsed = (isInvocation ? invocation : completion).safeParse(json);
  if (parsed.success) return parsed.data;
  throw new Error(`Line ${number} of the history is no event: ${z.prettifyError(parsed.error)}`);
}

export function printHistory(events: readonly HistoryEvent[]): string {
  return events.map((each) => `${JSON.stringify(each)}\n`).join('');
}
