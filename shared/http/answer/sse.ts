/** Server-sent events (WHATWG HTML, section 9.2). `data` and `id` must have no line breaks; JSON text has none. */
export interface ServerEvent {
  readonly event: string;
  readonly data: string;
  readonly id?: string | undefined;
}

export function eventText({ event, data, id }: ServerEvent): string {
  return `event: ${event}\n${id === undefined ? '' : `id: ${id}\n`}data: ${data}\n\n`;
}

/** How long a client waits before it connects again. */
export function retryText(ms: number): string {
  return `retry: ${ms}\n\n`;
}
