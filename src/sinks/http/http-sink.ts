import type { HttpSinkConfig } from '../../config/http.js';
import type { AuditdError } from '../../errors.js';
import { FormatFailures } from '../format-failures.js';
import type { Encoder } from '../messages.js';
import type {
  Corrections,
  Delivered,
  Finding,
  MessageBatch,
  MessageSink,
  OnProgress,
  SinkDeps,
  SinkFigures,
} from '../sink.js';
import { checkReceiver } from './check.js';
import { credentialHeaders } from './credentials.js';
import { createElasticsearch } from './elasticsearch.js';
import { HttpExchange } from './exchange.js';
import { createOtlp } from './otlp.js';
import { PageDelivery } from './page-delivery.js';
import type { HttpProtocol } from './protocol.js';
import { ReceiverState } from './receiver-state.js';
import { createSplunkHec } from './splunk-hec.js';

/** The sink that sends events to a receiver over HTTP. */
export function createHttpSink(config: HttpSinkConfig, deps: SinkDeps): MessageSink {
  return new HttpSink(config, createProtocol(config), deps);
}

function createProtocol(config: HttpSinkConfig): HttpProtocol {
  switch (config.protocol) {
    case 'elasticsearch':
      return createElasticsearch(config);
    case 'otlp':
      return createOtlp(config);
    case 'splunk-hec':
      return createSplunkHec(config);
  }
}

/** Nothing has to be done while it is idle. */
const IDLE_MS = 60_000;

/**
 * Each answer acknowledges the events of its request, and the cursor moves with it. What the receiver refuses for good is passed only
 * once it has taken another event after that.
 */
class HttpSink implements MessageSink {
  readonly deliveryClass = 'at least once, acknowledged';
  readonly encoder: Encoder;
  private readonly exchange: HttpExchange;
  private readonly receiver: ReceiverState;
  private readonly unformatted: FormatFailures;
  /** The failure of a delivery of which a part arrived: the next call throws it. */
  private failure: AuditdError | null = null;

  constructor(
    private readonly config: HttpSinkConfig,
    private readonly protocol: HttpProtocol,
    private readonly deps: SinkDeps,
  ) {
    this.encoder = protocol.encoder;
    this.exchange = new HttpExchange(config, protocol.scheme);
    this.receiver = new ReceiverState(config, deps);
    this.unformatted = new FormatFailures(deps.log, config.protocol);
  }

  async open(saved: string | null): Promise<Corrections | null> {
    this.failure = null;
    this.exchange.close();
    this.receiver.restore(saved);
    credentialHeaders(this.config.auth, this.protocol.scheme); // reported now, not with the first event
    return null;
  }

  async deliver(batch: MessageBatch, signal: AbortSignal, onProgress?: OnProgress): Promise<Delivered> {
    const { failure } = this;
    this.failure = null;
    if (failure !== null) throw failure;
    const page = new PageDelivery({
      batch,
      exchange: this.exchange,
      protocol: this.protocol,
      receiver: this.receiver,
      config: this.config,
      signal,
      onProgress: onProgress ?? null,
    });
    const { count, error } = await page.run();
    this.unformatted.noteIn(batch.messages, count);
    const isWhole = count === batch.messages.length;
    if (error !== null && count === 0) throw error;
    if (!isWhole) this.failure = error;
    const upTo = isWhole ? batch.upTo : (batch.messages.sequences[count - 1] ?? 0);
    const saved = this.receiver.serialize();
    return saved === null ? { upTo } : { upTo, saved };
  }

  check(): Promise<Finding[]> {
    const exchange = new HttpExchange(this.config, this.protocol.scheme);
    return checkReceiver(this.config, this.protocol, exchange, this.deps.clock());
  }

  figures(): SinkFigures {
    const { receiver, exchange } = this;
    return {
      target: exchange.name,
      ...receiver.figures(),
      bytes_total: exchange.bytes,
      reconnects_total: Math.max(0, exchange.connects - 1),
      unformatted_total: this.unformatted.total,
    };
  }

  tickPeriod(): number {
    return IDLE_MS;
  }

  async close(): Promise<void> {
    this.exchange.close();
  }
}
