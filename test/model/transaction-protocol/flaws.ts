import { SCENARIOS, type Scenario } from './scenarios.ts';

/** What the model can be made to do wrong. */
export type Flaw =
  | 'a batch is written to a head that is not enlisted'
  | 'a batch does not demand that its marker is absent'
  | 'a batch does not demand that it is absent'
  | 'a batch does not look for the marker before it'
  | 'a batch does not name its transaction'
  | 'a new slot leaves no key'
  | 'a new slot is not demanded absent'
  | 'a marker leaves no key'
  | 'a marker does not demand that there is none'
  | 'a marker does not demand that no slot was added'
  | 'a marker does not look for one before it'
  | 'a head without data gets no fence'
  | 'a commit does not hold firstEntry against what was observed'
  | 'a plan takes producers as of an older entry than it says'
  | 'a change does not compare the phase'
  | 'a change does not compare the number'
  | 'a change does not compare the epoch'
  | 'a change compares neither number nor epoch'
  | 'participants are not compared'
  | 'an enlistment does not look at the phase'
  | 'an enlistment does not look at the epoch'
  | 'an end does not look at the epoch'
  | 'an end marks before it is applied'
  | 'an end marks the participants that it knew before'
  | 'an end is acknowledged before the marks'
  | 'an end that met another state says that nothing happened'
  | 'a transaction is finished before its last mark'
  | 'an initialisation leaves an open transaction'
  | 'an initialisation does not wait for the marks'
  | 'an initialisation keeps the epoch'
  | 'an abort by time-out keeps the epoch'
  | 'nobody ends what is overdue'
  | 'a read goes to the high watermark'
  | 'the last stable offset comes from memory';

export interface PlantedFlaw {
  readonly flaw: Flaw;
  readonly scenario: Scenario;
  /** What a search must find. */
  readonly violation: RegExp;
}

const { again, alone, deaths, heads, memory, moves, oneHead, two, zombie } = SCENARIOS;
export const PLANTED_FLAWS: readonly PlantedFlaw[] = [
  { flaw: 'a batch is written to a head that is not enlisted', scenario: alone, violation: /lacks its marker/ },
  { flaw: 'a batch does not demand that its marker is absent', scenario: alone, violation: /behind the marker/ },
  { flaw: 'a batch does not demand that it is absent', scenario: again, violation: /is in the log twice/ },
  { flaw: 'a batch does not look for the marker before it', scenario: moves, violation: /behind the marker/ },
  { flaw: 'a batch does not name its transaction', scenario: alone, violation: /is visible, and was not committed/ },
  { flaw: 'a new slot leaves no key', scenario: moves, violation: /leaves out a slot with data/ },
  { flaw: 'a new slot is not demanded absent', scenario: memory, violation: /leaves out a slot with data/ },
  { flaw: 'a marker leaves no key', scenario: alone, violation: /behind the marker/ },
  { flaw: 'a marker does not demand that there is none', scenario: zombie, violation: /is marked twice/ },
  {
    flaw: 'a marker does not demand that no slot was added',
    scenario: moves,
    violation: /leaves out a slot with data/,
  },
  { flaw: 'a marker does not look for one before it', scenario: moves, violation: /is marked twice/ },
  { flaw: 'a head without data gets no fence', scenario: alone, violation: /lacks its marker/ },
  {
    flaw: 'a commit does not hold firstEntry against what was observed',
    scenario: moves,
    violation: /is in the log twice/,
  },
  {
    flaw: 'a plan takes producers as of an older entry than it says',
    scenario: moves,
    violation: /leaves out a slot with data/,
  },
  { flaw: 'a change does not compare the phase', scenario: two, violation: /lacks its marker/ },
  { flaw: 'a change compares neither number nor epoch', scenario: oneHead, violation: /is in the transaction of Z1a/ },
  { flaw: 'participants are not compared', scenario: heads, violation: /lacks its marker/ },
  { flaw: 'an enlistment does not look at the epoch', scenario: zombie, violation: /is in the transaction of Z1a/ },
  { flaw: 'an end does not look at the epoch', scenario: oneHead, violation: /which its producer has not asked for/ },
  { flaw: 'an end marks before it is applied', scenario: alone, violation: /was committed, which it was not/ },
  { flaw: 'an end marks the participants that it knew before', scenario: alone, violation: /it is not visible/ },
  { flaw: 'an end is acknowledged before the marks', scenario: alone, violation: /it is not visible/ },
  {
    flaw: 'an end that met another state says that nothing happened',
    scenario: zombie,
    violation: /was rejected, and has happened/,
  },
  { flaw: 'a transaction is finished before its last mark', scenario: alone, violation: /lacks its marker/ },
  { flaw: 'an initialisation leaves an open transaction', scenario: zombie, violation: /lacks its marker/ },
  { flaw: 'an initialisation does not wait for the marks', scenario: zombie, violation: /goes on that was fenced/ },
  { flaw: 'an initialisation keeps the epoch', scenario: zombie, violation: /is in the transaction of Z1a/ },
  {
    flaw: 'an abort by time-out keeps the epoch',
    scenario: alone,
    violation: /is in another transaction than its own/,
  },
  { flaw: 'nobody ends what is overdue', scenario: deaths, violation: /a transaction is open for ever/ },
  { flaw: 'a read goes to the high watermark', scenario: alone, violation: /is visible, and was not committed/ },
  { flaw: 'the last stable offset comes from memory', scenario: alone, violation: /is visible, and was not committed/ },
];

/** What no search finds, since something else guards against the same. */
export const REDUNDANT_GUARDS: readonly { readonly flaw: Flaw; readonly beside: string }[] = [
  { flaw: 'a change does not compare the number', beside: 'the epoch, which rises with each transaction' },
  { flaw: 'a change does not compare the epoch', beside: 'number and phase, which say it too' },
  { flaw: 'an enlistment does not look at the phase', beside: 'the epoch, which the end has raised' },
];
