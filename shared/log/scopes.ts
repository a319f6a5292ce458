import { invalidField } from './errors.ts';
import { SCOPE_PATTERN_LENGTH_MAX, SCOPE_PATTERNS_MAX, SCOPES_MAX } from './limits.ts';

/**
 * What a credential may do: actions on topics and groups, whose names are given literally or by how they begin (`orders-*`;
 * `*` is all). Nothing implies anything else: who administers a topic may not read it unless a scope says so.
 */
export const ACTIONS = ['produce', 'consume', 'admin'] as const;
export type Action = (typeof ACTIONS)[number];

/** Every action on everything that one of the patterns covers. */
export interface Scope {
  readonly actions: readonly Action[];
  readonly topics: readonly string[];
  readonly groups: readonly string[];
}

const ALL = '*';

/** Every right there is. */
export const ALL_SCOPES: readonly Scope[] = [{ actions: ACTIONS, topics: [ALL], groups: [ALL] }];

/** Whether an action on a topic is allowed; `any`: whether some action on it is. */
export function allowsTopic(scopes: readonly Scope[], action: Action | 'any', topic: string): boolean {
  return scopes.some((scope) => hasAction(scope, action) && scope.topics.some((pattern) => covers(pattern, topic)));
}

/** Whether an action is allowed on any topic at all, be there one of such a name or not. */
export function allowsSomeTopic(scopes: readonly Scope[], action: Action | 'any'): boolean {
  return scopes.some((scope) => hasAction(scope, action) && scope.topics.length > 0);
}

/** Whether an action is allowed on every topic, by the pattern `*`. */
export function allowsAllTopics(scopes: readonly Scope[], action: Action | 'any'): boolean {
  return scopes.some((scope) => hasAction(scope, action) && scope.topics.includes(ALL));
}

function hasAction({ actions }: Scope, action: Action | 'any'): boolean {
  return action === 'any' ? actions.length > 0 : actions.includes(action);
}

function covers(pattern: string, name: string): boolean {
  return pattern.endsWith(ALL) ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

/** No control, format or unpaired surrogate characters; an asterisk at the end alone. */
const PATTERN = /^[^*\p{C}]*\*?$/u;

/** What someone gave as scopes. @throws EventLogError `invalid_request` */
export function parseScopes(given: unknown): Scope[] {
  if (!Array.isArray(given) || given.length < 1 || given.length > SCOPES_MAX)
    throw invalidField('scopes', `Scopes are a list of 1 to ${SCOPES_MAX}.`);
  const scopes = given.map((each: unknown, i) => parseScope(each, `scopes[${i}]`));
  const patterns = scopes.reduce((sum, { topics, groups }) => sum + topics.length + groups.length, 0);
  if (patterns > SCOPE_PATTERNS_MAX)
    throw invalidField('scopes', `Scopes have at most ${SCOPE_PATTERNS_MAX} patterns together.`);
  return scopes;
}

const SCOPE_MEMBERS = ['actions', 'topics', 'groups'];

function parseScope(given: unknown, field: string): Scope {
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw invalidField(field, `${field} must be an object of actions, topics and groups.`);
  const unknown = Object.keys(given).find((name) => !SCOPE_MEMBERS.includes(name));
  if (unknown !== undefined) throw invalidField(field, `${field} has actions, topics and groups, and nothing else.`);
  const { actions, topics, groups } = given as { actions?: unknown; topics?: unknown; groups?: unknown };
  return {
    actions: parseActions(actions, `${field}.actions`),
    topics: parsePatterns(topics, `${field}.topics`),
    groups: parsePatterns(groups, `${field}.groups`),
  };
}

function parseActions(given: unknown, field: string): Action[] {
  if (Array.isArray(given) && given.length > 0 && given.length <= ACTIONS.length && given.every(isAction)) return given;
  throw invalidField(field, `${field} are one or more of ${ACTIONS.join(', ')}.`);
}

function isAction(given: unknown): given is Action {
  return ACTIONS.some((action) => action === given);
}

function parsePatterns(given: unknown, field: string): string[] {
  if (given === undefined) return [];
  if (Array.isArray(given) && given.length <= SCOPE_PATTERNS_MAX && given.every(isPattern)) return given;
  throw invalidField(field, `${field} are names, or beginnings of names followed by an asterisk.`);
}

function isPattern(given: unknown): given is string {
  return (
    typeof given === 'string' && given.length > 0 && given.length <= SCOPE_PATTERN_LENGTH_MAX && PATTERN.test(given)
  );
}
