/** Parts that are built and tested, and wait for the part that uses them. A path leaves the list as soon as it is used. */
export const WAITING_FILES: Readonly<{ [path: string]: string }> = {
  'shared/kafka/protocol/messages/access/sasl-authenticate.ts': 'issue 12: access over SASL',
  'shared/kafka/protocol/messages/access/sasl-handshake.ts': 'issue 12: access over SASL',
};
