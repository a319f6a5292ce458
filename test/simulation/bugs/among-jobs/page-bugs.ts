import type { PlantedBug } from '../planted-bug.ts';
import { ofJobs } from './of-jobs.ts';

const CHANGES = 'shared/log/segment/list-changes.ts';
const JOIN = 'shared/broker/jobs/merge/join-segments.ts';
const GROUP = 'shared/broker/jobs/compact/compact-group.ts';
const FIND = 'shared/broker/segments/find-segments.ts';
const EXPIRE = 'shared/broker/jobs/expire/find-expired.ts';

/** Of the pages of a segment list. */
export const PAGE_BUGS: readonly PlantedBug[] = ofJobs(
  {
    name: 'page-listed-before-it-is-written',
    why: 'A list names a page that is still being written.',
    edits: [
      {
        file: JOIN,
        from: "await retrying(context, 'from_error', () => items.put(key, { [SEGMENT_PAGE.segments]: packSegmentPage(segments) }));",
        to: "void retrying(context, 'from_error', () => items.put(key, { [SEGMENT_PAGE.segments]: packSegmentPage(segments) })).catch(() => {});",
      },
    ],
  },
  {
    name: 'page-listed-after-it-was-given-up',
    // A sweep must give the announcement up while no merge moves the same segments to another page.
    isUnmet: true,
    why: 'A page is listed although its announcement was given up, so that it is garbage.',
    edits: [
      {
        file: CHANGES,
        from: "const taken = takeAnnouncement(list, id, [nameOf('page', slot, page)], nowMs + graceMs);",
        to: "const taken = takeAnnouncement(list, id, [nameOf('page', slot, page)], nowMs + graceMs) ?? list;",
      },
    ],
  },
  {
    name: 'segments-stay-beside-their-page',
    why: 'Segments that moved to a page stay in the list too.',
    edits: [
      { file: CHANGES, from: 'const left = was.segments.slice(segments.length);', to: 'const left = was.segments;' },
    ],
  },
  {
    name: 'one-segment-lost-with-a-page',
    why: 'A page takes one more segment out of the list than it has.',
    edits: [
      {
        file: CHANGES,
        from: 'const left = was.segments.slice(segments.length);',
        to: 'const left = was.segments.slice(segments.length + 1);',
      },
    ],
  },
  {
    name: 'page-ends-with-its-last-segment',
    why: 'A page counts as ending where its last segment begins.',
    edits: [
      {
        file: CHANGES,
        from: 'endOffset: (segments.at(-1) as Segment).endOffset,\n    segments:',
        to: 'endOffset: (segments.at(-1) as Segment).startOffset + 1,\n    segments:',
      },
    ],
  },
  {
    name: 'replaced-page-forgotten',
    why: 'A page that was replaced is not garbage.',
    edits: [{ file: CHANGES, from: "if (page !== undefined) names.push(nameOf('page', slot, page.page));", to: '' }],
  },
  {
    name: 'dropped-page-forgotten',
    why: 'A page of which retention has dropped all is not garbage.',
    edits: [
      {
        file: CHANGES,
        from: "if (page.endOffset <= startOffset) names.push(nameOf('page', slot, page));",
        to: '',
      },
    ],
  },
  {
    name: 'segments-of-a-page-forgotten',
    why: 'The segments of a page that retention drops are not garbage.',
    edits: [
      {
        file: CHANGES,
        from: 'if (segment.endOffset > was.droppedOffset && segment.endOffset <= startOffset)',
        to: 'if (segment.endOffset < was.droppedOffset)',
      },
    ],
  },
  {
    name: 'page-dropped-as-a-whole',
    why: 'A page goes as soon as its first segment is dropped.',
    edits: [
      {
        file: CHANGES,
        from: 'pages: was.pages.filter((page) => page.endOffset > startOffset),',
        to: 'pages: was.pages.filter((page) => page.startOffset >= startOffset),',
      },
    ],
  },
  {
    name: 'page-rewritten-without-its-others',
    why: 'A compaction writes a page with nothing but what it has made.',
    edits: [
      {
        file: GROUP,
        from: 'await job.parts.write({ startOffset: first.startOffset, version: announcement.id }, content);',
        to: 'await job.parts.write({ startOffset: first.startOffset, version: announcement.id }, by);',
      },
    ],
  },
  {
    name: 'page-replaced-without-condition',
    why: 'A compaction replaces a page although another has replaced it.',
    edits: [
      {
        file: CHANGES,
        from: 'if (content === undefined || !hasRun(list, replacement)) return undefined;',
        to: 'if (content === undefined) return undefined;',
      },
    ],
  },
  {
    name: 'only-the-first-page-read',
    why: 'A read looks into one page, and goes on behind the others.',
    edits: [
      {
        file: FIND,
        from: 'for (const page of above(pages, from)) {',
        to: 'for (const page of above(pages, from).slice(0, 1)) {',
      },
    ],
  },
  {
    name: 'page-read-from-its-beginning',
    why: 'A read gets the segments of a page that retention has dropped, too.',
    edits: [
      { file: FIND, from: 'yield* above(inPage, from).filter(isWanted);', to: 'yield* inPage.filter(isWanted);' },
    ],
  },
  {
    name: 'page-expires-with-its-first-segment',
    isUnmet: true,
    why: 'What of a page has expired is decided without a look into it.',
    edits: [
      {
        file: EXPIRE,
        from: 'const page = known.length < all.length - kept.length + 2 ? pages[pagesRead] : undefined;',
        to: 'const page = known.length < 0 ? pages[pagesRead] : undefined;',
      },
    ],
  },
);
