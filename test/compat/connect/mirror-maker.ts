import type { World } from '../cases/world.ts';
import { startProgram } from '../server/start-program.ts';

const MAIN = 'org.apache.kafka.connect.mirror.MirrorMaker';
/** MirrorMaker's name of the cluster that it reads: the first part of the names of mirrored topics. */
export const SOURCE = 'origin';
const TARGET = 'copy';

export interface Flow {
  readonly from: World;
  readonly to: World;
}

/** MirrorMaker 2 as a process of its own, which mirrors one topic and one group. */
export class MirrorMaker {
  readonly #world: World;
  readonly #flow: Flow;
  readonly #mirrored: { readonly topic: string; readonly group: string };

  constructor(world: World, flow: Flow, mirrored: { readonly topic: string; readonly group: string }) {
    this.#world = world;
    this.#flow = flow;
    this.#mirrored = mirrored;
  }

  /** Starts it. It has no sign of being ready; what it mirrors shows. */
  async start(): Promise<void> {
    const server = await startProgram({
      name: 'mirror-maker',
      command: this.#world.command,
      main: MAIN,
      properties: () => this.#properties(),
      isReady: () => Promise.resolve(true),
    });
    this.#world.atEnd(() => server.stop());
  }

  #properties(): Readonly<Record<string, string>> {
    const often = [
      'refresh.topics',
      'refresh.groups',
      'sync.topic.configs',
      'sync.group.offsets',
      'emit.checkpoints',
      'emit.heartbeats',
    ];
    const replicated = [
      'replication',
      'checkpoints.topic.replication',
      'heartbeats.topic.replication',
      'offset-syncs.topic.replication',
      'config.storage.replication',
      'offset.storage.replication',
      'status.storage.replication',
    ];
    return {
      clusters: `${SOURCE}, ${TARGET}`,
      [`${SOURCE}.bootstrap.servers`]: this.#flow.from.server.bootstrap,
      [`${TARGET}.bootstrap.servers`]: this.#flow.to.server.bootstrap,
      [`${SOURCE}->${TARGET}.enabled`]: 'true',
      [`${SOURCE}->${TARGET}.topics`]: this.#mirrored.topic,
      [`${SOURCE}->${TARGET}.groups`]: this.#mirrored.group,
      [`${TARGET}->${SOURCE}.enabled`]: 'false',
      [`${TARGET}->${SOURCE}.emit.heartbeats.enabled`]: 'false',
      'tasks.max': '2',
      'sync.topic.acls.enabled': 'false',
      'sync.group.offsets.enabled': 'true',
      // So that an offset is translated at each record, and not at every hundredth.
      'offset.lag.max': '0',
      // The last syncs are written with a flush of offsets; a worker has the settings of its target.
      [`${TARGET}.offset.flush.interval.ms`]: '500',
      // Kafka runs as one node here, and the default is 3.
      ...Object.fromEntries(replicated.map((name) => [`${name}.factor`, '1'])),
      // The defaults are a minute and more.
      ...Object.fromEntries(often.map((name) => [`${name}.interval.seconds`, '1'])),
    };
  }
}
