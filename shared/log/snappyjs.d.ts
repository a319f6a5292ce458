declare module 'snappyjs' {
  const snappy: {
    compress(content: Uint8Array): Uint8Array<ArrayBuffer>;
    /** @throws where the block says that it holds more than `bytesMax`, or is malformed. */
    uncompress(block: Uint8Array, bytesMax?: number): Uint8Array<ArrayBuffer>;
  };
  export default snappy;
}
