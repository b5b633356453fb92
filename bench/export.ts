import { PORT, ROWS, requestAll, tokenOf } from './api.js';
import { bareNode, MB, Rig, usage } from './bench-fixture.js';
import { addFigure } from './figures.js';
import { fill } from './query.js';

/** The export of a whole table over HTTP: the memory that it takes, each format in a daemon of its own, and its speed. */
export async function exports(): Promise<void> {
  const bare = await bareNode(1);
  for (const format of ['ndjson', 'csv', 'json']) {
    const rig = new Rig();
    rig.api = `{ listen: "127.0.0.1:${PORT}" }`;
    rig.configure(`  audit: { type: file, directory: ${rig.audit}, start: now }`);
    const { db } = rig.open();
    try {
      fill(db);
      const pid = await rig.start();
      const token = await tokenOf(rig);
      const begin = performance.now();
      await requestAll(token, `/api/audit-log?limit=0&format=${format}`);
      const seconds = (performance.now() - begin) / 1_000;
      const rows = `${ROWS.toLocaleString('en')} rows as ${format} over HTTP`;
      addFigure({
        name: `${rows}: RSS of the daemon at most`,
        value: usage(pid).peak / MB,
        unit: 'MB',
        goal: { atMost: 150 },
        peer: { name: 'Node.js with a timer', value: bare.rss / MB },
        bench: 'export',
      });
      addFigure({ name: rows, value: ROWS / seconds, unit: 'rows/s', bench: 'export' });
    } finally {
      db.close();
      await rig.close();
    }
  }
}
