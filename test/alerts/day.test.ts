import { expect, it } from 'vitest';
import { type AlertsRig, withAlerts } from './alerts-fixture.js';

const ROWS = Number(process.env.ALERT_DAY_ROWS ?? 100_000);
const MINUTES = 1_440;
const USERS = 40;
const SEED = Number(process.env.ALERT_DAY_SEED ?? 4_711);

/** A planted attack: what happens in its minute, and the alerts that must come of it. */
interface Planted {
  readonly minute: number;
  readonly write: (rig: AlertsRig) => void;
  /** `action user` */
  readonly alerts: readonly string[];
}

/** mulberry32 */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

const home = (user: number) => `10.1.${user}.${1 + (user % 200)}`;

/** One of each kind every 36 minutes, each with an attacker, a user and a network of its own. */
function plan(): Planted[] {
  const planted: Planted[] = [];
  for (let n = 0; n < 10; n++) {
    const at = 30 + n * 140;
    const [guessed, sprayed, roaming, cleaner] = ['guessed', 'sprayed', 'roaming', 'cleaner'].map(
      (kind) => `${kind}${n}`,
    ) as [string, string, string, string];
    const attacker = n % 2 === 0 ? `203.0.113.${n + 1}` : `2001:db8:${n}:1::7`;
    planted.push(
      {
        minute: at,
        write: (rig) => {
          rig.fail(5 + n, { user: `guess${n}`, address: attacker });
          rig.login(guessed, attacker);
          for (let change = 0; change <= n; change++)
            rig.row({ action: 'update', type: 'proxy_host', user: guessed, address: attacker });
        },
        alerts: [`login_after_failures ${guessed}`, `change_after_alert ${guessed}`],
      },
      {
        minute: at + 35,
        write: (rig) => {
          for (let from = 1; from <= 6; from++)
            rig.fail(1, { user: sprayed, address: `198.51.${n}.${from}` });
          rig.login(sprayed, `198.51.${n}.99`);
        },
        alerts: [`login_after_failures ${sprayed}`],
      },
      { minute: at + 70, write: (rig) => rig.login(roaming, `172.16.${n}.1`), alerts: [] },
      {
        minute: at + 80,
        write: (rig) => rig.login(roaming, `172.17.${n}.1`),
        alerts: [`new_network ${roaming}`],
      },
      {
        minute: at + 105,
        write: (rig) => {
          for (let count = 0; count < 12; count++) rig.remove(cleaner, { resource: String(count) });
        },
        alerts: [`deletions ${cleaner}`],
      },
    );
  }
  return planted;
}

/** Everyday rows that must raise nothing: rightful users who mistype, scanners who never get in, changes and a few deletions. */
function writeNoise(rig: AlertsRig, minute: number, rows: number, random: () => number): void {
  const user = minute % USERS; // each one once in 40 minutes
  const name = `user${user}`;
  const address = home(user);
  rig.fail(Math.floor(random() * 5), { user: name, address }); // four at most
  rig.login(name, address);
  for (let n = 0; n < 4; n++) rig.remove(name, { address, resource: String(n) });
  for (let n = 0; n < rows - 8; n++) {
    const draw = random();
    if (draw < 0.6)
      rig.fail(1, { user: `scan${minute}-${n}`, address: `192.0.${Math.floor(random() * 250)}.${n % 250}` });
    else if (draw < 0.7)
      rig.fail(1, { user: 'admin', address: `100.64.${Math.floor(random() * 250)}.${n % 250}` });
    else rig.row({ action: 'update', type: 'proxy_host', user: name, address, resource: String(n) });
  }
}

it('a day with planted attacks: all are found, and nothing else', { timeout: 600_000 }, () =>
  withAlerts({}, async (rig) => {
    const random = randomOf(SEED);
    const planted = plan();
    await rig.learned();
    for (let minute = 0; minute < MINUTES; minute++) {
      rig.db.transaction(() => {
        writeNoise(rig, minute, Math.floor(ROWS / MINUTES), random);
        for (const attack of planted) if (attack.minute === minute) attack.write(rig);
      })();
      await rig.read();
      rig.pass(60_000);
      rig.alerts?.tick();
    }
    await rig.settle();
    const found = rig.raised().map(({ action, user }) => `${action} ${user}`);
    const expected = planted.flatMap(({ alerts }) => alerts);
    expect(new Set(found)).toEqual(new Set(expected));
    expect(found.length).toBe(expected.length);
    const changes = rig.raised().filter(({ action }) => action === 'change_after_alert');
    expect(changes.map(({ details }) => details.changes)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  }),
);
