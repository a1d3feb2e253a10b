import { createHash, randomBytes } from "node:crypto";
import { BoraError } from "@bora/contracts";
import { sameToken } from "../guard.js";

const sessionMs = 7 * 24 * 3_600_000;
const mostSessions = 100;
const mostFailures = 5; // in a window
const windowMs = 60_000;

const secret = (): string => randomBytes(32).toString("base64url");
const hashOf = (token: string): string => createHash("sha256").update(token).digest("hex");

interface Held {
  csrf: string;
  endsAt: number;
}

export class TooManyLogins extends BoraError {
  constructor(readonly retryAfterSeconds: number) {
    super("unauthenticated", `${mostFailures} wrong logins within ${windowMs / 1000} s: wait ${retryAfterSeconds} s`, {
      hint: "then open the link that bora serve printed last",
    });
  }
}

/** Who may use the page: a link that works once, then a cookie. Only hashes of secrets are kept. */
export class Sessions {
  private readonly held = new Map<string, Held>(); // by hash of the cookie
  private link: string | null = null; // hash
  private failures: number[] = []; // when

  constructor(private readonly now: () => number) {}

  /** A new login token; the one before is void. */
  newLink(): string {
    const token = secret();
    this.link = hashOf(token);
    return token;
  }

  /** The cookie's value for the token of a link that was not used yet. Throws unauthenticated. */
  login(token: string): string {
    this.failures = this.failures.filter((at) => at > this.now() - windowMs);
    const [oldest] = this.failures;
    if (oldest !== undefined && this.failures.length >= mostFailures)
      throw new TooManyLogins(Math.ceil((oldest + windowMs - this.now()) / 1000));
    if (this.link === null || !sameToken(hashOf(token), this.link)) {
      this.failures.push(this.now());
      throw new BoraError("unauthenticated", "this login link was used already, or is of another start", {
        hint: "press Enter where bora serve runs for a new link",
      });
    }
    this.link = null;
    return this.begin();
  }

  /** The session of a cookie, or null. */
  find(cookie: string | undefined): { csrf: string } | null {
    if (cookie === undefined) return null;
    const key = hashOf(cookie);
    const found = this.held.get(key);
    if (found === undefined) return null;
    if (found.endsAt > this.now()) return found;
    this.held.delete(key);
    return null;
  }

  end(cookie: string): void {
    this.held.delete(hashOf(cookie));
  }

  private begin(): string {
    const cookie = secret();
    this.held.set(hashOf(cookie), { csrf: secret(), endsAt: this.now() + sessionMs });
    const [oldest] = this.held.keys();
    if (this.held.size > mostSessions && oldest !== undefined) this.held.delete(oldest);
    return cookie;
  }
}
