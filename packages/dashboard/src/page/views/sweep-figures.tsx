import { learningCurves, perplexityAgainstTau } from "@bora/report/figures";
import { useMemo } from "react";
import { useSearchParams } from "wouter";
import { Figures, pagePaths, type CurveColumns } from "../../web/page-api.ts";
import { Figure } from "../parts/figure.tsx";
import { ErrorNotice } from "../parts/notices.tsx";
import { useResource } from "../use-resource.ts";

type Perplexity = NonNullable<Figures["perplexity"]>;
type Curves = Parameters<typeof learningCurves>[0];

export const drawPerplexity = (data: Perplexity, width: number): Element => perplexityAgainstTau(data, { width });
const drawValidation = (data: Curves, width: number): Element => learningCurves(data, { width });
const drawTraining = (data: Curves, width: number): Element => learningCurves(data, { width, of: "training" });

function curvesOf(columns: readonly CurveColumns[], base: number | null): Curves | null {
  if (columns.length === 0) return null;
  const curves = columns.map(({ steps, natsPerToken, ...curve }) => ({
    ...curve,
    points: steps.map((step, index) => ({ step, perplexity: Math.exp(natsPerToken[index] ?? NaN) })),
  }));
  return { curves, base: base === null ? null : Math.exp(base) };
}

/** Which of the two curves is seen is in the address, so that a reload shows the same. */
function useTraining(): [boolean, (training: boolean) => void] {
  const [search, setSearch] = useSearchParams();
  const choose = (training: boolean) => {
    setSearch(
      (before) => {
        const next = new URLSearchParams(before);
        if (training) next.set("curves", "training");
        else next.delete("curves");
        return next;
      },
      { replace: true },
    );
  };
  return [search.get("curves") === "training", choose];
}

export function SweepFigures({ sweepId, version }: { sweepId: string; version: number }) {
  const { value, error } = useResource(pagePaths.figures(sweepId), Figures, { version, everyMs: 15_000 });
  const [training, setTraining] = useTraining();
  const curves = useMemo(
    () => (value === null ? null : curvesOf(training ? value.train : value.validation, value.base)),
    [value, training],
  );
  const choice = (name: string, chosen: boolean, wanted: boolean) => (
    <button
      type="button"
      aria-pressed={chosen}
      onClick={() => {
        setTraining(wanted);
      }}
    >
      {name}
    </button>
  );
  return (
    <div className="figures" data-position={value?.position}>
      <section aria-labelledby="by-tau">
        <h2 id="by-tau">Perplexity against τ</h2>
        {error !== null && <ErrorNotice error={error} />}
        <Figure
          data={value?.perplexity ?? null}
          draw={drawPerplexity}
          empty={value === null ? "reading…" : "No trial has been scored on test yet: the figure fills in as they end."}
        >
          Thick: all tasks (macro). Thin: each task. Dashed: the base model. The dot marks the best τ by validation.
        </Figure>
      </section>
      <section aria-labelledby="curves">
        <div className="titled">
          <h2 id="curves">Learning curves</h2>
          <div className="choice" role="group" aria-label="which curves">
            {choice("validation", !training, false)}
            {choice("training", training, true)}
          </div>
        </div>
        <Figure
          data={curves}
          draw={training ? drawTraining : drawValidation}
          empty={value === null ? "reading…" : "Nothing was evaluated yet."}
        >
          A line a trial, in the colour of its τ from independent to shared; the dot marks its best step.
        </Figure>
      </section>
    </div>
  );
}
