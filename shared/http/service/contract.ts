import * as z from 'zod';
import { errorCode, outcome, retry } from '../contract.ts';

const requestCounts = z.object({
  putObject: z.number(),
  getObject: z.number(),
  deleteObject: z.number(),
  listObjects: z.number(),
  getItem: z.number(),
  putItem: z.number(),
  updateItem: z.number(),
  deleteItem: z.number(),
  query: z.number(),
  readUnits: z.number(),
  writeUnits: z.number(),
  bytesWritten: z.number(),
  bytesRead: z.number(),
});

const usageBy = z.enum(['topic', 'purpose']);
export const usageQuery = z.strictObject({ by: usageBy.optional().describe('Default `topic`.') });

export const usageOutput = z.object({
  by: usageBy,
  rows: z.array(
    z.object({
      topic: z.string().optional(),
      purpose: z.string().optional(),
      counts: requestCounts,
      dollars: z.number(),
    }),
  ),
  total: z.object({ counts: requestCounts, dollars: z.number() }),
  prices: z.object({ asOf: z.string(), region: z.string(), currency: z.string() }),
  note: z.string(),
});
export type UsageOutput = z.infer<typeof usageOutput>;

export const healthOutput = z.object({ status: z.literal('ok'), version: z.string() });
export type HealthOutput = z.infer<typeof healthOutput>;

export const rootOutput = z.object({
  name: z.string(),
  version: z.string(),
  openapi: z.string().describe('The address of the OpenAPI document.'),
  health: z.string(),
  errors: z.string().describe('The address of the pages about error codes; append a code.'),
});
export type RootOutput = z.infer<typeof rootOutput>;

export const errorParams = z.strictObject({ code: errorCode });
export const errorOutput = z
  .object({
    code: errorCode,
    status: z.int(),
    title: z.string(),
    meaning: z.string(),
    retry,
    outcome: outcome.describe('The default outcome; a problem can override it.'),
  })
  .describe('The meaning of an error code.');
export type ErrorOutput = z.infer<typeof errorOutput>;

export const openApiOutput = z.looseObject({ openapi: z.string() });

export const serviceSchemas = { ErrorPage: errorOutput, Usage: usageOutput };
