import { invalidField } from './errors.ts';
import { SCOPE_PATTERN_LENGTH_MAX, SCOPE_PATTERNS_MAX, SCOPES_MAX } from './limits.ts';

/**
 * The rights of a credential: actions on topics, groups and transactional ids. Names are given literally or by a prefix
 * (`orders-*`; `*` is all). Actions do not imply each other: a credential with `admin` on a topic cannot read it without
 * `consume`.
 */
export const ACTIONS = ['produce', 'consume', 'admin'] as const;
export type Action = (typeof ACTIONS)[number];

/** A scope grants each of its actions on everything that one of its patterns covers. */
export interface Scope {
  readonly actions: readonly Action[];
  readonly topics: readonly string[];
  readonly groups: readonly string[];
  /** Default: none. */
  readonly transactionalIds?: readonly string[] | undefined;
}

const ALL = '*';

/** All rights. */
export const ALL_SCOPES: readonly Scope[] = [
  { actions: ACTIONS, topics: [ALL], groups: [ALL], transactionalIds: [ALL] },
];

/** What a scope names. */
type Resource = 'topics' | 'groups' | 'transactionalIds';
type Wanted = Action | 'any';

/** Whether an action on a topic is allowed; `any`: whether some action on it is. */
export const allowsTopic = allows('topics');
/** Whether an action is allowed on at least one topic name; such a topic need not exist. */
export const allowsSomeTopic = allowsSome('topics');
/** Whether an action is allowed on every topic, by the pattern `*`. */
export const allowsAllTopics = allowsAll('topics');
/** Which topics a list may show: those on which any action is allowed. `undefined`: all, so that nobody has to look. */
export const visibleTopics = visible('topics');

/** The same of consumer groups. */
export const allowsGroup = allows('groups');
export const allowsSomeGroup = allowsSome('groups');
export const allowsAllGroups = allowsAll('groups');
export const visibleGroups = visible('groups');

/** The same of transactional ids. */
export const allowsTransactionalId = allows('transactionalIds');
export const allowsSomeTransactionalId = allowsSome('transactionalIds');
export const visibleTransactionalIds = visible('transactionalIds');

function allows(resource: Resource): (scopes: readonly Scope[], action: Wanted, name: string) => boolean {
  return (scopes, action, name) =>
    anyPatterns(resource, scopes, action, (patterns) => patterns.some((pattern) => covers(pattern, name)));
}

function allowsSome(resource: Resource): (scopes: readonly Scope[], action: Wanted) => boolean {
  return (scopes, action) => anyPatterns(resource, scopes, action, (patterns) => patterns.length > 0);
}

function allowsAll(resource: Resource): (scopes: readonly Scope[], action: Wanted) => boolean {
  return (scopes, action) => anyPatterns(resource, scopes, action, (patterns) => patterns.includes(ALL));
}

function visible(resource: Resource): (scopes: readonly Scope[]) => ((name: string) => boolean) | undefined {
  return (scopes) => (allowsAll(resource)(scopes, 'any') ? undefined : (name) => allows(resource)(scopes, 'any', name));
}

/** Whether it is true of the patterns of any scope that has the action. */
function anyPatterns(
  resource: Resource,
  scopes: readonly Scope[],
  action: Wanted,
  isTrue: (patterns: readonly string[]) => boolean,
): boolean {
  return scopes.some((scope) => hasAction(scope, action) && isTrue(scope[resource] ?? []));
}

function hasAction({ actions }: Scope, action: Wanted): boolean {
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
  const patterns = scopes.reduce(
    (sum, { topics, groups, transactionalIds = [] }) => sum + topics.length + groups.length + transactionalIds.length,
    0,
  );
  if (patterns > SCOPE_PATTERNS_MAX)
    throw invalidField('scopes', `All scopes together can have at most ${SCOPE_PATTERNS_MAX} patterns.`);
  return scopes;
}

const SCOPE_MEMBERS = ['actions', 'topics', 'groups', 'transactionalIds'] as const;

function parseScope(given: unknown, field: string): Scope {
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw invalidField(field, `${field} must be an object of actions, and topics, groups or transactionalIds.`);
  const unknown = Object.keys(given).find((name) => !SCOPE_MEMBERS.some((member) => member === name));
  if (unknown !== undefined)
    throw invalidField(field, `${field} can have only the members ${SCOPE_MEMBERS.join(', ')}.`);
  const { actions, topics, groups, transactionalIds }: Partial<Record<(typeof SCOPE_MEMBERS)[number], unknown>> = given;
  const ids = parsePatterns(transactionalIds, `${field}.transactionalIds`);
  return {
    actions: parseActions(actions, `${field}.actions`),
    topics: parsePatterns(topics, `${field}.topics`),
    groups: parsePatterns(groups, `${field}.groups`),
    ...(ids.length === 0 ? {} : { transactionalIds: ids }),
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
