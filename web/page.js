// What the page can do besides with a script: the theme, times that stay true, the live tail. Without it all else works.
(() => {
  const root = document.documentElement;
  const kept = {
    get: (key) => {
      try {
        return localStorage.getItem(key);
      } catch {
        return null; // storage may be forbidden
      }
    },
    set: (key, value) => {
      try {
        localStorage.setItem(key, value);
      } catch {
        // then it holds for this page only
      }
    },
  };

  const THEMES = ['system', 'light', 'dark'];
  const LATEST_MS = 1_000;
  const IDLE_MS = 15_000;

  function wear(theme) {
    if (theme === 'light' || theme === 'dark') root.dataset.theme = theme;
    else delete root.dataset.theme;
  }
  wear(kept.get('theme'));

  function theme() {
    const button = document.getElementById('theme');
    if (button === null) return;
    const name = () => (THEMES.includes(kept.get('theme')) ? kept.get('theme') : 'system');
    let now = name();
    const show = () => {
      button.querySelector('span').textContent = `Theme: ${now}`;
    };
    button.hidden = false;
    show();
    button.addEventListener('click', () => {
      now = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
      kept.set('theme', now);
      wear(now);
      show();
    });
  }

  const UNITS = [
    ['y', 31_557_600_000],
    ['mo', 2_629_800_000],
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['min', 60_000],
    ['s', 1_000],
  ];

  // As in moment.tsx.
  function relative(time) {
    const ms = Date.now() - time;
    const far = Math.abs(ms);
    if (far < 5_000) return 'just now';
    const [unit, size] = UNITS.find(([, each]) => far >= each * 1.5) ?? ['s', 1_000];
    const span = `${Math.round(far / size)} ${unit}`;
    return ms > 0 ? `${span} ago` : `in ${span}`;
  }

  function times() {
    for (const each of document.querySelectorAll('time[data-relative]')) {
      each.textContent = relative(Date.parse(each.dateTime));
    }
  }

  function say(text) {
    const place = document.getElementById('said');
    if (place !== null) place.textContent = text;
  }

  /** Exchanges the parts that change. What was open stays open, and who was somewhere with the keyboard stays there. */
  function exchange(fresh) {
    const before = new Set([...document.querySelectorAll('details.entry')].map(({ id }) => id));
    const open = new Set([...document.querySelectorAll('details[open][id]')].map(({ id }) => id));
    const focused = document.activeElement?.closest('details[id]')?.id;
    const list = before.size > 0;
    let added = 0;
    for (const part of document.querySelectorAll('[data-live]')) {
      const next = fresh.getElementById(part.id);
      // Somebody is about to press a button in it.
      if (next === null || (part.contains(document.activeElement) && focused === undefined)) continue;
      for (const each of next.querySelectorAll('details[id]')) {
        if (open.has(each.id)) each.open = true;
        if (!list || before.has(each.id) || !each.classList.contains('entry')) continue;
        each.parentElement.classList.add('fresh');
        added++;
      }
      part.replaceWith(document.importNode(next, true));
    }
    if (focused !== undefined)
      document.getElementById(focused)?.querySelector('summary')?.focus({ preventScroll: true });
    times();
    if (added > 0) say(added === 1 ? '1 new entry' : `${added} new entries`);
  }

  function live() {
    const button = document.getElementById('live');
    if (button === null) return;
    let stream = null;
    let timer = null;
    let asked = 0;
    let running = false;
    let again = false; // something happened while the page was being fetched

    async function refresh() {
      timer = null;
      if (running || stream === null) return;
      running = true;
      again = false;
      asked = Date.now();
      try {
        const answer = await fetch(location.href, { headers: { accept: 'text/html' }, cache: 'no-store' });
        if (answer.redirected && new URL(answer.url).pathname === '/audit-log/login') {
          stop();
          say('You have been logged out.');
          location.assign(answer.url);
          return;
        }
        const text = await answer.text();
        if (stream !== null) exchange(new DOMParser().parseFromString(text, 'text/html'));
      } catch {
        say('The server does not answer; trying again.');
      } finally {
        running = false;
      }
      soon(again ? 0 : IDLE_MS);
    }

    function happened() {
      if (running) again = true;
      else soon(50);
    }

    // At most once a second, however many events there are.
    function soon(ms) {
      if (stream === null) return;
      const at = Math.max(ms, asked + LATEST_MS - Date.now());
      if (timer !== null) clearTimeout(timer);
      timer = setTimeout(refresh, Math.max(0, at));
    }

    function start() {
      // Whatever happens: bans and the verdicts follow from more than what is filtered.
      stream = new EventSource('/api/audit-log/stream');
      for (const name of ['entry', 'version', 'gap']) stream.addEventListener(name, happened);
      button.setAttribute('aria-pressed', 'true');
      kept.set('live', 'on');
      soon(0);
    }

    function stop() {
      stream?.close();
      stream = null;
      if (timer !== null) clearTimeout(timer);
      timer = null;
      button.setAttribute('aria-pressed', 'false');
    }

    button.hidden = false;
    button.addEventListener('click', () => {
      if (stream === null) start();
      else {
        stop();
        kept.set('live', 'off');
      }
    });
    addEventListener('pagehide', stop);
    if (kept.get('live') === 'on') start();
  }

  document.addEventListener('DOMContentLoaded', () => {
    root.classList.add('js');
    theme();
    live();
    times();
    setInterval(times, 10_000);
  });
})();
