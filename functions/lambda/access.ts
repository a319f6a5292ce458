import type { Principal } from '../../shared/access/credentials.ts';
import type { JwtSettings } from '../../shared/access/jwt.ts';
import type { Settings } from '../../shared/aws/environment.ts';
import type { AccessSettings } from '../../shared/http/request/principal.ts';
import { ALL_SCOPES } from '../../shared/log/scopes.ts';
import { iamCallerOf } from './event.ts';

/** Composes the access rules of a function's API from the function's settings. */
export function composeAccess(settings: Settings): AccessSettings {
  const { authentication } = settings;
  if (authentication === undefined) return { mode: 'open' };
  const jwt = composeJwt(settings);
  return {
    mode: 'authenticated',
    apiKeys: authentication.includes('api_keys'),
    ...(authentication.includes('iam') ? { identity: iamPrincipal } : {}),
    ...(jwt === undefined ? {} : { jwt }),
  };
}

/** The issuer whose tokens are accepted, if there is one. Its keys are fetched when they are first needed. */
export function composeJwt({
  authentication,
  jwtIssuer,
  jwtAudience,
  jwtKeysUrl,
  jwtScopesClaim,
}: Settings): JwtSettings | undefined {
  if (!authentication?.includes('jwt')) return undefined;
  const jwt = { issuer: jwtIssuer ?? '', audience: jwtAudience ?? '', jwksUrl: jwtKeysUrl ?? '' };
  return { ...jwt, scopesClaim: jwtScopesClaim, fetch: (url, init) => fetch(url, init) };
}

/** A caller that AWS has admitted may do everything: IAM policies decide who is admitted. */
function iamPrincipal(request: Request): Principal | undefined {
  const caller = iamCallerOf(request);
  return caller === undefined ? undefined : { id: `iam:${caller}`, scopes: ALL_SCOPES };
}
