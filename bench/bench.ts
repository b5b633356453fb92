import { api } from './api.js';
import { backlog } from './backlog.js';
import { exports } from './export.js';
import { figuresTable, machine, writeTable } from './figures.js';
import { firstBan } from './first-ban.js';
import { fleet } from './fleet.js';
import { overHttp } from './http.js';
import { idle } from './idle.js';
import { latency } from './latency.js';
import { light } from './light.js';
import { purge } from './purge.js';
import { query } from './query.js';
import { regressions } from './regressions.js';
import { syslog } from './syslog.js';

// Measurements, not tests, as these machines are shared. Each bench prints its results beside a reference from the same run.

const BENCHES: Readonly<Record<string, () => Promise<void>>> = {
  latency,
  idle,
  backlog,
  purge,
  query,
  syslog,
  http: overHttp,
  api,
  export: exports,
  fleet,
  light: () => light(builds),
  'first-ban': firstBan,
  regressions,
};

/** What `npm run bench` measures without names: the figures of docs/PERFORMANCE.md. */
const TABLE = ['backlog', 'syslog', 'light', 'export', 'fleet'];

const given = process.argv.slice(2);
const isWriting = given.includes('--write');
const names = given.filter((word) => word !== '--write' && !word.includes('/'));
/** Directories of builds, which are measured in turn (light). */
const builds = given.filter((word) => word.includes('/'));
const unknown = names.filter((name) => BENCHES[name] === undefined);
if (unknown.length > 0) {
  console.error(`usage: npm run bench -- [--write] [NAME…]   with NAME of ${Object.keys(BENCHES).join(', ')}

Without names: ${TABLE.join(', ')}, and a table of their figures. --write puts it into docs/PERFORMANCE.md.`);
  process.exit(2);
}
const wanted = names.length === 0 ? TABLE : names;
for (const name of wanted) await BENCHES[name]?.();
const table = figuresTable();
if (table !== null) console.log(`\n${machine()}\n\n${table}`);
if (isWriting) writeTable();
