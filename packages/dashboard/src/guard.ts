import { createHash, timingSafeEqual } from "node:crypto";
import { BoraError } from "@bora/contracts";

/** A token as it is compared and kept: SHA-256. */
export const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/** Compares in time that does not depend on where two tokens differ. */
export const sameToken = (given: string, token: string): boolean => timingSafeEqual(digest(given), digest(token));

/** The token of an authorization header; empty when there is none. */
export const bearerOf = (authorization: string | undefined): string =>
  /^Bearer (.+)$/.exec(authorization ?? "")?.[1] ?? "";

/** Throws unauthenticated unless the header carries the token. */
export function checkToken(authorization: string | undefined, token: string): void {
  if (sameToken(bearerOf(authorization), token)) return;
  throw new BoraError("unauthenticated", "the request carries no valid token", {
    hint: "send authorization: Bearer with the token of controller.json",
  });
}

/** A page of another origin reaches loopback by a name of its own (DNS rebinding): only our own names are served. */
export const isOwnHost = (host: string | undefined, port: number): boolean =>
  ["127.0.0.1", "localhost", "[::1]"].some((name) => host === `${name}:${port}`);
