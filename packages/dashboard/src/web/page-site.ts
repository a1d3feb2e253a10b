import type { Server } from "node:net";
import { isLoopback } from "@bora/contracts";
import { isOwnHost } from "../guard.js";
import type { PageTls } from "./page-tls.js";

/** The page's own address: what Host, Origin and the cookie's name are held against. */
export class PageSite {
  constructor(
    private readonly server: Server, // listens, when it is asked
    private readonly tls: PageTls | null,
  ) {}

  get secure(): boolean {
    return this.tls !== null;
  }

  /** Cookies know no ports: two servers on one machine must not take each other's. */
  get cookieName(): string {
    return `${this.secure ? "__Host-" : ""}bora_session_${this.port}`; // __Host-: none but this host, over TLS, can set it
  }

  get cookieAttributes(): string {
    return `HttpOnly; SameSite=Strict; Path=/${this.secure ? "; Secure" : ""}`;
  }

  /** Whether a Host header is ours: another name that was pointed at this server by DNS is not (DNS rebinding). */
  isOwn(host: string | undefined): boolean {
    if (this.tls === null) return isOwnHost(host, this.port);
    const [, name = "", port = "443"] = /^(\[[\da-f:]+\]|[\w.-]+)(?::(\d+))?$/i.exec(host ?? "") ?? [];
    return Number(port) === this.port && this.tls.covers(name.replace(/^\[|\]$/g, ""));
  }

  /** The Origin of our own page as a request with this Host comes from it. */
  originAt(host: string | undefined): string {
    return `${this.secure ? "https" : "http"}://${host ?? ""}`;
  }

  /**
   * Whether a browser may be told that this name speaks nothing but TLS. Other servers of whoever sits at this machine
   * are called localhost too.
   */
  isStrict(host: string | undefined): boolean {
    return this.secure && !isLoopback((host ?? "").replace(/:\d+$/, ""));
  }

  /** As a browser is sent here. */
  urlOn(host: string): string {
    const name = this.tls?.nameFor(host) ?? host;
    return `${this.secure ? "https" : "http"}://${name.includes(":") ? `[${name}]` : name}:${this.port}`;
  }

  private get port(): number {
    const address = this.server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }
}
