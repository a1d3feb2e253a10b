import { BoraError, wire, type TransportTls } from "@bora/contracts";
import { credentials, type ChannelCredentials, type ChannelOptions } from "@grpc/grpc-js";
import {
  createChannel,
  createClientFactory,
  Metadata,
  type Channel,
  type Client,
  type ClientMiddleware,
} from "nice-grpc";
import { deadlineMiddleware, type DeadlineOptions } from "nice-grpc-client-middleware-deadline";
import { errorDetailsClientMiddleware } from "nice-grpc-error-details";
import type { TrainerAddress } from "./trainer.js";

/** Milliseconds a call may take; docs/protocol.md has the table. Streams have their own rules. */
const deadlines = {
  describe: { deadline: 5_000 },
  inspect: { deadline: 300_000 },
  start: { deadline: 30_000 },
  renewLease: { deadline: 5_000 },
  cancel: { deadline: 10_000 },
};

/** Every call of ours may be repeated, so a trainer that is away for a moment is asked again. */
const serviceConfig = {
  loadBalancingConfig: [],
  methodConfig: [
    {
      name: [{ service: wire.TrainerServiceDefinition.fullName }],
      retryPolicy: {
        maxAttempts: 4,
        initialBackoff: "0.1s",
        maxBackoff: "2s",
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
  retryThrottling: { maxTokens: 20, tokenRatio: 0.5 },
};

const channelOptions: ChannelOptions = {
  "grpc.service_config": JSON.stringify(serviceConfig),
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.initial_reconnect_backoff_ms": 100, // shorter than the retries above, so that they meet a fresh connection
  "grpc.max_reconnect_backoff_ms": 5_000,
  "grpc.max_receive_message_length": 16 * 1024 * 1024,
  "grpc.use_local_subchannel_pool": 1, // a trainer that comes back on an old address gets a connection of its own
};

export type TrainerClient = Client<typeof wire.TrainerServiceDefinition, DeadlineOptions>;

const bearer = (token: string): ClientMiddleware =>
  async function* withToken(call, options) {
    const metadata = Metadata(options.metadata).set("authorization", `Bearer ${token}`);
    return yield* call.next(call.request, { ...options, metadata });
  };

/** Throws tls_unreadable for PEM text that OpenSSL does not take. */
function secured(address: string, { ca, certificate, key }: TransportTls): ChannelCredentials {
  const bytes = (pem: string | null) => (pem === null ? null : Buffer.from(pem));
  try {
    return credentials.createSsl(Buffer.from(ca), bytes(key), bytes(certificate));
  } catch (cause) {
    throw new BoraError("tls_unreadable", `the certificates for ${address} cannot be used: ${String(cause)}`, {
      hint: "bora certs makes a CA, certificates and keys that belong together",
      cause,
    });
  }
}

/** A channel to one trainer and the typed client on it: token, deadlines, retries and rich errors are in place. */
export function dial({ address, token, tls = null }: TrainerAddress): { channel: Channel; client: TrainerClient } {
  const channel = createChannel(
    address,
    tls === null ? credentials.createInsecure() : secured(address, tls),
    channelOptions,
  );
  const client = createClientFactory()
    .use(bearer(token))
    .use(errorDetailsClientMiddleware)
    .use(deadlineMiddleware)
    .create(wire.TrainerServiceDefinition, channel, deadlines);
  return { channel, client };
}
