import { describe, expect, test } from 'vitest';
import { compareHistory, type Evidence } from '../../src/source/detect-replaced-database.js';

const A = 'aaaaaaaaaaaaaaaa';
const B = 'bbbbbbbbbbbbbbbb';
const mark = { timeline: 1, id: 10, fingerprint: A };

describe('comparing a database with its mark', () => {
  const gone: Evidence = {
    mark,
    atMark: null,
    sequence: null,
    maxId: 0,
    probe: null,
    onlyEdited: () => false,
  };
  test.each<[string, Partial<Evidence>, 'same' | 'edited' | 'deleted' | 'replaced']>([
    ['nothing read yet', { mark: { ...mark, id: 0 }, maxId: 5, atMark: null }, 'same'],
    ['the row as it was', { atMark: A, maxId: 10 }, 'same'],
    ['another row', { atMark: B, maxId: 10 }, 'replaced'],
    ['another row, though ids went on', { atMark: B, maxId: 99, sequence: 99 }, 'replaced'],
    ['another row, edited', { atMark: B, maxId: 10, onlyEdited: () => true }, 'edited'],
    [
      'another row, edited, ids went on',
      { atMark: B, maxId: 99, sequence: 99, onlyEdited: () => true },
      'edited',
    ],
    [
      'another row, edited, but ids went back',
      { atMark: B, maxId: 10, sequence: 9, onlyEdited: () => true },
      'replaced',
    ],
    [
      'gone, and a row below it edited',
      { sequence: 12, maxId: 12, probe: { id: 9, found: B, recorded: A }, onlyEdited: () => true },
      'deleted',
    ],
    ['a row that was not recorded', { mark: { ...mark, fingerprint: null }, atMark: B, maxId: 10 }, 'same'],
    [
      'no row, not recorded, ids went on',
      { mark: { ...mark, fingerprint: null }, sequence: 12, maxId: 12 },
      'deleted',
    ],
    [
      'no row, not recorded, ids went back',
      { mark: { ...mark, fingerprint: null }, sequence: 4, maxId: 4 },
      'replaced',
    ],

    ['AUTOINCREMENT: deleted at the end', { sequence: 10, maxId: 7 }, 'deleted'],
    ['AUTOINCREMENT: deleted in the middle', { sequence: 20, maxId: 20 }, 'deleted'],
    ['AUTOINCREMENT: emptied', { sequence: 10, maxId: 0 }, 'deleted'],
    ['AUTOINCREMENT: ids went back', { sequence: 9, maxId: 9 }, 'replaced'],
    ['AUTOINCREMENT: emptied and counted from the start', { sequence: 0, maxId: 0 }, 'replaced'],
    [
      'a row below it is as recorded',
      { sequence: 12, maxId: 12, probe: { id: 9, found: A, recorded: A } },
      'deleted',
    ],
    [
      'a row below it is another',
      { sequence: 12, maxId: 12, probe: { id: 9, found: B, recorded: A } },
      'replaced',
    ],
    [
      'a row below it was never recorded',
      { sequence: 12, maxId: 12, probe: { id: 9, found: B, recorded: null } },
      'deleted',
    ],

    ['no sequence: deleted in the middle', { maxId: 20 }, 'deleted'],
    [
      'no sequence: deleted in the middle, but another row',
      { maxId: 20, probe: { id: 9, found: B, recorded: A } },
      'replaced',
    ],
    ['no sequence: deleted at the end, its id will come again', { maxId: 9 }, 'replaced'],
    [
      'no sequence: the end is deleted, the rest as recorded',
      { maxId: 9, probe: { id: 9, found: A, recorded: A } },
      'replaced',
    ],
    ['no sequence: emptied', { maxId: 0 }, 'same'],
  ])('the history of the database: %s', (_, evidence, history) => {
    expect(compareHistory({ ...gone, ...evidence })).toMatchObject({ history });
  });
});
