import { parseEventId } from '../../shared/http/read/event-id.ts';

/** One server-sent event, as the browser's `EventSource` would report it, with the id of the event itself. */
export interface ReadEvent {
  readonly event: string;
  readonly data: string;
  readonly id: string | undefined;
}

const WAIT_MS = 10_000;

/** Reads server-sent events one by one. Fails after ten seconds without one. */
export class EventReader {
  readonly response: Response;
  retryMs: number | undefined;
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  private readonly abort: AbortController;
  private readonly decoder = new TextDecoder();
  private text = '';

  private constructor(response: Response, abort: AbortController) {
    this.response = response;
    this.abort = abort;
    this.reader = (response.body as ReadableStream<Uint8Array>).getReader();
  }

  static async open(
    fetch: (init: RequestInit) => Promise<Response>,
    headers: Record<string, string> = {},
  ): Promise<EventReader> {
    const abort = new AbortController();
    const response = await fetch({ headers, signal: abort.signal });
    if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
    return new EventReader(response, abort);
  }

  /** The next event, or `undefined` at the end of the stream. */
  async next(): Promise<ReadEvent | undefined> {
    for (;;) {
      const end = this.text.indexOf('\n\n');
      if (end >= 0) {
        const block = this.text.slice(0, end);
        this.text = this.text.slice(end + 2);
        const event = this.parse(block);
        if (event !== undefined) return event;
        continue;
      }
      const { done, value } = await this.read();
      if (done) return undefined;
      this.text += this.decoder.decode(value, { stream: true });
    }
  }

  /** The next event of a kind; other events are skipped. */
  async nextOf(kind: string): Promise<ReadEvent> {
    for (;;) {
      const event = await this.next();
      if (event === undefined) throw new Error(`The stream ended without ${kind}.`);
      if (event.event === kind) return event;
    }
  }

  async close(): Promise<void> {
    await this.reader.cancel().catch(() => {});
    this.abort.abort();
  }

  private async read(): Promise<ReadableStreamReadResult<Uint8Array>> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`No event came within ${WAIT_MS} ms.`)), WAIT_MS);
    });
    try {
      return await Promise.race([this.reader.read(), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  private parse(block: string): ReadEvent | undefined {
    let event = 'message';
    let id: string | undefined;
    const data: string[] = [];
    for (const line of block.split('\n')) {
      const [, name, value = ''] = /^([^:]*):? ?(.*)$/s.exec(line) as RegExpExecArray;
      if (name === 'event') event = value;
      else if (name === 'id') id = value;
      else if (name === 'data') data.push(value);
      else if (name === 'retry') this.retryMs = Number(value);
      else throw new Error(`A line of an event cannot be parsed: ${line}`);
    }
    return data.length === 0 ? undefined : { event, id, data: data.join('\n') };
  }
}

/** The next offsets that an event's id stands for, as one writes them by hand: `0:17,1:4`. */
export function positionsOf(id: string | undefined): string | undefined {
  if (id === undefined) return undefined;
  const { offsets } = parseEventId(id) ?? {};
  if (offsets === undefined) throw new Error(`This is not the id of an event: ${id}`);
  return [...offsets].map(([partition, offset]) => `${partition}:${offset}`).join();
}
