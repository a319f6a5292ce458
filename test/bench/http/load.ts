import http from 'node:http';

/** A small HTTP/1.1 client with connections that stay open: a load generator must cost less than what it measures. */
export class HttpLoad {
  private readonly agent: http.Agent;
  private readonly port: number;

  constructor(url: string, connections: number) {
    this.agent = new http.Agent({ keepAlive: true, maxSockets: connections });
    this.port = Number(new URL(url).port);
  }

  /** Answers how many bytes came; throws on any status but 2xx. */
  send(method: string, path: string, headers: Record<string, string>, body?: Buffer): Promise<number> {
    return new Promise((resolve, reject) => {
      const allHeaders = body === undefined ? headers : { ...headers, 'content-length': String(body.length) };
      const request = http.request(
        { agent: this.agent, host: '127.0.0.1', port: this.port, method, path, headers: allHeaders },
        (response) => {
          let bytes = 0;
          response.on('data', (chunk: Buffer) => {
            bytes += chunk.length;
          });
          response.on('error', reject);
          response.on('end', () => {
            const ok = response.statusCode !== undefined && response.statusCode < 300;
            if (ok) resolve(bytes);
            else reject(new Error(`${method} ${path}: ${response.statusCode}`));
          });
        },
      );
      request.on('error', reject);
      request.end(body);
    });
  }

  close(): void {
    this.agent.destroy();
  }
}
