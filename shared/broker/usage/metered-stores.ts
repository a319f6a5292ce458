import { aroundStores } from '../../storage/around-stores.ts';
import type { ConcatResult, Stores } from '../../storage/ports.ts';
import type { RequestCounts } from './request-counts.ts';

/**
 * Counts each request when it is sent, and its units and the read bytes when the answer arrives. A concat counts as the puts
 * and gets that it was made of, once it has succeeded.
 */
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
      case 'deleteObject':
      case 'listObjects':
        return (...args) => {
          counts[request]++;
          return run(...args);
        };
      case 'concatObjects':
        return async (...args) => {
          const answer = await run(...args);
          // Only the store knows how many requests it made.
          const { puts, gets, bytesRead, bytesWritten } = answer as ConcatResult;
          counts.putObject += puts;
          counts.getObject += gets;
          counts.bytesRead += bytesRead;
          counts.bytesWritten += bytesWritten;
          return answer;
        };
      default: {
        const units = request === 'getItem' || request === 'query' ? 'readUnits' : 'writeUnits';
        return async (...args) => {
          counts[request]++;
          if (request === 'updateItem' && args[3] !== undefined) counts.putItem++;
          const answer = await run(...args);
          if (typeof answer === 'object' && 'units' in answer) counts[units] += answer.units;
          return answer;
        };
      }
    }
  });
}
