import { SCENARIOS, type Scenario } from './scenarios.ts';

/** What the model can be made to do wrong. */
export type Flaw =
  | 'a commit does not demand that the tail lacks its entry'
  | 'a commit does not hold firstEntry against what was observed'
  | 'a commit demands no once keys absent'
  | 'a commit does not demand its expected offset'
  | 'a first batch leaves no key'
  | 'a newer epoch leaves no fence'
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

const { closing, conditional, grouped, keyed, pipelined, plain, staleEpoch } = SCENARIOS;
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
  { flaw: 'a newer epoch leaves no fence', scenario: staleEpoch, violation: /which fences it/ },
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
    violation: /was fenced, yet the log holds no newer epoch/,
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
