import { unauthenticated } from '../../access/credentials.ts';
import { type Exchange, type MechanismContext, NO_ANSWER, textOf } from './mechanism.ts';

/** PLAIN (RFC 4616): the user is the id of an API key, the password the whole key. */
export function plain({ credentials }: Pick<MechanismContext, 'credentials'>): Exchange {
  return {
    async take(token) {
      const parts = textOf(token)?.split('\0') ?? [];
      const [actFor, user, password] = parts;
      if (parts.length !== 3 || !user || !password || (actFor !== '' && actFor !== user))
        throw unauthenticated('invalid');
      const credential = await credentials.check(password);
      // A token by its holder's name would be taken otherwise, and a key under any name.
      if (credential.keyId !== user) throw unauthenticated('invalid');
      return { answer: NO_ANSWER, credential };
    },
  };
}
