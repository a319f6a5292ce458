import { aroundStores } from '../../storage/around-stores.ts';
import type { Stores } from '../../storage/ports.ts';
import type { RequestCounts } from './request-counts.ts';

/** Counts each request when it is sent, and its units and the read bytes when the answer arrives. */
export function meteredStores(stores: Stores, counts: RequestCounts): Stores {
  return aroundStores(stores, (request, run) => {
    switch (request) {
      case 'presign':
        return run;
      case 'putObject':
        return (...args) => {
          counts.putObject++;
          for (const chunk of args[1] as readonly Uint8Array[]) counts.bytesWritten += chunk.length;
          return run(...args);
        };
      case 'getObject':
        return async (...args) => {
          counts.getObject++;
          const bytes = await run(...args);
          if (bytes instanceof Uint8Array) counts.bytesRead += bytes.length;
          return bytes;
        };
      default: {
        const units = request === 'getItem' || request === 'query' ? 'readUnits' : 'writeUnits';
        return async (...args) => {
          counts[request]++;
          const answer = await run(...args);
          if (typeof answer === 'object' && 'units' in answer) counts[units] += answer.units;
          return answer;
        };
      }
    }
  });
}
