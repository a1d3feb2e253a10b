import "reflect-metadata"; // x509's container asks for it first
import { createHash, randomBytes, webcrypto } from "node:crypto";
import { chmod, mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { isIP } from "node:net";
import { dirname, join } from "node:path";
import { BoraError } from "@bora/contracts";
import * as x509 from "@peculiar/x509"; // certificates on WebCrypto: nothing to install on the machine, no key in argv

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const dayMs = 86_400_000;
const clockSkewMs = 3_600_000; // machines of a cluster may disagree about the time

export interface CertificateOptions {
  to: string; // a folder that is not there yet, or empty
  hosts: readonly string[]; // names and addresses of the machines with trainers
  pageHosts?: readonly string[]; // of the machine where `bora serve` shows the page
  days: number;
  nowMs: number;
}

export interface CertificateFiles {
  folder: string;
  files: string[]; // names in it
  expires: Date;
}

interface Issued {
  certificate: x509.X509Certificate;
  keys: CryptoKeyPair;
}

type CryptoKeyPair = webcrypto.CryptoKeyPair;

/**
 * Makes what a cluster needs for TLS: a CA, a certificate for trainers that is good for `hosts` and localhost, one for the
 * controller, one for the page that is good for `pageHosts` and localhost, and two tokens with their hashes: who may
 * speak to the page's API may not speak to trainers. The folder appears whole or not at all, keys and tokens readable
 * by their owner only. Throws usage for a folder that holds something, and for hosts that are none.
 */
export async function makeCertificates(options: CertificateOptions): Promise<CertificateFiles> {
  const { to, hosts, pageHosts = [], days, nowMs } = options;
  for (const host of [...hosts, ...pageHosts]) requireHost(host);
  if (!Number.isInteger(days) || days < 1 || days > 3650)
    throw new BoraError("usage", `--days is ${days}`, { hint: "give a whole number from 1 to 3650" });
  await requireEmpty(to);
  x509.cryptoProvider.set(webcrypto);
  const period = { notBefore: new Date(nowMs - clockSkewMs), notAfter: new Date(nowMs + days * dayMs) };
  const ca = await selfSigned(period);
  const trainer = await issue(ca, "trainer", ["localhost", "127.0.0.1", ...hosts], period);
  const controller = await issue(ca, "controller", [], period);
  const page = await issue(ca, "page", [...pageHosts, "localhost", "127.0.0.1"], period);
  const files: Record<string, string> = {
    "ca.pem": pem(ca),
    "ca-key.pem": await keyPem(ca),
    "trainer.pem": pem(trainer),
    "trainer-key.pem": await keyPem(trainer),
    "controller.pem": pem(controller),
    "controller-key.pem": await keyPem(controller),
    "page.pem": pem(page),
    "page-key.pem": await keyPem(page),
    ...tokenFiles("token"),
    ...tokenFiles("page-token"),
    "trainers.yaml": trainersYaml(hosts),
  };
  await writeFolder(to, files);
  return { folder: to, files: Object.keys(files), expires: period.notAfter };
}

function tokenFiles(name: string): Record<string, string> {
  const token = randomBytes(32).toString("base64url");
  const hash = createHash("sha256").update(token).digest("hex");
  return { [name]: `${token}\n`, [`${name}.sha256`]: `sha256:${hash}\n` };
}

const forOwnerAlone = (name: string): boolean => /(-key\.pem|token)$/.test(name);

async function writeFolder(to: string, files: Record<string, string>): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  const next = await mkdtemp(`${to}.next-`);
  try {
    for (const [name, content] of Object.entries(files)) await writeFile(join(next, name), content, { mode: 0o600 });
    for (const name of Object.keys(files)) if (!forOwnerAlone(name)) await chmod(join(next, name), 0o644);
    await rename(next, to);
  } catch (thrown) {
    await rm(next, { recursive: true, force: true });
    throw thrown;
  }
}

async function requireEmpty(folder: string): Promise<void> {
  const entries = await readdir(folder).catch(() => []);
  if (entries.length > 0)
    throw new BoraError("usage", `${folder} holds ${entries.length} entries already`, {
      hint: "name a new folder: keys that are in use must not be lost",
    });
}

function requireHost(host: string): void {
  if (isIP(host) !== 0 || /^(?=.{1,253}$)(\*\.)?([a-zA-Z0-9_]([\w-]{0,61}[a-zA-Z0-9])?\.?)+$/.test(host)) return;
  throw new BoraError("usage", `${JSON.stringify(host)} is no host name or address`, {
    hint: "give --host and --page-host names and addresses by which trainers and the page are reached, without ports",
  });
}

const newKeys = () => webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]) as Promise<CryptoKeyPair>;
const serial = (): string => `00${randomBytes(15).toString("hex")}`.slice(1);

async function selfSigned(period: { notBefore: Date; notAfter: Date }): Promise<Issued> {
  const keys = await newKeys();
  const usages = x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: "CN=BoRA cluster CA",
    ...period,
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(usages, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate, keys };
}

const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;

/** What each certificate may be shown as; a trainer shows its own to itself, in health checks. */
const usagesOf = { trainer: [serverAuth, clientAuth], controller: [clientAuth], page: [serverAuth] } as const;

async function issue(
  ca: Issued,
  name: keyof typeof usagesOf,
  hosts: readonly string[],
  period: { notBefore: Date; notAfter: Date },
): Promise<Issued> {
  const keys = await newKeys();
  const names = [...new Set(hosts)].map((value) => ({
    type: isIP(value) === 0 ? ("dns" as const) : ("ip" as const),
    value,
  }));
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: `CN=BoRA ${name}`,
    issuer: ca.certificate.subject,
    ...period,
    publicKey: keys.publicKey,
    signingKey: ca.keys.privateKey,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([...usagesOf[name]]),
      await x509.AuthorityKeyIdentifierExtension.create(ca.keys.publicKey),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
    ],
  });
  return { certificate, keys };
}

const pem = ({ certificate }: Issued): string => `${certificate.toString("pem")}\n`;

async function keyPem({ keys }: Issued): Promise<string> {
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
  return `-----BEGIN PRIVATE KEY-----\n${(pkcs8.match(/.{1,64}/g) ?? []).join("\n")}\n-----END PRIVATE KEY-----\n`;
}

/** What the controller reads, with paths beside it. */
const trainersYaml = (hosts: readonly string[]): string =>
  [
    "# Trainers that run already: bora sweep --trainers <this file>. Change the ports to those of your trainers.",
    "trainers:",
    ...(hosts.length === 0 ? ["localhost"] : hosts).map(
      (host) => `  - { address: "${isIP(host) === 6 ? `[${host}]` : host}:50051" }`,
    ),
    "tokenFile: token",
    "tls: { ca: ca.pem, certificate: controller.pem, key: controller-key.pem }",
    "",
  ].join("\n");
