import type { HttpSinkConfig } from '../../config/http.js';
import { asJsonObject } from '../../formats/json-members.js';
import { createOtlpJson, joinOtlpJson, shrinkOtlpJson } from '../../formats/otlp-json.js';
import {
  createOtlpProtobuf,
  joinOtlpProtobuf,
  protobufFields,
  shrinkOtlpProtobuf,
} from '../../formats/otlp-protobuf.js';
import type { Finding } from '../sink.js';
import type { HttpAnswer, HttpExchange } from './exchange.js';
import {
  type AnswerVerdict,
  faultFinding,
  foreignBody,
  type HttpProtocol,
  isSuccess,
  jsonObject,
  judgeStatus,
  longestMessage,
  receiverText,
} from './protocol.js';

/** OTLP/HTTP: ExportLogsServiceRequest in protobuf or JSON. */
export function createOtlp(config: HttpSinkConfig): HttpProtocol {
  const most = longestMessage(config);
  const isJson = config.encoding === 'json';
  const { format, last } = isJson ? createOtlpJson(most) : createOtlpProtobuf(most);
  const join = isJson ? joinOtlpJson : joinOtlpProtobuf;
  const contentType = isJson ? 'application/json' : 'application/x-protobuf';
  const key = `otlp ${isJson ? 'json' : 'protobuf'} ${most}`;
  return {
    encoder: { key, format, last, end: '', ...(isJson ? {} : { isBinary: true }) },
    contentType,
    scheme: 'Bearer',
    headers: { Accept: contentType },
    bodyOf: join,
    judge: judgeExport,
    shrink: isJson ? shrinkOtlpJson : shrinkOtlpProtobuf,
    probe: (exchange, signal) => probeExport(exchange, contentType, join([]), signal),
  };
}

const STORED: AnswerVerdict = { verdict: 'stored', rejected: 0, reason: '' };

/** What an ExportLogsServiceResponse says. Events in `partial_success` must not be sent again, and are not named. */
function judgeExport(answer: HttpAnswer): AnswerVerdict {
  if (!isSuccess(answer.status)) return judgeStatus(answer);
  if (answer.body.length === 0) return STORED;
  // A receiver may answer in JSON to protobuf.
  return (
    (answer.contentType === 'application/json' ? ofJson(answer.body) : ofProtobuf(answer)) ??
    foreignBody(answer)
  );
}

function ofJson(body: Buffer): AnswerVerdict | null {
  const said = jsonObject(body);
  if (said === null || Object.keys(said).some((key) => key !== 'partialSuccess')) return null;
  const { rejectedLogRecords: rejected = 0, errorMessage: message } =
    asJsonObject(said.partialSuccess ?? {}) ?? {};
  return partial(Number(rejected), typeof message === 'string' ? message : '');
}

function ofProtobuf({ contentType, body }: HttpAnswer): AnswerVerdict | null {
  if (contentType === 'text/html') return null;
  const fields = protobufFields(body);
  if (fields === null || fields.some(({ number, value }) => number !== 1 || value !== null)) return null;
  const inner = fields.flatMap(({ content }) => protobufFields(content));
  if (inner.includes(null)) return null;
  const rejected = inner.find((field) => field?.number === 1)?.value ?? 0;
  const message = inner.find((field) => field?.number === 2)?.content.toString('utf8') ?? '';
  return partial(rejected, message);
}

function partial(rejected: number, message: string): AnswerVerdict | null {
  if (!Number.isInteger(rejected) || rejected < 0) return null;
  return { verdict: 'stored', rejected, reason: receiverText(message) || 'partial success' };
}

/** An empty request is valid, and stores nothing. */
async function probeExport(
  exchange: HttpExchange,
  contentType: string,
  body: Buffer,
  signal: AbortSignal,
): Promise<Finding[]> {
  const { name } = exchange;
  const answer = await exchange.ask({ method: 'POST', contentType, body }, signal);
  const verdict = judgeExport(answer);
  if (verdict.verdict === 'stored') return [{ level: 'ok', what: `${name}: it takes OTLP requests` }];
  const finding = faultFinding(name, verdict);
  return finding === null ? [] : [finding];
}
