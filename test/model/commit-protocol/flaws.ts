import { SCENARIOS, type Scenario } from './scenarios.ts';

/** What the model can be made to do wrong. */
export type Flaw =
  | 'a commit does not demand that the tail lacks its entry'
  | 'a commit does not hold firstEntry against what was observed'
  | 'a commit demands no once keys absent'
  | 'a commit does not demand its expected offset'
  | 'a first batch leaves no key'
  | 'a first batch has one key in all partitions'
  | 'a batch has one key in all partitions'
  | 'a newer epoch leaves no fence'
  | 'a fence shuts out all partitions'
  | 'a fence begins at the newest epoch in any partition'
  | 'a plan fences by the newest epoch in any partition'
  | 'a plan takes a young id for an old one'
  | 'a plan looks at the expected offset before the sequence'
  | 'a use is not demanded absent'
  | 'a rejected use is not shut out'
  | 'what was shut out is not looked for again'
  | 'an attempt looks for its use in the tail only'
  | 'a corrected request has the use of the rejected one'
  | 'a closed head takes commits'
  | 'a move drops the once keys of other entries'
  | 'a move is unconditional'
  | 'a tail is moved before its node is put'
  | 'a tail is never moved'
  | 'a node is put again and again'
  | 'a node has any length'
  | 'a commit is sent before its data'
  | 'an append is acknowledged before its commit'
  | 'a plan takes producers as of an older entry'
  | 'a plan refuses from memory'
  | 'a plan takes what is out of order for fenced'
  | 'a refused commit is not planned anew'
  | 'a refused commit is not looked for in the tail nodes'
  | 'an unanswered commit is sent as a fresh entry'
  | 'a commit that met a full tail is sent as a fresh entry'
  | 'a commit that met a full tail is given up';

export interface PlantedFlaw {
  readonly flaw: Flaw;
  readonly scenario: Scenario;
  /** What a search must find. */
  readonly violation: RegExp;
}

const { apart, closing, conditional, correctedLater, grouped, keyed, partitions, pipelined, plain, sequenced } =
  SCENARIOS;
const { staleEpoch, young } = SCENARIOS;
const oneOfEach: Scenario = { ...plain, writers: 1, movers: 1 };

export const PLANTED_FLAWS: readonly PlantedFlaw[] = [
  {
    flaw: 'a commit does not demand that the tail lacks its entry',
    scenario: plain,
    violation: /is in the log twice/,
  },
  {
    flaw: 'a commit does not hold firstEntry against what was observed',
    scenario: staleEpoch,
    violation: /is in the log twice/,
  },
  { flaw: 'a commit demands no once keys absent', scenario: staleEpoch, violation: /is in the log twice/ },
  { flaw: 'a commit does not demand its expected offset', scenario: conditional, violation: /not the one it was to/ },
  { flaw: 'a first batch leaves no key', scenario: pipelined, violation: /stands where sequence \d belongs/ },
  { flaw: 'a first batch has one key in all partitions', scenario: apart, violation: /never gets an answer/ },
  { flaw: 'a batch has one key in all partitions', scenario: apart, violation: /never gets an answer/ },
  { flaw: 'a newer epoch leaves no fence', scenario: staleEpoch, violation: /which fences it/ },
  { flaw: 'a fence shuts out all partitions', scenario: apart, violation: /never gets an answer/ },
  {
    flaw: 'a fence begins at the newest epoch in any partition',
    scenario: partitions,
    violation: /which fences it/,
  },
  {
    flaw: 'a plan fences by the newest epoch in any partition',
    scenario: apart,
    violation: /was fenced, yet its partition holds no newer epoch/,
  },
  { flaw: 'a plan takes a young id for an old one', scenario: young, violation: /stands where sequence 0 belongs/ },
  {
    flaw: 'a plan looks at the expected offset before the sequence',
    scenario: sequenced,
    violation: /was rejected for good, and is in the log/,
  },
  { flaw: 'a use is not demanded absent', scenario: keyed, violation: /is in the log twice/ },
  {
    flaw: 'a use is not demanded absent',
    scenario: correctedLater,
    violation: /was rejected for good, and is in the log/,
  },
  {
    flaw: 'a rejected use is not shut out',
    scenario: correctedLater,
    violation: /was rejected for good, and is in the log/,
  },
  {
    flaw: 'what was shut out is not looked for again',
    scenario: correctedLater,
    violation: /was rejected for good, and is in the log/,
  },
  { flaw: 'an attempt looks for its use in the tail only', scenario: keyed, violation: /is in the log twice/ },
  {
    flaw: 'an attempt looks for its use in the tail only',
    scenario: correctedLater,
    violation: /was rejected for good, and is in the log/,
  },
  {
    flaw: 'a corrected request has the use of the rejected one',
    scenario: correctedLater,
    violation: /was told that it was shut out, which it was not/,
  },
  { flaw: 'a closed head takes commits', scenario: closing, violation: /a closed head has taken a commit/ },
  { flaw: 'a move drops the once keys of other entries', scenario: grouped, violation: /is in the log twice/ },
  { flaw: 'a move is unconditional', scenario: oneOfEach, violation: /neither in the tail nor in a tail node/ },
  {
    flaw: 'a tail is moved before its node is put',
    scenario: staleEpoch,
    violation: /neither in the tail nor in a tail node/,
  },
  { flaw: 'a tail is never moved', scenario: grouped, violation: /the tail is never moved/ },
  { flaw: 'a node is put again and again', scenario: grouped, violation: /may go on for ever/ },
  { flaw: 'a node has any length', scenario: staleEpoch, violation: /both in the tail and in a tail node/ },
  { flaw: 'a commit is sent before its data', scenario: staleEpoch, violation: /lacks its data/ },
  { flaw: 'an append is acknowledged before its commit', scenario: staleEpoch, violation: /where it is not/ },
  {
    flaw: 'a plan takes producers as of an older entry',
    scenario: pipelined,
    violation: /is in the log twice/,
  },
  { flaw: 'a plan refuses from memory', scenario: staleEpoch, violation: /refused as out of order/ },
  {
    flaw: 'a plan takes what is out of order for fenced',
    scenario: pipelined,
    violation: /was fenced, yet its partition holds no newer epoch/,
  },
  { flaw: 'a refused commit is not planned anew', scenario: grouped, violation: /never gets an answer/ },
  {
    flaw: 'a refused commit is not planned anew',
    scenario: { ...keyed, clients: keyed.clients.slice(0, 1), failures: 0 },
    violation: /a writer waits for ever/,
  },
  {
    flaw: 'a refused commit is not looked for in the tail nodes',
    scenario: staleEpoch,
    violation: /was refused, and is in the log/,
  },
  { flaw: 'an unanswered commit is sent as a fresh entry', scenario: plain, violation: /is in the log twice/ },
  {
    flaw: 'a commit that met a full tail is sent as a fresh entry',
    scenario: oneOfEach,
    violation: /is in the log twice/,
  },
  {
    flaw: 'a commit that met a full tail is given up',
    scenario: { ...oneOfEach, failures: 1 },
    violation: /was refused, and is in the log/,
  },
];
