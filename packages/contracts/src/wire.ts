// The generated messages under one name, `wire`, so that a reader sees at each use that a value is the protocol's.
export * from "./generated/bora/trainer/v1/run.js";
export * from "./generated/bora/trainer/v1/event.js";
export * from "./generated/bora/trainer/v1/trainer.js";
