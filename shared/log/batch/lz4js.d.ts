declare module 'lz4js' {
  const lz4: {
    compressBound(length: number): number;
    /** Returns the compressed length, or 0 if the block does not compress. */
    compressBlock(
      source: Uint8Array,
      target: Uint8Array,
      start: number,
      length: number,
      hashTable: Uint32Array,
    ): number;
  };
  export default lz4;
}

declare module 'lz4js/xxh32.js' {
  const xxh32: { hash(seed: number, bytes: Uint8Array, start: number, length: number): number };
  export default xxh32;
}
