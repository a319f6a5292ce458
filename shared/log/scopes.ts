import { invalidField } from './errors.ts';
import { SCOPE_PATTERN_LENGTH_MAX, SCOPE_PATTERNS_MAX, SCOPES_MAX } from './limits.ts';

/**
 * The rights of a credential: actions on topics and groups. Names are given literally or by a prefix (`orders-*`; `*` is
 * all). Actions do not imply each other: a credential with `admin` on a topic cannot read it without `consume`.
 */
export const ACTIONS = ['produce', 'consume', 'admin'] as const;
export type Action = (typeof ACTIONS)[number];

/** A scope grants each of its actions on everything that one of its patterns covers. */
export interface Scope {
  readonly actions: readonly Action[];
  readonly topics: readonly string[];
  readonly groups: readonly string[];
}

const ALL = '*';

/** All rights. */
export const ALL_SCOPES: readonly Scope[] = [{ actions: ACTIONS, topics: [ALL], groups: [ALL] }];

/** Whether an action on a topic is allowed; `any`: whether some action on it is. */
export function allowsTopic(scopes: readonly Scope[], action: Action | 'any', topic: string): boolean {
  return scopes.some((scope) => hasAction(scope, action) && scope.topics.some((pattern) => covers(pattern, topic)));
}

/** Whether an action is allowed on at least one topic name; such a topic need not exist. */
export function allowsSomeTopic(scopes: readonly Scope[], action: Action | 'any'): boolean {
  return scopes.some((scope) => hasAction(scope, action) && scope.topics.length > 0);
}

/** Whether an action is allowed on every topic, by the pattern `*`. */
export function allowsAllTopics(scopes: readonly Scope[], action: Action | 'any'): boolean {
  return scopes.some((scope) => hasAction(scope, action) && scope.topics.includes(ALL));
}

/** Whether an action on a consumer group is allowed; `any`: whether some action on it is. */
export function allowsGroup(scopes: readonly Scope[], action: Action | 'any', group: string): boolean {
  return scopes.some((scope) => hasAction(scope, action) && scope.groups.some((pattern) => covers(pattern, group)));
}

/** Whether an action is allowed on at least one group name; such a group need not exist. */
export function allowsSomeGroup(scopes: readonly Scope[], action: Action | 'any'): boolean {
  return scopes.some((scope) => hasAction(scope, action) && scope.groups.length > 0);
}

/** Whether an action is allowed on every group, by the pattern `*`. */
export function allowsAllGroups(scopes: readonly Scope[], action: Action | 'any'): boolean {
  return scopes.some((scope) => hasAction(scope, action) && scope.groups.includes(ALL));
}

function hasAction({ actions }: Scope, action: Action | 'any'): boolean {
  return action === 'any' ? actions.length > 0 : actions.includes(action);
}

function covers(pattern: string, name: string): boolean {
  return pattern.endsWith(ALL) ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

/** A pattern has no control, format or unpaired surrogate characters, and an asterisk only at the end. */
const PATTERN = /^[^*\p{C}]*\*?$/u;

/** Parses scopes from a caller. @throws EventLogError `invalid_request` */
export function parseScopes(given: unknown): Scope[] {
  if (!Array.isArray(given) || given.length < 1 || given.length > SCOPES_MAX)
    throw invalidField('scopes', `scopes must be a list of 1 to ${SCOPES_MAX} scopes.`);
  const scopes = given.map((each: unknown, i) => parseScope(each, `scopes[${i}]`));
  const patterns = scopes.reduce((sum, { topics, groups }) => sum + topics.length + groups.length, 0);
  if (patterns > SCOPE_PATTERNS_MAX)
    throw invalidField('scopes', `All scopes together can have at most ${SCOPE_PATTERNS_MAX} patterns.`);
  return scopes;
}

const SCOPE_MEMBERS = ['actions', 'topics', 'groups'];

function parseScope(given: unknown, field: string): Scope {
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw invalidField(field, `${field} must be an object of actions, topics and groups.`);
  const unknown = Object.keys(given).find((name) => !SCOPE_MEMBERS.includes(name));
  if (unknown !== undefined)
    throw invalidField(field, `${field} can have only the members actions, topics and groups.`);
  const { actions, topics, groups } = given as { actions?: unknown; topics?: unknown; groups?: unknown };
  return {
    actions: parseActions(actions, `${field}.actions`),
    topics: parsePatterns(topics, `${field}.topics`),
    groups: parsePatterns(groups, `${field}.groups`),
  };
}

function parseActions(given: unknown, field: string): Action[] {
  if (Array.isArray(given) && given.length > 0 && given.length <= ACTIONS.length && given.every(isAction)) return given;
  throw invalidField(field, `${field} must be a list of one or more of ${ACTIONS.join(', ')}.`);
}

function isAction(given: unknown): given is Action {
  return ACTIONS.some((action) => action === given);
}

function parsePatterns(given: unknown, field: string): string[] {
  if (given === undefined) return [];
  if (Array.isArray(given) && given.length <= SCOPE_PATTERNS_MAX && given.every(isPattern)) return given;
  throw invalidField(field, `${field} must be a list of names, or of prefixes of names followed by an asterisk.`);
}

function isPattern(given: unknown): given is string {
  return (
    typeof given === 'string' && given.length > 0 && given.length <= SCOPE_PATTERN_LENGTH_MAX && PATTERN.test(given)
  );
}
