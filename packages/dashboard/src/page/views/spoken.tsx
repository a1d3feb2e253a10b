import { useEffect, useRef, useState } from "react";
import { pagePaths, SpokenLine, SpeakRequest, type SweepView, type TextSource } from "../../web/page-api.ts";
import { post, Refused } from "../api.ts";
import { ErrorNotice } from "../parts/notices.tsx";
import { formatTau } from "../words.ts";
import { sourceKey, type Asked } from "./speak-address.ts";

interface Text {
  text: string;
  done: "length" | "end" | null;
}

const silent: Text = { text: "", done: null };

/** Lines of a response as they come. */
async function* linesOf(response: Response): AsyncGenerator<string> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (reader === undefined) return;
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    const parts = (rest + (value ?? "")).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
    if (done) break;
  }
  if (rest !== "") yield rest;
}

/** What was said before to the same request: a reload shows it again without saying it again. */
const remembered = {
  read(key: string): Text[] | null {
    const text = sessionStorage.getItem(key);
    const value: unknown = text === null ? null : JSON.parse(text);
    return Array.isArray(value) ? value.map((one: Text) => ({ text: String(one.text), done: one.done })) : null;
  },
  write(key: string, texts: readonly Text[]): void {
    try {
      sessionStorage.setItem(key, JSON.stringify(texts));
    } catch {
      // full: then a reload is silent
    }
  },
};

export function nameOf(source: TextSource, sweep: SweepView): string {
  if (source.at === "base") return "base model";
  const trial = sweep.trials.find(({ id }) => id === source.trialId);
  const tau = trial === undefined ? source.trialId : formatTau(trial.tau);
  return `${source.at === "task" ? source.task : "Θ"}, τ = ${tau}`;
}

function useSpeech(request: SpeakRequest) {
  const key = `spoken ${JSON.stringify(request)}`;
  const [texts, setTexts] = useState<readonly Text[]>([]);
  const [error, setError] = useState<Refused | null>(null);
  const [speaking, setSpeaking] = useState<AbortController | null>(null);
  const running = useRef<AbortController | null>(null);
  useEffect(() => {
    setTexts(remembered.read(key) ?? []);
    setError(null);
    return () => running.current?.abort();
  }, [key]);
  const speak = async (signal: AbortSignal): Promise<void> => {
    let said: Text[] = request.sources.map(() => silent);
    setTexts(said);
    for await (const line of linesOf(await post(pagePaths.speak, request, signal))) {
      const piece = SpokenLine.parse(JSON.parse(line));
      if ("error" in piece) throw new Refused(piece.error.code, piece.error.message, piece.error.hint, 0);
      said = said.map((own, place) =>
        place === piece.source ? { text: own.text + piece.text, done: piece.done ?? own.done } : own,
      );
      setTexts(said);
    }
    remembered.write(key, said);
  };
  const start = () => {
    const left = new AbortController();
    running.current = left;
    setSpeaking(left);
    setError(null);
    speak(left.signal)
      .catch((thrown: unknown) => {
        if (left.signal.aborted) return;
        setError(thrown instanceof Refused ? thrown : new Refused("internal", String(thrown), "", 0));
      })
      .finally(() => {
        setSpeaking(null);
      });
  };
  return { texts, error, speaking: speaking !== null, start, stop: () => speaking?.abort() };
}

export function Spoken({ asked, sweep }: { asked: Asked; sweep: SweepView }) {
  const parsed = SpeakRequest.safeParse({
    ...{ sources: asked.sources, prompt: asked.prompt, seed: asked.seed, maxTokens: asked.maxTokens },
    ...{ temperature: asked.temperature, topP: asked.topP },
  });
  if (!parsed.success)
    return (
      <p className="empty">
        {asked.sources.length === 0 ? "Choose at least one voice." : "A number above is outside its range."}
      </p>
    );
  return <Speech request={parsed.data} sweep={sweep} />;
}

function Speech({ request, sweep }: { request: SpeakRequest; sweep: SweepView }) {
  const { texts, error, speaking, start, stop } = useSpeech(request);
  return (
    <section aria-labelledby="spoken">
      <h2 id="spoken">What they say</h2>
      <p className="verbs">
        {speaking ? (
          <button type="button" onClick={stop}>
            Stop
          </button>
        ) : (
          <button type="button" className="main" onClick={start}>
            Continue the prompt
          </button>
        )}
        <span className="soft" role="status">
          {speaking ? "speaking…" : ""}
        </span>
      </p>
      {error !== null && <ErrorNotice error={error} />}
      <div className="speeches">
        {request.sources.map((source, place) => {
          const { text, done } = texts[place] ?? silent;
          return (
            <article key={sourceKey(source)} data-done={done ?? ""}>
              <h3>{nameOf(source, sweep)}</h3>
              <p className="speech">
                <span className="soft">{request.prompt}</span>
                {text}
                {done === "length" && <span className="soft">…</span>}
              </p>
            </article>
          );
        })}
      </div>
    </section>
  );
}
