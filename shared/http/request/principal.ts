import {
  type CredentialComponents,
  type CredentialSettings,
  Credentials,
  type Principal,
  unauthenticated,
} from '../../access/credentials.ts';
import { EventLogError } from '../../log/errors.ts';
import { TOKEN_LENGTH_MAX } from '../../log/limits.ts';
import {
  ALL_SCOPES,
  allowsAllTopics,
  allowsGroup,
  allowsSomeGroup,
  allowsSomeTopic,
  allowsSomeTransactionalId,
  allowsTopic,
  allowsTransactionalId,
} from '../../log/scopes.ts';
import type { Operation } from '../operation.ts';

/**
 * Decides who may do what. A request is admitted before anything except its path is examined. First the caller is
 * authenticated (otherwise 401); then the caller's right to the operation is checked (otherwise 403). Neither check looks
 * up the topic, so neither reveals whether it exists.
 */
export type AccessSettings =
  /** Every caller may do everything: the server listens only on this machine, or another component checks requests. */
  | { readonly mode: 'open' }
  /** A credential is checked by any of these means; if none is given, every request is rejected. */
  | (CredentialSettings & {
      readonly mode: 'authenticated';
      /** Returns the caller that the component in front of us has authenticated. Called if there is no bearer token. */
      readonly identity?: ((request: Request) => Principal | undefined) | undefined;
    });

const EVERYBODY: Principal = { id: 'everybody', scopes: ALL_SCOPES };

export interface AccessCheck {
  readonly mode: AccessSettings['mode'];
  /**
   * Returns the caller, if the caller may use the operation on the path's resource. The operation itself must check the
   * topics in the body. @throws EventLogError `unauthenticated`, `access_denied`, `storage_unavailable`, `throttled`
   */
  admit(request: Request, operation: Operation, named: Named): Promise<Principal> | Principal;
}

/** What the path names. */
interface Named {
  readonly topic?: string | undefined;
  readonly group?: string | undefined;
  readonly transactionalId?: string | undefined;
}

export function createAccess(settings: AccessSettings, components: CredentialComponents): AccessCheck {
  if (settings.mode === 'open') return { mode: 'open', admit: () => EVERYBODY };
  const authenticator = new Authenticator(settings, components);
  return {
    mode: 'authenticated',
    async admit(request, operation, named) {
      if (operation.action === 'open') return NOBODY;
      const principal = await authenticator.principalOf(request);
      if (!hasRight(principal, operation, named)) throw accessDenied();
      return principal;
    },
  };
}

/** The caller of operations that require no right. */
const NOBODY: Principal = { id: 'nobody', scopes: [] };

function hasRight(
  { scopes }: Principal,
  { action, topics, groups, transactionalIds }: Operation,
  { topic, group, transactionalId: id }: Named,
): boolean {
  if (action === 'open') return true;
  if (transactionalIds === 'path') return id !== undefined && allowsTransactionalId(scopes, action, id);
  if (transactionalIds === 'some') return allowsSomeTransactionalId(scopes, action);
  if (groups === 'path') return group !== undefined && allowsGroup(scopes, action, group);
  if (groups === 'some') return allowsSomeGroup(scopes, action);
  if (topics === 'all') return allowsAllTopics(scopes, action);
  if (topics === 'path') return topic !== undefined && allowsTopic(scopes, action, topic);
  return allowsSomeTopic(scopes, action);
}

/** The error is the same for every topic, whether it exists or not. */
export function accessDenied(): EventLogError {
  return new EventLogError(
    'access_denied',
    'The credential does not have the right to this operation on this resource.',
    {
      retry: 'never',
    },
  );
}

type Authenticated = AccessSettings & { readonly mode: 'authenticated' };

class Authenticator {
  readonly #settings: Authenticated;
  readonly #credentials: Credentials;

  constructor(settings: Authenticated, components: CredentialComponents) {
    this.#settings = settings;
    this.#credentials = new Credentials(settings, components);
  }

  async principalOf(request: Request): Promise<Principal> {
    const token = bearerOf(request);
    if (token !== undefined) return (await this.#credentials.check(token)).principal;
    const principal = this.#settings.identity?.(request);
    if (principal !== undefined) return principal;
    throw unauthenticated('missing');
  }
}

const BEARER = /^bearer +([A-Za-z0-9._~+/-]+=*)$/i;

/** The bearer token. Other schemes are not ours, such as AWS's signatures, which AWS has already checked. */
function bearerOf({ headers }: Request): string | undefined {
  const given = headers.get('authorization');
  if (given === null || !/^bearer\b/i.test(given)) return undefined;
  const token = given.length > TOKEN_LENGTH_MAX ? undefined : BEARER.exec(given)?.[1];
  if (token === undefined) throw unauthenticated('invalid');
  return token;
}
