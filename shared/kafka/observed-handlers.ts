import type { Clock } from '../storage/ports.ts';
import type { RequestObserver } from './gateway.ts';
import { ConnectionEnd, type Handler } from './handler.ts';

export function observedHandlers(
  handlers: ReadonlyMap<number, Handler>,
  observer: RequestObserver,
  clock: Pick<Clock, 'nowMs'>,
): ReadonlyMap<number, Handler> {
  return new Map([...handlers].map(([key, handler]) => [key, observed(handler, observer, clock)]));
}

function observed(handler: Handler, observer: RequestObserver, clock: Pick<Clock, 'nowMs'>): Handler {
  const { name } = handler.api;
  return {
    ...handler,
    handle: async (call, request) => {
      const beganAtMs = clock.nowMs();
      const tell = (failed: boolean): void => observer({ api: name, ms: clock.nowMs() - beganAtMs, failed });
      try {
        const response = await handler.handle(call, request);
        tell(false);
        return response;
      } catch (error) {
        tell(!(error instanceof ConnectionEnd));
        throw error;
      }
    },
  };
}
