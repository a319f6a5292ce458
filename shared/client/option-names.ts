import { invalidField } from '../log/errors.ts';

/**
 * Checks that there are no other options than `names`: a misspelt one would be ignored. The names are an object, so that the
 * compiler finds one that is missing.
 * @throws EventLogError `invalid_request` naming the option
 */
export function checkOptionNames(options: object, names: object, owner: string): void {
  const unknown = Object.keys(options).find((name) => !Object.hasOwn(names, name));
  if (unknown === undefined) return;
  throw invalidField(
    unknown,
    `${owner} has no option '${unknown}'. The options are: ${Object.keys(names).join(', ')}.`,
  );
}
