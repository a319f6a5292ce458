import type { Clock } from '../storage/ports.ts';
import { ConnectionEnd, type Handler } from './handler.ts';

/** Hears of each request when it is answered, and never of what is in it. Must not throw. */
export type RequestObserver = (request: ObservedRequest) => void;

export interface ObservedRequest {
  /** The name of the API, such as `Produce`. */
  readonly api: string;
  /** From the begin of the work to its end. A fetch that waits for records takes as long as it waits. */
  readonly ms: number;
  /** Whether the handler threw what it should not, so that the connection is closed without an answer. */
  readonly failed: boolean;
}

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
