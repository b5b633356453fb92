import { api } from './api.js';
import { backlog } from './backlog.js';
import { firstBan } from './first-ban.js';
import { fleet } from './fleet.js';
import { idle } from './idle.js';
import { latency } from './latency.js';
import { light } from './light.js';
import { purge } from './purge.js';
import { query } from './query.js';
import { syslog } from './syslog.js';

// Measurements, not tests, as these machines are shared. Each bench prints its results beside a reference from the same run.

const BENCHES: Readonly<Record<string, () => Promise<void>>> = {
  latency,
  idle,
  backlog,
  purge,
  query,
  syslog,
  api,
  fleet,
  light: () => light(builds),
  'first-ban': firstBan,
};

const given = process.argv.slice(2);
/** Directories of builds, which are measured in turn (light). */
const builds = given.filter((word) => word.includes('/'));
const wanted = given.filter((word) => !word.includes('/'));
const unknown = wanted.filter((name) => BENCHES[name] === undefined);
if (wanted.length === 0 || unknown.length > 0) {
  console.error(`usage: npm run bench -- NAME…   with NAME of ${Object.keys(BENCHES).join(', ')}`);
  process.exit(2);
}
for (const name of wanted) await BENCHES[name]?.();
