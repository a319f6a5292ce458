/** Parts that are built and tested, and wait for the part that uses them. A path leaves the list as soon as it is used. */
export const WAITING_FILES: Readonly<{ [path: string]: string }> = {};
