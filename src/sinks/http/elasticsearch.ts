import type { HttpSinkConfig } from '../../config/http.js';
import { createBulkFormat, shrinkDocument } from '../../formats/elasticsearch-bulk.js';
import { asJsonObject } from '../../formats/json-members.js';
import type { Encoder } from '../messages.js';
import type { Finding } from '../sink.js';
import type { HttpAnswer, HttpExchange } from './exchange.js';
import {
  type AnswerVerdict,
  type EventFate,
  faultFinding,
  foreignBody,
  type HttpProtocol,
  isSuccess,
  jsonObject,
  judgeStatus,
  longestMessage,
  receiverText,
} from './protocol.js';

const NEWLINE = 10;

/** The bulk API of Elasticsearch and OpenSearch. */
export function createElasticsearch(config: HttpSinkConfig): HttpProtocol {
  const index = config.index ?? null;
  const most = longestMessage(config);
  const { format, last } = createBulkFormat(index, most);
  const encoder: Encoder = { key: `elasticsearch ${index} ${most}`, format, last, end: '\n' };
  return {
    encoder,
    contentType: 'application/x-ndjson',
    scheme: 'ApiKey',
    headers: { Accept: 'application/json' },
    bodyOf: (messages) => Buffer.concat(messages),
    judge: judgeBulk,
    shrink: shrinkAction,
    probe: (exchange, signal) => probeBulk(exchange, index, signal),
  };
}

/** Shortens the document of an action and its line ends. */
function shrinkAction(message: Buffer, bytes: number): Buffer | null {
  const end = message.indexOf(NEWLINE) + 1;
  const document = shrinkDocument(message.toString('utf8', end, message.length - 1), bytes - end - 1);
  return document === null ? null : Buffer.concat([message.subarray(0, end), Buffer.from(`${document}\n`)]);
}

function judgeBulk(answer: HttpAnswer, count: number): AnswerVerdict {
  if (!isSuccess(answer.status)) return judgeStatus(answer);
  const said = jsonObject(answer.body);
  if (said === null || typeof said.errors !== 'boolean') return foreignBody(answer);
  const items = said.items;
  if (!said.errors && items === undefined) return { verdict: 'stored', rejected: 0, reason: '' }; // filter_path=errors
  if (!Array.isArray(items) || items.length !== count) return foreignBody(answer);
  const fates = items.map((item: unknown) => fateOf(item));
  if (fates.some((fate) => fate === null)) return foreignBody(answer);
  const denied = fates.flatMap((fate) => (fate !== null && 'denied' in fate ? [fate.denied] : []));
  if (denied.length === count) return { verdict: 'misconfigured', reason: denied[0] ?? '', next: NO_RIGHT };
  return {
    verdict: 'each',
    fates: fates.map((fate) =>
      fate !== null && 'fate' in fate ? fate : { fate: 'busy', reason: fate?.denied ?? '' },
    ),
  };
}

const NO_RIGHT = 'Check index, and the rights of the credentials: create_doc and auto_configure';
const STORED: EventFate = { fate: 'stored' };
const KNOWN: EventFate = { fate: 'known' };

/** Null if it is not of the protocol; `denied` if the index or the credentials are the cause, and not the event. */
function fateOf(item: unknown): EventFate | { readonly denied: string } | null {
  const [result] = Object.values(asJsonObject(item) ?? {});
  const { status, error } = asJsonObject(result) ?? {};
  if (typeof status !== 'number') return null;
  if (isSuccess(status)) return STORED;
  if (status === 409) return KNOWN;
  const reason = `status ${status}: ${errorText(error)}`;
  if (status === 429 || status >= 500) return { fate: 'busy', reason };
  // 401, 403: no right, or a block of the index; 404: the index does not exist and is not created.
  return status === 400 || status === 413 || status === 422
    ? { fate: 'refused', reason }
    : { denied: reason };
}

/** Type and reason of an error, with the causes below it: the innermost names the field. */
function errorText(error: unknown): string {
  if (typeof error === 'string') return receiverText(error);
  const { type, reason, caused_by: cause } = asJsonObject(error) ?? {};
  const own = [type, reason].filter((part) => typeof part === 'string').join(': ');
  return receiverText(cause === undefined ? own : `${own}; ${errorText(cause)}`);
}

/** The url of another API of the same server. */
function siblingUrl(url: URL, path: string): URL {
  const base = url.pathname.replace(/\/_bulk$/, '').split('/');
  base.pop(); // the index, or the empty part before it
  const sibling = new URL(url);
  sibling.pathname = `${base.join('/')}/${path}`;
  sibling.search = '';
  return sibling;
}

function indexIn(url: URL): string | null {
  const name =
    url.pathname
      .replace(/\/_bulk$/, '')
      .split('/')
      .pop() ?? '';
  return name === '' ? null : decodeURIComponent(name);
}

async function probeBulk(
  exchange: HttpExchange,
  index: string | null,
  signal: AbortSignal,
): Promise<Finding[]> {
  const { name, url } = exchange;
  const wanted = index ?? indexIn(url) ?? '';
  const asked = { index: [{ names: [wanted], privileges: ['create_doc'] }] };
  const rights = await exchange.ask(
    {
      method: 'POST',
      url: siblingUrl(url, '_security/user/_has_privileges'),
      contentType: 'application/json',
      body: Buffer.from(JSON.stringify(asked)),
    },
    signal,
  );
  if (rights.status === 200 && jsonObject(rights.body)?.has_all_requested === true)
    return [{ level: 'ok', what: `${name}: the credentials may create documents in ${wanted}` }];
  if (rights.status === 200 && jsonObject(rights.body)?.has_all_requested === false)
    return [
      {
        level: 'error',
        what: `${name}: the credentials may not create documents in ${wanted}`,
        next: `Give them the privilege create_doc on ${wanted} (and auto_configure, if the index does not exist yet)`,
      },
    ];
  // OpenSearch, and a server without security, do not have this API. They refuse an empty request without storing anything.
  const empty = await exchange.ask(
    { method: 'POST', contentType: 'application/x-ndjson', body: Buffer.alloc(0) },
    signal,
  );
  if (empty.status === 400 && jsonObject(empty.body) !== null)
    return [
      {
        level: 'ok',
        what: `${name}: it answers as a bulk API; whether the credentials may write to ${wanted} is not known before the first event`,
      },
    ];
  const fault = isSuccess(empty.status) ? foreignBody(empty) : judgeStatus(empty);
  const finding = faultFinding(name, fault);
  return finding === null ? [] : [finding];
}
