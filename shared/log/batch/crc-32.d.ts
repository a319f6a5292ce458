declare module 'crc-32/crc32c.js' {
  const crc: {
    /** Signed; `seed` is the checksum of what came before. */
    buf(bytes: Uint8Array, seed: number): number;
  };
  export default crc;
}
