import {
  type Action,
  ALL_SCOPES,
  allowsAllGroups,
  allowsAllTopics,
  allowsGroup,
  allowsSomeGroup,
  allowsSomeTopic,
  allowsTopic,
  allowsTransactionalId,
  type Scope,
} from '../../log/scopes.ts';

/**
 * What a caller needs to use an API. Each handler declares it, so that none can forget. `nothing`: nobody asks who the
 * caller is. `authentication`: every caller may. Otherwise the handler checks each of these rights by `Rights`: it alone knows
 * what a request names, and how the answer says that it may not.
 */
export type Needs = 'nothing' | 'authentication' | readonly Need[];

export interface Need {
  /** `any`: any one right is enough. */
  readonly action: Action | 'any';
  /**
   * `topic`, `group`, `transactional id`: each that the request names, or that would be shown. `some …`: at least one.
   * `all …`: by the pattern `*`.
   */
  readonly on: 'topic' | 'some topic' | 'all topics' | 'group' | 'some group' | 'all groups' | 'transactional id';
}

/** What the caller of a request may do. */
export class Rights {
  readonly #scopes: readonly Scope[];

  constructor(scopes: readonly Scope[]) {
    this.#scopes = scopes;
  }

  onTopic(action: Action | 'any', topic: string): boolean {
    return allowsTopic(this.#scopes, action, topic);
  }

  onSomeTopic(action: Action | 'any'): boolean {
    return allowsSomeTopic(this.#scopes, action);
  }

  onAllTopics(action: Action | 'any'): boolean {
    return allowsAllTopics(this.#scopes, action);
  }

  onGroup(action: Action | 'any', group: string): boolean {
    return allowsGroup(this.#scopes, action, group);
  }

  onSomeGroup(action: Action | 'any'): boolean {
    return allowsSomeGroup(this.#scopes, action);
  }

  onAllGroups(action: Action | 'any'): boolean {
    return allowsAllGroups(this.#scopes, action);
  }

  onTransactionalId(action: Action | 'any', id: string): boolean {
    return allowsTransactionalId(this.#scopes, action, id);
  }
}

/** Of every caller, where nobody is asked who they are. */
export const ALL_RIGHTS = new Rights(ALL_SCOPES);
export const NO_RIGHTS = new Rights([]);
