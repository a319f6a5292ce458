import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

const HOST = '127.0.0.1';
/** What a connection may carry before it is cut, from and to: in requests, then in answers, which are shorter. */
export interface CutBytes {
  readonly requests: readonly [number, number];
  readonly answers: readonly [number, number];
}

const BYTES: CutBytes = { requests: [1_000, 60_000], answers: [600, 4_000] };

export interface CuttingProxy {
  /** `127.0.0.1:<port>`. */
  readonly bootstrap: string;
  /** How many connections were cut so far. */
  readonly cuts: () => number;
  stop(): Promise<void>;
}

/**
 * Passes on bytes as they are, and cuts every connection after a number of bytes that chance decides: one of each two in what
 * the client sends, the other in what the server answers. So requests and answers end in their middle, and nobody gets far by
 * luck: a flow of bytes is cut at least as often as the largest numbers say.
 */
export async function startCuttingProxy({
  port,
  targetPort,
  bytes: { requests, answers } = BYTES,
}: {
  readonly port: number;
  readonly targetPort: number;
  readonly bytes?: CutBytes | undefined;
}): Promise<CuttingProxy> {
  const sockets = new Set<Socket>();
  let cuts = 0;
  /** Decided by chance for the first of two connections; the second takes the other. */
  let inRequests = false;
  let connections = 0;
  const server = createServer((client) => {
    const target = connect(targetPort, HOST);
    const end = (): void => {
      client.destroy();
      target.destroy();
    };
    for (const socket of [client, target]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', end);
      socket.on('close', () => {
        sockets.delete(socket);
        end();
      });
    }
    const cut = (): void => {
      cuts += 1;
      end();
    };
    inRequests = connections % 2 === 0 ? randomInt(2) === 0 : !inRequests;
    connections += 1;
    pass(client, target, inRequests ? randomInt(...requests) : Number.POSITIVE_INFINITY, cut);
    pass(target, client, inRequests ? Number.POSITIVE_INFINITY : randomInt(...answers), cut);
  });
  server.listen(port, HOST);
  await once(server, 'listening');
  return {
    bootstrap: `${HOST}:${port}`,
    cuts: () => cuts,
    async stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Passes on so many bytes, then calls `cut` when they are written. */
function pass(from: Socket, to: Socket, bytes: number, cut: () => void): void {
  let left = bytes;
  from.on('data', (chunk) => {
    if (left <= 0) return;
    const part = chunk.subarray(0, Math.min(chunk.length, left));
    left -= part.length;
    if (left <= 0) to.write(part, cut);
    else if (!to.write(part)) {
      from.pause();
      to.once('drain', () => from.resume());
    }
  });
}
