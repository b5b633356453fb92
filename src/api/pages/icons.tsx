/** Inline paths, so that nothing is loaded; all on a grid of 24, in the colour of the text. */
const PATHS = {
  log: 'M5 4h14v16H5zM8.5 8.5h7M8.5 12h7M8.5 15.5h4',
  shield: 'M12 3l7 2.6v5.9c0 4.3-2.9 7.6-7 9.5-4.1-1.9-7-5.2-7-9.5V5.6z',
  alert: 'M12 4l9 16H3zM12 10v4.5M12 17.2v.3',
  check: 'M4.5 12.5l5 5 10-11',
  clock: 'M12 4a8 8 0 100 16 8 8 0 000-16zM12 7.8V12l3 2',
  send: 'M4 12h13M12 6l6 6-6 6',
  book: 'M5 5h6a2 2 0 012 2v13a2 2 0 00-2-2H5zM19 5h-4a2 2 0 00-2 2v13a2 2 0 012-2h4z',
  out: 'M10 5H5v14h5M10 12h10M16 8l4 4-4 4',
  theme: 'M12 4a8 8 0 100 16V4z',
  live: 'M12 11a1 1 0 100 2 1 1 0 000-2zM8 8a5.5 5.5 0 000 8M16 8a5.5 5.5 0 010 8M5.3 5.3a9.4 9.4 0 000 13.4M18.7 5.3a9.4 9.4 0 010 13.4',
  down: 'M12 4v11M7 11l5 5 5-5M5 20h14',
  ban: 'M12 4a8 8 0 100 16 8 8 0 000-16zM6.5 6.5l11 11',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
