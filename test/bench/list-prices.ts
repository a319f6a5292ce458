/**
 * List prices beside those of `shared/broker/usage/prices.ts`, for comparisons in benchmarks: US dollars, us-east-1, without
 * free tier or discount, as of 2026-11-21.
 */
export const LAMBDA = {
  /** "AWS Lambda pricing", arm64. */
  request: 0.2e-6,
  gbSecond: 0.0000133334,
} as const;

/** "Amazon S3 pricing", Standard, the first 50 TB. */
export const S3_GB_MONTH = 0.023;

/** "Amazon Kinesis Data Streams pricing". */
export const KINESIS = {
  onDemand: { inGb: 0.08, outGb: 0.04, streamHour: 0.04, recordRoundsUpToBytes: 1_024 },
  provisioned: {
    shardHour: 0.015,
    putUnit: 0.014e-6,
    putUnitBytes: 25 * 1_024,
    shardBytesPerSecond: 1_048_576,
    shardRecordsPerSecond: 1_000,
  },
} as const;

/** "Amazon MSK pricing", Serverless. */
export const MSK_SERVERLESS = { inGb: 0.1, outGb: 0.05, clusterHour: 0.75, partitionHour: 0.0015 } as const;

/**
 * Latencies in the Region of one small request, milliseconds. None was measured by us.
 *
 * Published: `itemWrite`, A. DeBrie, "DynamoDB performance testing" (2020), PutItem from Lambda. `objectPut`: the median is
 * the middle of 58-68 in C. Douglas, "Conditional Operations in Object Stores" (2026-01), the 99th percentile that of
 * turbopuffer's documentation, for larger objects. `expressPut`: the median is within Douglas's 14-24.
 * Assumed, within the ranges that are commonly told: `itemRead`, `objectGet`, `functionUrl` (warm), and the 99th percentile
 * of `expressPut`.
 */
export const LATENCIES = {
  itemWrite: { p50: 7.55, p99: 16.2 },
  itemRead: { p50: 4, p99: 12 },
  objectPut: { p50: 62, p99: 195 },
  expressPut: { p50: 18, p99: 40 },
  objectGet: { p50: 28, p99: 110 },
  functionUrl: { p50: 7, p99: 28 },
} as const;
