import { wire } from "@bora/contracts";
import { expect, test } from "vitest";
import { RunEvent, runEvent } from "./run-event.js";

test.each([NaN, Infinity])("an event whose seconds are %d is one that a client reads back", (seconds) => {
  const bodies: wire.Event["body"][] = [
    { $case: "stepsDone", stepsDone: wire.StepsDone.fromPartial({ step: 1, seconds }) },
    { $case: "prefixCacheFilled", prefixCacheFilled: wire.PrefixCacheFilled.fromPartial({ seconds }) },
    { $case: "runDone", runDone: wire.RunDone.fromPartial({ seconds }) },
    {
      $case: "evaluated",
      evaluated: wire.Evaluated.fromPartial({ scored: wire.Scored.TASK, split: wire.Split.TEST, seconds }),
    },
  ];
  for (const body of bodies) {
    const told = runEvent(wire.Event.fromPartial({ runId: "r", seq: 1, body }));
    expect(RunEvent.parse(JSON.parse(JSON.stringify(told)))).toEqual(told);
    expect(told).toMatchObject({ seconds: 0 });
  }
});
