import { setTimeout as sleep } from 'node:timers/promises';
import { MB, Rig, usage } from './bench-fixture.js';

const SECONDS = 30;

/** CPU and memory of the daemon while nothing happens, with Postern's database open beside it. */
export async function idle(): Promise<void> {
  const rig = new Rig();
  try {
    const { db, recorder } = rig.open();
    for (let n = 0; n < 1_000; n++) recorder.record({ action: 'auth.login_success', details: { n } });
    const pid = await rig.start();
    await sleep(20_000); // until the start and V8's garbage collection after it are over
    const before = usage(pid);
    await sleep(SECONDS * 1_000);
    const after = usage(pid);
    const share = ((after.cpu - before.cpu) / SECONDS) * 100;
    console.log(
      `idle: ${share.toFixed(2)} % of a core over ${SECONDS} s, RSS ${(after.rss / MB).toFixed(0)} MB`,
    );
    db.close();
  } finally {
    await rig.close();
  }
}
