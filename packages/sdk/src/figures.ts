// Drawing loads a DOM and a plotting library, so it has a door of its own: who draws nothing loads neither.
export { perplexityAgainstTau } from "@bora/report";
