import type { wire } from "@bora/contracts";
import { describe, expect, it } from "vitest";
import { Inbox, type Message } from "./inbox.js";

const event = ($case: "stepsDone" | "evaluated" | "trialDone"): Message => {
  const body = { $case, [$case]: {} } as wire.Event["body"];
  return { kind: "event", event: { runId: "r", seq: 1, attempt: 1, at: undefined, trialId: "", body } };
};
const never = () => new Promise<void>(() => undefined);

/** Whether gathering ends by itself once `then` has been put in. */
async function ends(inbox: Inbox, ...then: Message[]): Promise<boolean> {
  let ended = false;
  void inbox.gather(never).then(() => (ended = true));
  then.forEach((message) => {
    inbox.put(message);
  });
  await new Promise((resolve) => setImmediate(resolve));
  return ended;
}

describe("what has arrived", () => {
  it("waits for others while nothing is decided by it", async () => {
    const inbox = new Inbox();
    inbox.put(event("stepsDone"));
    expect(await ends(inbox, event("evaluated"))).toBe(false);
    await inbox.gather(() => Promise.resolve()); // the time has run out
    expect(inbox.take()).toHaveLength(2);
  });

  it.each<[string, Message]>([
    ["an event that decides something", event("trialDone")],
    ["the end of a task", { kind: "wake" }],
  ])("waits no longer when %s comes", async (_, message) => {
    const inbox = new Inbox();
    inbox.put(event("evaluated"));
    expect(await ends(inbox, message)).toBe(true);
    expect(inbox.take()).toHaveLength(2);
    inbox.put(event("evaluated"));
    expect(await ends(inbox)).toBe(false);
  });

  it("waits no longer when it is much", async () => {
    const inbox = new Inbox();
    inbox.put(event("stepsDone"));
    expect(await ends(inbox, ...Array.from({ length: 1_022 }, () => event("stepsDone")))).toBe(false);
    expect(await ends(inbox, event("stepsDone"))).toBe(true);
  });

  it("waits no longer when a task of ours has failed", async () => {
    const inbox = new Inbox();
    inbox.put(event("stepsDone"));
    const gathered = inbox.gather(never);
    inbox.fail(new Error("ours"));
    await gathered;
    expect(() => inbox.take()).toThrow("ours");
  });
});
