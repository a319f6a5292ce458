/** A member of a generation, as its requests name it. */
export interface InGeneration {
  readonly group: string;
  readonly memberId: string;
  readonly instanceId?: string | undefined;
  readonly generation: number;
}

export interface SyncClassicRequest extends InGeneration {
  /** As the join gave them; `undefined` from clients that do not send them. */
  readonly protocolType?: string | undefined;
  readonly protocol?: string | undefined;
  /** From the leader. Members that it leaves out get nothing. */
  readonly assignments: readonly { readonly memberId: string; readonly assignment: Uint8Array }[];
  /** Ends the wait, when the client has closed its connection for example. */
  readonly signal?: AbortSignal | undefined;
}

export interface SyncClassicResult {
  readonly protocolType: string;
  readonly protocol: string;
  readonly assignment: Uint8Array;
}
