import { join } from 'node:path';
import { buildCatalog, CATALOG } from './build-catalog.ts';
import { installDynamoDbLocal } from './install-dynamodb-local.ts';
import { installVenv, venvPython } from './install-venv.ts';

export interface LocalStackInstallation {
  /** The Python that has LocalStack. */
  readonly python: string;
  /** The folder of LocalStack's index of the AWS APIs. */
  readonly catalog: string;
  /** The folder of DynamoDB Local. */
  readonly dynamoDbLocal: string;
}

/**
 * Installs LocalStack (`localstack-core` from PyPI) and DynamoDB Local (from Maven Central) into the user's cache, unless
 * they are there: about a minute and 560 MB, then a few milliseconds. Needs Python 3.12, a JDK 17 and Maven; rejects with
 * all that is missing.
 */
export async function installLocalStack(): Promise<LocalStackInstallation> {
  const venv = installVenv({
    name: 'localstack-2026.3.0',
    requirement: 'localstack-core[runtime]==2026.3.0',
    constraints: new URL('./recipe/localstack-constraints.txt', import.meta.url),
    complete: buildCatalog,
    recipe: [new URL('./build-catalog.ts', import.meta.url)],
  });
  const [folder, dynamoDbLocal] = await Promise.allSettled([venv, installDynamoDbLocal()]);
  if (folder.status === 'fulfilled' && dynamoDbLocal.status === 'fulfilled') {
    const [python, catalog] = [venvPython(folder.value), join(folder.value, CATALOG)];
    return { python, catalog, dynamoDbLocal: dynamoDbLocal.value };
  }
  const reasons = [folder, dynamoDbLocal].flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
  const text = reasons.map((reason) => (reason instanceof Error ? reason.message : String(reason))).join('\n');
  throw new AggregateError(reasons, `LocalStack could not be installed.\n${text}`);
}
