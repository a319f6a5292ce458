import { PRICES } from './prices.ts';

/** Counted requests to the storage, the units that DynamoDB bills, and bytes. Shares of a shared request are fractions. */
export interface RequestCounts {
  putObject: number;
  getObject: number;
  deleteObject: number;
  listObjects: number;
  getItem: number;
  putItem: number;
  updateItem: number;
  deleteItem: number;
  query: number;
  readUnits: number;
  writeUnits: number;
  bytesWritten: number;
  bytesRead: number;
}

export type CountName = keyof RequestCounts;

export function noRequests(): RequestCounts {
  return {
    putObject: 0,
    getObject: 0,
    deleteObject: 0,
    listObjects: 0,
    getItem: 0,
    putItem: 0,
    updateItem: 0,
    deleteItem: 0,
    query: 0,
    readUnits: 0,
    writeUnits: 0,
    bytesWritten: 0,
    bytesRead: 0,
  };
}

export function addCounts(total: RequestCounts, counts: RequestCounts, share = 1): void {
  for (const name of Object.keys(total) as CountName[]) total[name] += counts[name] * share;
}

/** The cost of the counted requests at the prices of `prices.ts`. Deleting objects is free. */
export function dollars(counts: RequestCounts): number {
  return (
    counts.putObject * PRICES.putObject +
    counts.getObject * PRICES.getObject +
    counts.listObjects * PRICES.listObjects +
    counts.writeUnits * PRICES.writeUnit +
    counts.readUnits * PRICES.readUnit
  );
}
