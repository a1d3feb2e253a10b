import type { SweepView, TextSource } from "../../web/page-api.ts";
import { formatTau } from "../words.ts";
import { sourceKey } from "./speak-address.ts";

const mostTrials = 16; // rows; a grid of hundreds would be no choice

/** The finished trials a person would hear: one for each tau, the best first where there are too many. */
function trialsOf(sweep: SweepView): SweepView["trials"] {
  const seen = new Set<number>();
  const one = sweep.trials.filter(({ at, tau }) => {
    if ((at !== "done" && at !== "adopted") || seen.has(tau)) return false;
    seen.add(tau);
    return true;
  });
  if (one.length <= mostTrials) return one;
  const every = Math.ceil(one.length / mostTrials);
  return one.filter(({ id }, place) => place % every === 0 || place === one.length - 1 || id === sweep.best?.trialId);
}

/** A row a tau, a column a task, and Theta; the base speaks once. */
export function Voices({
  sweep,
  chosen,
  onToggle,
}: {
  sweep: SweepView;
  chosen: readonly TextSource[];
  onToggle: (source: TextSource) => void;
}) {
  const { sweepId } = sweep;
  const keys = new Set(chosen.map(sourceKey));
  const box = (source: TextSource, name: string) => (
    <input
      type="checkbox"
      aria-label={name}
      checked={keys.has(sourceKey(source))}
      onChange={() => {
        onToggle(source);
      }}
    />
  );
  const trials = trialsOf(sweep);
  const tasks = sweep.tasks.slice(0, 40);
  if (trials.length === 0) return <p className="empty">No trial of this sweep has finished yet.</p>;
  return (
    <section aria-labelledby="voices">
      <h2 id="voices">Voices</h2>
      <p>
        <label>{box({ at: "base", sweepId }, "base model")} base model, no adapter</label>
      </p>
      <div className="scroll" tabIndex={0} role="region" aria-label="voices by τ and task">
        <table className="voices">
          <thead>
            <tr>
              <th scope="col">τ</th>
              <th scope="col">Θ alone</th>
              {tasks.map(({ slug, name }) => (
                <th key={slug} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {trials.map(({ id, tau }) => (
              <tr key={id}>
                <th scope="row">{formatTau(tau)}</th>
                <td>{box({ at: "prior-mean", sweepId, trialId: id }, `Θ at τ = ${formatTau(tau)}`)}</td>
                {tasks.map(({ slug, name }) => (
                  <td key={slug}>
                    {box({ at: "task", sweepId, trialId: id, task: name }, `${name} at τ = ${formatTau(tau)}`)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
