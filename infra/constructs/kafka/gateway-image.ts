import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Names, Stack, Stage } from 'aws-cdk-lib';
import { Platform } from 'aws-cdk-lib/aws-ecr-assets';
import { ContainerImage } from 'aws-cdk-lib/aws-ecs';
import type { Construct } from 'constructs';
import { bundleGateway } from '../bundle.ts';

/** Whom the process runs as: the user `node` of the base image. */
export const GATEWAY_USER = '1000:1000';

/** One file on a base image with Node. No step runs in the image, so every machine with Docker can build it for arm64. */
const DOCKERFILE = `FROM public.ecr.aws/docker/library/node:24-alpine
WORKDIR /gateway
COPY index.mjs ./
USER ${GATEWAY_USER}
ENV NODE_ENV=production
CMD ["node", "--max-semi-space-size=16", "index.mjs"]
`;

/**
 * The gateway's image, of the code of this package. Its folder is made when the app is synthesized, which needs no Docker;
 * Docker builds it when the app is deployed.
 */
export function gatewayImage(scope: Construct): ContainerImage {
  const folder = join(Stage.of(scope)?.assetOutdir ?? '.', `kafka-gateway-${Names.uniqueId(scope)}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'Dockerfile'), DOCKERFILE);
  // As with functions, an app can leave out the bundles of stacks that it only lists.
  if (Stack.of(scope).bundlingRequired) bundleGateway(folder);
  return ContainerImage.fromAsset(folder, { platform: Platform.LINUX_ARM64 });
}
