/** What a caller shows and trusts, as PEM text, when a trainer is reached over a network. */
export interface TransportTls {
  ca: string; // certificates that the trainer's must come from
  certificate: string | null; // shown where the trainer asks for one (mutual TLS)
  key: string | null;
}
