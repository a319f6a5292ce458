import type { CreateTopicInvocation, HistoryEvent, Invocation, TopicAnswer } from '../history.ts';
import { type Report, shown } from './check-model.ts';

/** A value of a setting, which one operation sets. */
interface Value {
  /** When it began to be set; -1 for what was there before. */
  readonly setAt: number;
  /** Infinite unless it was set for certain. */
  doneAt: number;
}

/** That a setting had a value at some moment within this time. */
interface Look {
  readonly text: string;
  readonly invokedAt: number;
  readonly completedAt: number;
}

/** A topic's settings, and what was told of its number of partitions. */
class Settings {
  readonly values = new Map<string, Map<string, Value>>();
  readonly looks = new Map<string, Look[]>();
  /** Numbers of partitions that were asked for or told, with the times of it. */
  readonly asked: { readonly partitions: number; readonly invokedAt: number }[] = [];
  readonly told: { readonly partitions: number; readonly invokedAt: number; readonly completedAt: number }[] = [];

  valuesOf(name: string): Map<string, Value> {
    let values = this.values.get(name);
    if (values === undefined) {
      values = new Map([[NOT_SET, { setAt: -1, doneAt: -1 }]]);
      this.values.set(name, values);
    }
    return values;
  }
}

const NOT_SET = '';

/**
 * Each setting of a topic is a regular register: a change that was acknowledged is not lost when another setting is changed
 * at the same time, and no value comes back that had been replaced by one that was set later. A change that is sent again
 * may be made twice within its time. The number of partitions never falls, and nobody sees more than were asked for. Topics that
 * are deleted are not judged: their settings go with them.
 */
export function checkSettings(report: Report, events: readonly HistoryEvent[]): void {
  const deleted = new Set(events.flatMap(({ f, topic }) => (f === 'delete_topic' ? [topic] : [])));
  for (const [topic, settings] of gatherSettings(events)) {
    if (deleted.has(topic)) continue;
    for (const [name, values] of settings.values)
      checkRegister(report, `Setting ${name} of ${topic}`, values, settings.looks.get(name) ?? []);
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
      for (const [name, text] of Object.entries(invocation.config ?? {})) {
        const value = settings.valuesOf(name).get(text);
        if (value !== undefined) value.doneAt = at;
      }
    }
    const { partitions, config } = event;
    if (partitions === undefined || config === undefined) return;
    tell(settings, { partitions, config }, invokedAt, at);
  });
  return topics;
}

function ask(settings: Settings, { partitions, config = {} }: CreateTopicInvocation, at: number): void {
  if (partitions !== undefined) settings.asked.push({ partitions, invokedAt: at });
  for (const [name, value] of Object.entries(config))
    settings.valuesOf(name).set(value, { setAt: at, doneAt: Number.POSITIVE_INFINITY });
}

/** Every setting that anyone changes is told by every answer, if only by not being there. */
function tell(settings: Settings, { partitions, config }: TopicAnswer, invokedAt: number, completedAt: number): void {
  settings.told.push({ partitions, invokedAt, completedAt });
  for (const name of new Set([...settings.values.keys(), ...Object.keys(config)])) {
    settings.valuesOf(name);
    const look = { text: config[name] ?? NOT_SET, invokedAt, completedAt };
    const looks = settings.looks.get(name);
    if (looks === undefined) settings.looks.set(name, [look]);
    else looks.push(look);
  }
}

function checkRegister(report: Report, name: string, values: ReadonlyMap<string, Value>, looks: readonly Look[]): void {
  for (const { text, invokedAt, completedAt } of looks) {
    const value = values.get(text);
    if (value === undefined || value.setAt > completedAt) {
      report.add('settings', `${name} was told to be ${shown(text)} at ${completedAt}, before anyone set that.`);
      return;
    }
    for (const [otherText, other] of values) {
      if (other.setAt <= value.doneAt || other.doneAt >= invokedAt) continue;
      const lost = `which was set from event ${other.setAt} to ${other.doneAt}, was lost`;
      report.add('settings', `${name} was ${shown(text)} at ${completedAt}: ${shown(otherText)}, ${lost}.`);
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
