import { expect, it, vi } from 'vitest';
import { copyEvent } from '../../src/audit/event.js';
import { lineOf } from '../../src/commands/explain/line.js';
import { plainEvent } from '../formats/events.js';

it.each(['ecs', 'cef', 'leef', 'ocsf'] as const)(
  'an event that %s can not take is explained in its least form, and said to be',
  (format) => {
    const broken = Object.defineProperty(copyEvent(plainEvent, {}), 'rawAction', {
      get: () => {
        throw new Error('no such \u001b[31mtext');
      },
    });
    const told: string[] = [];
    const stderr = vi
      .spyOn(process.stderr, 'write')
      .mockImplementation((text) => told.push(String(text)) > 0);
    try {
      const line = lineOf(broken, format);
      expect(line).toContain('unformatted');
      expect(line).not.toContain('jan.kowalski');
      expect(told.join('')).toContain(
        `event postern:4711 can't be written as ${format}: no such \\x1b[31mtext`,
      );
    } finally {
      stderr.mockRestore();
    }
  },
);
