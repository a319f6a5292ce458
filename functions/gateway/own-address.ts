import { isIP } from 'node:net';
import { GATEWAY_VARIABLES } from '../../shared/aws/gateway-environment.ts';
import { invalidField } from '../../shared/log/errors.ts';

const { name } = GATEWAY_VARIABLES.advertisedHost;

/**
 * The private address of this task, as ECS describes it (task metadata, version 4). For clients that reach the task itself,
 * without a load balancer before it. @throws EventLogError `invalid_request`
 */
export async function ownAddress(metadataUrl: string | undefined): Promise<string> {
  if (metadataUrl === undefined)
    throw invalidField(name, `The environment lacks ${name}. Only on ECS does the gateway find its own address.`);
  const response = await fetch(metadataUrl, { signal: AbortSignal.timeout(METADATA_MS_MAX) }).catch(() => undefined);
  const described: unknown = response?.ok ? await response.json().catch(() => undefined) : undefined;
  const networks = (described as { readonly Networks?: readonly Network[] } | undefined)?.Networks ?? [];
  const address = networks.flatMap(({ IPv4Addresses = [] }) => IPv4Addresses).find((each) => isIP(each) === 4);
  if (address !== undefined) return address;
  throw invalidField(name, `ECS did not tell this task's address. Set ${name} to what clients connect to.`);
}

interface Network {
  readonly IPv4Addresses?: readonly string[];
}

const METADATA_MS_MAX = 5_000;
