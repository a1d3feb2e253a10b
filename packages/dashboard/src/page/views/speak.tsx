import { useSearchParams } from "wouter";
import { mostSources, pagePaths, SweepList, SweepView, type TextSource } from "../../web/page-api.ts";
import { ErrorNotice } from "../parts/notices.tsx";
import { useResource } from "../use-resource.ts";
import { useTitle } from "../use-title.ts";
import { readRequest, sourceKey, writeRequest, type Asked } from "./speak-address.ts";
import { Spoken } from "./spoken.tsx";
import { Voices } from "./voices.tsx";

type Change = (change: Partial<Asked>) => void;

function Settings({ asked, change }: { asked: Asked; change: Change }) {
  const field = (name: string, key: "seed" | "maxTokens" | "temperature" | "topP", step: number, most: number) => (
    <label>
      {name}
      <input
        type="number"
        value={asked[key]}
        min={key === "maxTokens" ? 1 : key === "topP" ? 0.01 : 0}
        max={most}
        step={step}
        onChange={({ target }) => {
          if (target.value !== "") change({ [key]: target.valueAsNumber });
        }}
      />
    </label>
  );
  return (
    <div className="settings">
      {field("seed", "seed", 1, 0xffffffff)}
      {field("tokens, at most", "maxTokens", 1, 1_000)}
      {field("temperature", "temperature", 0.1, 5)}
      {field("top p", "topP", 0.01, 1)}
    </div>
  );
}

function toggled(sources: readonly TextSource[], source: TextSource): TextSource[] {
  const key = sourceKey(source);
  const without = sources.filter((one) => sourceKey(one) !== key);
  return without.length < sources.length ? without : [...sources, source].slice(0, mostSources);
}

function Speaker({ asked, change }: { asked: Asked; change: Change }) {
  const { value: sweep, error } = useResource(pagePaths.sweep(asked.sweepId), SweepView);
  return (
    <>
      {error !== null && <ErrorNotice error={error} />}
      {sweep !== null && (
        <>
          <Voices
            sweep={sweep}
            chosen={asked.sources}
            onToggle={(source) => {
              change({ sources: toggled(asked.sources, source) });
            }}
          />
          <Spoken asked={asked} sweep={sweep} />
        </>
      )}
    </>
  );
}

/** A prompt, and what the base, Theta and chosen tasks go on with, side by side. All of it is in the address. */
export function SpeakView() {
  useTitle("Read them speak");
  const [search, setSearch] = useSearchParams();
  const { value, error } = useResource(pagePaths.sweeps, SweepList);
  const asked = readRequest(search, value?.sweeps.find(({ trials }) => trials.ended > 0)?.sweepId ?? "");
  const change: Change = (next) => {
    setSearch(writeRequest({ ...asked, ...next }), { replace: true });
  };
  return (
    <>
      <h1>Read them speak</h1>
      {error !== null && <ErrorNotice error={error} />}
      <div className="asking">
        <label className="prompt">
          prompt
          <textarea
            rows={4}
            value={asked.prompt}
            maxLength={20_000}
            onChange={({ target }) => {
              change({ prompt: target.value });
            }}
          />
        </label>
        <div>
          <label>
            sweep
            <select
              value={asked.sweepId}
              onChange={({ target }) => {
                change({ sweepId: target.value, sources: [] });
              }}
            >
              {value?.sweeps.map(({ sweepId }) => (
                <option key={sweepId}>{sweepId}</option>
              ))}
            </select>
          </label>
          <Settings asked={asked} change={change} />
        </div>
      </div>
      {asked.sweepId === "" ? (
        <p className="empty">No sweep has a finished trial yet.</p>
      ) : (
        <Speaker asked={asked} change={change} />
      )}
    </>
  );
}
