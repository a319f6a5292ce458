import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createGzip } from 'node:zlib';

export interface CompressingProxy {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * A reverse proxy that compresses every answer, as CDNs and the usual middleware do: bytes come out when the compressor has
 * gathered a block, or at the end of the answer. It leaves alone what must not be transformed (RFC 9111, section 5.2.2.6).
 */
export async function compressingProxy(upstreamUrl: string): Promise<CompressingProxy> {
  const { hostname, port } = new URL(upstreamUrl);
  const server: Server = createServer((incoming, outgoing) => {
    const headers = { ...incoming.headers, host: `${hostname}:${port}` };
    delete headers['accept-encoding'];
    const { url: path, method } = incoming;
    const forward = request({ hostname, port, path, method, headers }, (answer) => {
      const passed = { ...answer.headers };
      delete passed['transfer-encoding'];
      delete passed.connection;
      const mayTransform = !/(?:^|,)\s*no-transform\s*(?:,|$)/i.test(answer.headers['cache-control'] ?? '');
      if (!mayTransform) {
        outgoing.writeHead(answer.statusCode ?? 502, passed);
        answer.pipe(outgoing);
        return;
      }
      delete passed['content-length'];
      outgoing.writeHead(answer.statusCode ?? 502, { ...passed, 'content-encoding': 'gzip' });
      answer.pipe(createGzip()).pipe(outgoing);
    });
    forward.on('error', () => outgoing.destroy());
    incoming.pipe(forward);
    outgoing.on('close', () => forward.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
