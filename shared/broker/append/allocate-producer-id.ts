import { COUNTER, PRODUCER_ID_COUNTER } from '../../storage/keys.ts';
import type { BrokerContext } from '../context.ts';
import { dayOf } from '../memory/young-producers.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';

/**
 * A producer id that nobody has had. It begins at epoch 0 and, in each partition, at sequence 0. The counter also keeps the
 * first ids of its day and of the day before (UTC): see `YoungProducers`. An answer that is lost leaves an id unused.
 * 1 UpdateItem; 2 for the first id of a day. Any number of processes may call it at once.
 */
export async function allocateProducerId(context: BrokerContext): Promise<number> {
  const { items } = context.usage.of(NO_TOPIC, 'admin');
  let day = dayOf(context.clock.nowMs());
  for (;;) {
    const taken = await items.update(
      PRODUCER_ID_COUNTER,
      [{ do: 'add', name: COUNTER.next, by: 1 }],
      [{ if: 'equals', name: COUNTER.day, value: day }],
    );
    if (taken.ok) return Number(taken.attributes[COUNTER.next]) - 1;
    const met = (name: string): number => Number(taken.attributes?.[name] ?? 0);
    const metDay = met(COUNTER.day);
    const today = dayOf(context.clock.nowMs());
    if (metDay === today + 1) {
      // Another process's clock is a little ahead, and the day has turned there.
      day = metDay;
      continue;
    }
    // A day that is further ahead comes from a wrong clock. It is set back: otherwise all later ids would count as of that
    // day, and so as young, until it comes.
    const next = met(COUNTER.next);
    const turned = await items.update(
      PRODUCER_ID_COUNTER,
      [
        { do: 'add', name: COUNTER.next, by: 1 },
        { do: 'set', name: COUNTER.day, value: today },
        { do: 'set', name: COUNTER.firstOfDay, value: next },
        { do: 'set', name: COUNTER.firstOfDayBefore, value: metDay === today - 1 ? met(COUNTER.firstOfDay) : next },
      ],
      // Every change of the counter raises it, so nothing of what was met has changed.
      [{ if: 'equals', name: COUNTER.next, value: next }],
    );
    if (turned.ok) return next;
    day = today;
  }
}
