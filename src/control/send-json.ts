import type { Context } from 'hono';
import { toSafeJson } from '../audit/unsafe-characters.js';

/** Answers with JSON without characters that a terminal acts on: many people read it with curl. */
export function sendJson(
  c: Context,
  value: unknown,
  status: 200 | 201 | 400 | 404 | 409 | 500 | 503 = 200,
): Response {
  return c.body(toSafeJson(value), status, { 'content-type': 'application/json' });
}
