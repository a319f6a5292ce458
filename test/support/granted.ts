import { expect } from 'vitest';
import type { Access } from '../../infra/constructs/access.ts';
import { ITEM_PATTERNS, OBJECT_PATTERNS } from '../../shared/storage/keys.ts';
import { list, type Statement } from './synthesize.ts';

/** What is granted, as `action pattern`, in the words of `access.ts`. */
export function granted(statements: readonly Statement[]): string[] {
  return statements
    .flatMap((statement) => {
      expect(statement.Effect).toBe('Allow');
      const leading = statement.Condition?.['ForAllValues:StringLike']?.['dynamodb:LeadingKeys'];
      return list(statement.Action).flatMap((action) => {
        if (action.startsWith('dynamodb:') && leading !== undefined)
          return list(leading as string | string[]).map((pattern) => `${action} ${pattern}`);
        if (!action.startsWith('s3:')) return [`${action}`];
        return list(statement.Resource).map((resource) => `${action} ${suffixOf(resource)}`);
      });
    })
    .sort();
}

export function suffixOf(resource: unknown): string {
  const parts = (resource as { 'Fn::Join'?: [string, unknown[]] })['Fn::Join']?.[1];
  return parts === undefined ? 'bucket' : parts.filter((part) => typeof part === 'string').join('');
}

export function expected(access: Access, logs = true): string[] {
  const items = Object.entries(access.items).flatMap(([action, kinds]) =>
    kinds.map((kind) => `dynamodb:${action} ${ITEM_PATTERNS[kind]}`),
  );
  const { ListBucket: listed, ...onObjects } = access.objects;
  const objects = Object.entries(onObjects).flatMap(([action, kinds]) =>
    kinds.map((kind) => `s3:${action} /${OBJECT_PATTERNS[kind]}`),
  );
  const parts = (access.objects.AbortMultipartUpload ?? []).map((kind) => `s3:PutObject /${OBJECT_PATTERNS[kind]}`);
  const lists = listed !== undefined || access.objects.GetObject !== undefined;
  return [
    ...items,
    ...objects,
    ...parts,
    ...(lists ? ['s3:ListBucket bucket'] : []),
    ...(logs ? ['logs:CreateLogStream', 'logs:PutLogEvents'] : []),
  ].sort();
}
