import { execFileSync } from 'node:child_process';
import { afterEach, expect, it } from 'vitest';
import { LARGEST_ROW } from '../../src/retention/archive/row-size-limit.js';
import { NOW, RetentionRig, sqlTime } from './retention-fixture.js';

/** Written by another program: better-sqlite3 can neither write nor read it, because V8 has no string of that length. */
const WRITE = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
row = "INSERT INTO audit_log (created_at, action, resource_type, details) VALUES ('2025-01-01 12:00:00', 'update', 'setting', %s)"
for text in ["CAST(zeroblob(520 * 1048576) AS TEXT)", "'{}'", "CAST(zeroblob(%d) AS TEXT)" % (int(sys.argv[2]) - 100)]:
    db.execute(row % text)
db.execute("INSERT INTO audit_log (created_at, action) VALUES (CAST(zeroblob(520 * 1048576) AS TEXT), 'update')")
db.execute("INSERT INTO audit_log (created_at, action) VALUES ('" + sys.argv[3] + "', 'update')")
db.commit()
`;

let rig: RetentionRig;
afterEach(() => rig.close());

it('a row with a value of 520 MiB stays and stops nothing; the largest archivable row is archived and restored', async () => {
  rig = new RetentionRig();
  execFileSync('python3', ['-c', WRITE, rig.database, String(LARGEST_ROW), sqlTime(NOW)], {
    stdio: 'inherit',
  });
  for (let n = 0; n < 2; n++) {
    const { targets } = await rig.run('keep: { default: 1y }');
    expect(targets[0]?.plan).toMatchObject({ staying: { large: 1, undated: 1, young: 1 } });
    expect(rig.ids()).toEqual([1, 4, 5]);
  }
  expect(rig.archived()).toEqual([2, 3]);
});
