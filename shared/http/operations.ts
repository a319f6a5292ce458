import { accessSchemas } from './access/contract.ts';
import { accessOperations } from './access/operations.ts';
import { appendSchemas } from './append/contract.ts';
import { appendOperations } from './append/operations.ts';
import { problem } from './contract.ts';
import { groupSchemas } from './groups/contract.ts';
import { groupOperations } from './groups/operations.ts';
import type { Operation } from './operation.ts';
import { readSchemas } from './read/contract.ts';
import { readOperations } from './read/operations.ts';
import { recordSchemas } from './records/contract.ts';
import { serviceSchemas } from './service/contract.ts';
import { serviceOperations } from './service/operations.ts';
import { topicSchemas } from './topics/contract.ts';
import { topicOperations } from './topics/operations.ts';
import { transactionAdminSchemas } from './transactions/admin-contract.ts';
import { transactionAdminOperations } from './transactions/admin-operations.ts';
import { transactionSchemas } from './transactions/contract.ts';
import { transactionOperations } from './transactions/operations.ts';

/** Every operation of the HTTP API. */
export const OPERATIONS = {
  ...topicOperations,
  ...appendOperations,
  ...readOperations,
  ...groupOperations,
  ...transactionOperations,
  ...transactionAdminOperations,
  ...accessOperations,
  ...serviceOperations,
} as const satisfies Record<string, Operation>;

export type OperationId = keyof typeof OPERATIONS;
export const OPERATION_IDS = Object.keys(OPERATIONS) as OperationId[];

/** Schemas that the OpenAPI document contains once, under these names. */
export const SCHEMAS = {
  Problem: problem,
  ...recordSchemas,
  ...topicSchemas,
  ...appendSchemas,
  ...readSchemas,
  ...groupSchemas,
  ...transactionSchemas,
  ...transactionAdminSchemas,
  ...accessSchemas,
  ...serviceSchemas,
};
