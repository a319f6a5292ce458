/** Parts that are built and tested, and wait for the part that uses them. A path leaves the list as soon as it is used. */
export const WAITING_FILES: Readonly<{ [path: string]: string }> = {
  'shared/broker/append/mark-head.ts': 'broker/transactions',
  'shared/broker/transactions/bind.ts': 'the face of the broker',
  'shared/broker/transactions/complete.ts': 'the face of the broker',
  'shared/broker/transactions/end.ts': 'the face of the broker',
  'shared/broker/transactions/enlist.ts': 'the face of the broker',
  'shared/broker/transactions/initialise.ts': 'the face of the broker',
  'shared/broker/transactions/items.ts': 'the face of the broker',
  'shared/broker/transactions/list.ts': 'the face of the broker',
  'shared/broker/transactions/move-transaction.ts': 'the face of the broker',
  'shared/broker/transactions/overdue.ts': 'the face of the broker',
  'shared/broker/transactions/producer-names.ts': 'the face of the broker',
  'shared/broker/transactions/sweep-transactions.ts': 'the face of the broker',
  'shared/log/transaction/check-transactional-id.ts': 'the face of the broker',
};
