import { connect } from 'node:net';

const TIMEOUT_MS = 2_000;
/** Size, Metadata (3) version 1, correlation id 1, no client id, no topics. */
const REQUEST = Buffer.from('0000000e0003000100000001ffff00000000', 'hex');
const HEADER_BYTES = 8;

/**
 * Whether a Kafka server on the loopback answers and knows a broker. A port that accepts connections is not enough: a node
 * listens before it has joined its own cluster.
 */
export function hasBrokers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    let answer = Buffer.alloc(0);
    const end = (result: boolean): void => {
      socket.destroy();
      resolve(result);
    };
    socket.setTimeout(TIMEOUT_MS, () => end(false));
    socket.on('error', () => end(false));
    socket.on('close', () => resolve(false));
    socket.on('connect', () => socket.write(REQUEST));
    socket.on('data', (bytes) => {
      answer = Buffer.concat([answer, bytes]);
      if (answer.length >= HEADER_BYTES + 4) end(answer.readInt32BE(HEADER_BYTES) > 0);
    });
  });
}
