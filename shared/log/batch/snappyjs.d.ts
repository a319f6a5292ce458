declare module 'snappyjs' {
  const snappy: {
    compress(content: Uint8Array): Uint8Array<ArrayBuffer>;
  };
  export default snappy;
}
