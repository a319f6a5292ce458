/**
 * List prices in US dollars, us-east-1, on demand, without free tier or discount; read on 2026-11-21.
 * Counted requests times these prices are the cost of the storage requests on AWS. Compute, transfer out of the Region and
 * stored bytes cost extra and are not included.
 * Sources: "Amazon S3 pricing" (S3 Standard, requests); "Amazon DynamoDB pricing" (on-demand, since 2024-11).
 */
export const PRICES = {
  asOf: '2026-11-21',
  region: 'us-east-1',
  currency: 'USD',
  /** Also each part of an upload, each server-side copy, and the beginning and the end of an upload. */
  putObject: 5.0e-6,
  getObject: 0.4e-6,
  listObjects: 5.0e-6,
  /** One write of up to 1 KB. */
  writeUnit: 0.625e-6,
  /** One strongly consistent read of up to 4 KB. */
  readUnit: 0.125e-6,
} as const;
