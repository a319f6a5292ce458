/** Parts that are built and tested, and wait for the part that uses them. A path leaves the list as soon as it is used. */
export const WAITING_FILES: Readonly<{ [path: string]: string }> = {
  'shared/log/group/assign.ts': 'consumer groups (issue 11)',
  'shared/log/group/assignor.ts': 'consumer groups (issue 11)',
  'shared/log/group/range.ts': 'consumer groups (issue 11)',
  'shared/log/group/uniform.ts': 'consumer groups (issue 11)',
  'shared/log/group/partition-set.ts': 'consumer groups (issue 11)',
};
