import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { createSecureContext } from "node:tls";
import { BoraError, isLoopback, readPem } from "@bora/contracts";

/** PEM files: the page's certificate chain, and its private key. */
export interface PageTlsFiles {
  certificate: string;
  key: string;
}

/** What the page shows over TLS, and the names that its certificate is good for. */
export interface PageTls {
  /** For Node's https. */
  readonly options: { cert: string; key: string; minVersion: "TLSv1.2" };
  /** Whether the certificate is good for a name or address. */
  covers(name: string): boolean;
  /** The name to print for a server that listens on `host`: other machines know it by one of the certificate's. */
  nameFor(host: string): string;
}

/** Throws tls_unreadable when a file cannot be read, the two do not belong together, or no name is in them. */
export async function readPageTls(files: PageTlsFiles): Promise<PageTls> {
  const options = {
    cert: await readPem(files.certificate, "CERTIFICATE"),
    key: await readPem(files.key, "PRIVATE KEY"),
    minVersion: "TLSv1.2",
  } as const;
  const certificate = leafOf(options, files);
  const names = [...(certificate.subjectAltName ?? "").matchAll(/(?:DNS|IP Address):([\w.:*-]+)/g)].map(
    ([, name = ""]) => name,
  );
  const [first] = names;
  if (first === undefined)
    throw new BoraError("tls_unreadable", `${files.certificate} names no host (subjectAltName)`, {
      hint: "bora certs --page-host NAME makes one that does",
    });
  const covers = (name: string): boolean =>
    isIP(name) === 0
      ? certificate.checkHost(name, { subject: "never" }) !== undefined
      : certificate.checkIP(name) !== undefined;
  const nameFor = (host: string): string =>
    covers(host) ? host : (names.find((name) => !isLoopback(name) && !name.startsWith("*")) ?? first);
  return { options, covers, nameFor };
}

/** The page's own certificate, the first of its chain, once OpenSSL has taken it together with the key. */
function leafOf(options: PageTls["options"], files: PageTlsFiles): X509Certificate {
  try {
    createSecureContext(options);
    return new X509Certificate(options.cert);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new BoraError("tls_unreadable", `${files.certificate} and ${files.key} cannot be used together: ${why}`, {
      hint: "give a certificate and its own key, which has no passphrase; bora certs makes such files",
      cause,
    });
  }
}
