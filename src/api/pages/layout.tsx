import { LOGOUT, PAGE } from '../paths.js';
import { Icon, type IconName } from './icons.js';

export interface Person {
  readonly name: string;
  readonly scope: string;
  readonly csrf: string;
}

export interface LayoutProps {
  readonly title: string;
  /** Null if nobody has logged in. */
  readonly person: Person | null;
  /** URLs of the two files; each changes with the file's content. */
  readonly assets: { readonly css: string; readonly js: string };
  readonly children?: unknown;
}

export function Layout({ title, person, assets, children }: LayoutProps) {
  return (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="robots" content="noindex" />
        <title>{title}</title>
        <link rel="icon" href="data:," />
        <link rel="stylesheet" href={assets.css} />
        {/* Loaded before the first paint, as it applies the chosen theme. */}
        <script src={assets.js} />
      </head>
      <body>
        <a class="skip" href="#main">
          Skip to the content
        </a>
        <div class={person === null ? 'frame alone' : 'frame'}>
          {person === null ? null : <Sidebar person={person} />}
          <main id="main" tabindex={-1}>
            {children}
          </main>
        </div>
      </body>
    </html>
  );
}

function Sidebar({ person }: { person: Person }) {
  return (
    <header class="side">
      <Brand />
      <nav aria-label="Main">
        <ul>
          <Item href={PAGE} icon="log" title="Audit Log" current />
          <Item href={`${PAGE}#bans`} icon="ban" title="Bans" />
          <Item href={`${PAGE}#health`} icon="send" title="Delivery" />
          <Item href="/api/audit-log/docs" icon="book" title="API" />
        </ul>
      </nav>
      <div class="who">
        <p>
          <span class="name">{person.name}</span>
          <span class="second">{person.scope === 'admin' ? 'Can read and lift bans' : 'Can read'}</span>
        </p>
        <button type="button" class="plain" id="theme" hidden>
          <Icon name="theme" />
          <span>Theme: system</span>
        </button>
        <form method="post" action={LOGOUT}>
          <input type="hidden" name="csrf" value={person.csrf} />
          <button type="submit" class="plain">
            <Icon name="out" />
            <span>Log out</span>
          </button>
        </form>
      </div>
    </header>
  );
}

function Item({
  href,
  icon,
  title,
  current,
}: {
  href: string;
  icon: IconName;
  title: string;
  current?: boolean;
}) {
  return (
    <li>
      <a href={href} aria-current={current ? 'page' : undefined}>
        <Icon name={icon} />
        <span>{title}</span>
      </a>
    </li>
  );
}

/** A small gate at the back. */
export function Brand() {
  return (
    <p class="brand">
      <svg viewBox="0 0 32 32" aria-hidden="true" focusable="false">
        <path class="wall" d="M3 29V11a13 9 0 0126 0v18z" />
        <path class="gate" d="M10 29V17a6 6 0 0112 0v12z" />
        <circle class="knob" cx="18.6" cy="22.5" r="1.3" />
      </svg>
      <span>
        Postern Proxy
        <small>Audit daemon</small>
      </span>
    </p>
  );
}
