import type { Api } from '../../../../shared/kafka/protocol/api.ts';
import type { Fields, ReadOf, WrittenOf } from '../../../../shared/kafka/protocol/fields.ts';
import { FrameReader } from '../../../../shared/kafka/protocol/frames.ts';
import { readAnswer, requestFrame } from '../../../support/kafka-client.ts';
import type { Wire } from '../../world/wire.ts';
import type { Client } from '../client.ts';

const FRAME_BYTES_MAX = 1024 * 1024;

interface Asked {
  readonly answered: (frame: Uint8Array) => void;
  readonly lost: () => void;
}

/** A connection as Kafka's clients use it: requests are sent without waiting, and answered in their order. */
export class KafkaConnection {
  readonly slot: number;
  readonly #client: Client;
  readonly #wire: Wire;
  readonly #frames = new FrameReader(FRAME_BYTES_MAX);
  readonly #asked: Asked[] = [];
  #correlationId = 0;

  constructor(client: Client, slot: number) {
    this.slot = slot;
    this.#client = client;
    this.#wire = client.world.connect(slot, {
      received: (bytes) => {
        this.#frames.push(bytes);
        for (let frame = this.#frames.next(); frame !== undefined; frame = this.#frames.next()) {
          const next = this.#asked.shift();
          if (next === undefined) client.surprise('an answer came that nothing was asked for');
          else next.answered(frame);
        }
      },
      closed: () => this.#lose(),
    });
  }

  get isOpen(): boolean {
    return this.#wire.isOpen;
  }

  get inFlight(): number {
    return this.#asked.length;
  }

  /** `undefined`: the connection ended before it was answered. */
  request<Request extends Fields, Response extends Fields>(
    api: Api<Request, Response>,
    version: number,
    request: WrittenOf<Request>,
  ): Promise<ReadOf<Response> | undefined> {
    if (!this.isOpen) return Promise.resolve(undefined);
    const correlationId = ++this.#correlationId;
    this.#wire.send(requestFrame(api, version, request, { correlationId }));
    const answer = new Promise<ReadOf<Response> | undefined>((resolve) => {
      this.#asked.push({
        answered: (frame) => {
          try {
            resolve(readAnswer(api, version, frame, correlationId));
          } catch (error) {
            this.#client.surprise(String(error));
            resolve(undefined);
          }
        },
        lost: () => resolve(undefined),
      });
    });
    let isAnswered = false;
    void answer.then(() => {
      isAnswered = true;
    });
    // Kafka's clients end a connection on which a request is not answered in time.
    this.#client.world.loop.at(this.#client.patienceMs, () => {
      if (!isAnswered) this.close();
    });
    return answer;
  }

  close(): void {
    if (!this.isOpen) return;
    this.#wire.close();
    this.#lose();
  }

  #lose(): void {
    for (const { lost } of this.#asked.splice(0)) lost();
  }
}
