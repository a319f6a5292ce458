declare module 'crc-32/crc32c.js' {
  const crc: {
    /** The result is signed; `seed` is the checksum of the preceding bytes. */
    buf(bytes: Uint8Array, seed: number): number;
  };
  export default crc;
}
