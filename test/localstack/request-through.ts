import { type IncomingHttpHeaders, request } from 'node:http';

export interface ThroughOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

export interface ThroughResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/**
 * Asks an emulator for one of the URLs it has made, as those of functions. Their host names, below `localhost`, don't
 * resolve everywhere: this connects to the endpoint and sends the name as Host, which `fetch` can't.
 */
export function requestThrough(endpoint: string, url: string, options: ThroughOptions = {}): Promise<ThroughResponse> {
  const { hostname, port } = new URL(endpoint);
  const { host, pathname, search } = new URL(url);
  return new Promise((resolve, reject) => {
    const { method = 'GET', headers = {}, body } = options;
    const path = pathname + search;
    const sent = request({ host: hostname, port, method, path, headers: { ...headers, host } }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}
