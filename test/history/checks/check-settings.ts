import type { CreateTopicInvocation, HistoryEvent, Invocation, TopicAnswer } from '../history.ts';
import { type Report, shown } from './check-model.ts';

/**
 * What was set and told of one value of a setting. A value is set by one operation, so a setting is linearizable exactly
 * if its values can be put in an order: each value has a time in which it must have been there, from the first end to the
 * last beginning of what concerns it (Gibbons and Korach, 1997). Two such times must not overlap, and no value whose
 * operations all happened at once fits into the middle of another's.
 */
class Value {
  firstEnd = Number.POSITIVE_INFINITY;
  lastBegin = -1;
  /** When it began to be set; -1 for what was there before. */
  readonly setAt: number;
  isKnown = false;

  constructor(setAt: number) {
    this.setAt = setAt;
  }

  take(invokedAt: number, completedAt: number): void {
    this.isKnown = true;
    this.lastBegin = Math.max(this.lastBegin, invokedAt);
    this.firstEnd = Math.min(this.firstEnd, completedAt);
  }
}

/** A topic's settings, and what was told of its number of partitions. */
class Settings {
  readonly values = new Map<string, Map<string, Value>>();
  /** Numbers of partitions that were asked for or told, with the times of it. */
  readonly asked: { readonly partitions: number; readonly invokedAt: number }[] = [];
  readonly told: { readonly partitions: number; readonly invokedAt: number; readonly completedAt: number }[] = [];

  valuesOf(name: string): Map<string, Value> {
    let values = this.values.get(name);
    if (values === undefined) {
      values = new Map([[NOT_SET, new Value(-1)]]);
      values.get(NOT_SET)?.take(-1, -1);
      this.values.set(name, values);
    }
    return values;
  }
}

const NOT_SET = '';

/**
 * Each setting of a topic is a linearizable register: a change that was acknowledged is not lost when another setting is
 * changed at the same time. The number of partitions never falls, and nobody sees more than were asked for. Topics that
 * are deleted are not judged: their settings go with them.
 */
export function checkSettings(report: Report, events: readonly HistoryEvent[]): void {
  const deleted = new Set(events.flatMap(({ f, topic }) => (f === 'delete_topic' ? [topic] : [])));
  for (const [topic, settings] of gatherSettings(events)) {
    if (deleted.has(topic)) continue;
    for (const [name, values] of settings.values) checkRegister(report, `Setting ${name} of ${topic}`, values);
    checkPartitions(report, topic, settings);
  }
}

function gatherSettings(events: readonly HistoryEvent[]): Map<string, Settings> {
  const topics = new Map<string, Settings>();
  const invocations = new Map<number, { readonly invocation: Invocation; readonly invokedAt: number }>();
  const settingsOf = (name: string): Settings => {
    const settings = topics.get(name) ?? new Settings();
    topics.set(name, settings);
    return settings;
  };
  events.forEach((event, at) => {
    if (event.f !== 'create_topic' && event.f !== 'describe_topic') return;
    const settings = settingsOf(event.topic);
    if (event.type === 'invoke') {
      invocations.set(event.op, { invocation: event, invokedAt: at });
      if (event.f === 'create_topic') ask(settings, event, at);
      return;
    }
    const begun = invocations.get(event.op);
    if (event.type !== 'ok' || begun === undefined) return;
    const { invocation, invokedAt } = begun;
    if (invocation.f === 'create_topic') {
      for (const [name, value] of Object.entries(invocation.config ?? {}))
        settings.valuesOf(name).get(value)?.take(invokedAt, at);
    }
    const { partitions, config } = event;
    if (partitions === undefined || config === undefined) return;
    tell(settings, { partitions, config }, invokedAt, at);
  });
  return topics;
}

function ask(settings: Settings, { partitions, config = {} }: CreateTopicInvocation, at: number): void {
  if (partitions !== undefined) settings.asked.push({ partitions, invokedAt: at });
  for (const [name, value] of Object.entries(config)) settings.valuesOf(name).set(value, new Value(at));
}

/** Every setting that anyone changes is told by every answer, if only by not being there. */
function tell(settings: Settings, { partitions, config }: TopicAnswer, invokedAt: number, completedAt: number): void {
  settings.told.push({ partitions, invokedAt, completedAt });
  for (const name of new Set([...settings.values.keys(), ...Object.keys(config)])) {
    const values = settings.valuesOf(name);
    const text = config[name] ?? NOT_SET;
    const value = values.get(text) ?? new Value(Number.POSITIVE_INFINITY);
    values.set(text, value);
    value.take(invokedAt, completedAt);
  }
}

function checkRegister(report: Report, name: string, values: ReadonlyMap<string, Value>): void {
  const known = [...values].filter(([, value]) => value.isKnown);
  for (const [text, value] of known) {
    if (value.firstEnd < value.setAt)
      report.add('settings', `${name} was told to be ${shown(text)} before anyone set that.`);
    // The operation that set it belongs to the value, too.
    value.lastBegin = Math.max(value.lastBegin, value.setAt);
  }
  for (const [text, value] of known) {
    if (value.firstEnd >= value.lastBegin) continue;
    for (const [otherText, other] of known) {
      if (other === value) continue;
      const [begin, end] = [Math.min(other.firstEnd, other.lastBegin), Math.max(other.firstEnd, other.lastBegin)];
      const clashes =
        other.firstEnd < other.lastBegin
          ? begin < value.lastBegin && value.firstEnd < end
          : value.firstEnd < begin && end < value.lastBegin;
      if (!clashes) continue;
      const both = `${shown(text)} from event ${value.firstEnd} to ${value.lastBegin}`;
      report.add('settings', `${name} was ${both}, and ${shown(otherText)} at the same time: a change was lost.`);
      return;
    }
  }
}

function checkPartitions(report: Report, topic: string, { told, asked }: Settings): void {
  let most = 0;
  let mostAt = -1;
  const byEnd = told.slice().sort((a, b) => a.completedAt - b.completedAt);
  for (const look of told.slice().sort((a, b) => a.invokedAt - b.invokedAt)) {
    for (let next = byEnd[0]; next !== undefined && next.completedAt < look.invokedAt; next = byEnd[0]) {
      byEnd.shift();
      if (next.partitions > most) [most, mostAt] = [next.partitions, next.completedAt];
    }
    if (look.partitions < most) {
      const before = `had ${most} partitions at event ${mostAt}`;
      report.add('settings', `Topic ${topic} ${before}, and ${look.partitions} at ${look.completedAt}.`);
      return;
    }
    const isAsked = asked.some(
      ({ partitions, invokedAt }) => partitions >= look.partitions && invokedAt < look.completedAt,
    );
    if (asked.length > 0 && !isAsked && look.partitions > Math.min(...told.map(({ partitions }) => partitions)))
      report.add('settings', `Topic ${topic} was told to have ${look.partitions} partitions, which no one asked for.`);
  }
}
