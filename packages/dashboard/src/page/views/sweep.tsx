import { useCallback, useState } from "react";
import { Link } from "wouter";
import { pagePaths, SweepView, type Command } from "../../web/page-api.ts";
import { post, Refused } from "../api.ts";
import { Bar, ErrorNotice, StandingBadge } from "../parts/notices.tsx";
import { useResource } from "../use-resource.ts";
import { useStream } from "../use-stream.ts";
import { useTitle } from "../use-title.ts";
import { duration, isLive, isResumable, perplexity, formatTau, rate, time } from "../words.ts";
import { EventLog } from "./event-log.tsx";
import { SweepFigures } from "./sweep-figures.tsx";
import { PackTable, TaskTable, TauTable, TrialTable } from "./sweep-tables.tsx";

const unfinished: ReadonlySet<string> = new Set(["planned", "training", "stopped"]);

/** Cancel asks once more: what it ends is not begun again by a slip of the hand. */
function Verbs({ sweep, onSent }: { sweep: SweepView; onSent: () => void }) {
  const [asking, setAsking] = useState(false);
  const [sending, setSending] = useState(false);
  const [error, setError] = useState<Refused | null>(null);
  const send = (command: Command) => {
    setAsking(false);
    setSending(true);
    setError(null);
    post(pagePaths.commands(sweep.sweepId), command)
      .then(onSent, (thrown: unknown) => {
        setError(thrown instanceof Refused ? thrown : new Refused("internal", String(thrown), "", 0));
      })
      .finally(() => {
        setSending(false);
      });
  };
  const cancellable = isLive(sweep.standing) && sweep.standing !== "cancelling";
  return (
    <div className="verbs">
      {asking ? (
        <>
          <span>Trials that have not ended become cancelled.</span>
          <button
            type="button"
            className="danger"
            autoFocus
            onClick={() => {
              send({ verb: "cancel" });
            }}
          >
            Cancel the sweep
          </button>
          <button
            type="button"
            onClick={() => {
              setAsking(false);
            }}
          >
            Keep it
          </button>
        </>
      ) : (
        cancellable && (
          <button
            type="button"
            disabled={sending}
            onClick={() => {
              setAsking(true);
            }}
          >
            Cancel…
          </button>
        )
      )}
      {isResumable(sweep.standing) && (
        <button
          type="button"
          className="main"
          disabled={sending}
          onClick={() => {
            send({ verb: "resume" });
          }}
        >
          Resume
        </button>
      )}
      {error !== null && <ErrorNotice error={error} />}
    </div>
  );
}

function Number_({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div className="figureless">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Progress({ sweep }: { sweep: SweepView }) {
  const ended = sweep.trials.filter(({ at }) => !unfinished.has(at)).length;
  const failed = sweep.trials.filter(({ at }) => at === "failed").length;
  const live = isLive(sweep.standing);
  return (
    <dl className="numbers">
      <Number_ name="trials ended">
        {ended} / {sweep.trials.length}
        {failed > 0 && <em className="bad"> {failed} failed</em>}
        <Bar share={ended / Math.max(1, sweep.trials.length)} label="trials that ended" />
      </Number_>
      <Number_ name="packs">
        {sweep.packs.filter(({ at }) => at === "finished").length} / {sweep.packCount}
      </Number_>
      <Number_ name="tokens a second">{live ? rate(sweep.tokensPerSecond) : "–"}</Number_>
      <Number_ name="time left, at most">{live ? duration(sweep.msLeft) : "–"}</Number_>
      <Number_ name={live ? "since it was planned" : "from plan to last event"}>
        {duration(sweep.lastAtMs - sweep.plannedAtMs)}
      </Number_>
      <Number_ name="best τ by validation">{sweep.best === null ? "–" : formatTau(sweep.best.tau)}</Number_>
      <Number_ name="its test perplexity">{perplexity(sweep.best?.perplexity ?? null)}</Number_>
      <Number_ name="base model">{perplexity(sweep.base)}</Number_>
    </dl>
  );
}

function Words({ sweep }: { sweep: SweepView }) {
  return (
    <section aria-labelledby="what-was-run" className="words">
      <h2 id="what-was-run">What is run</h2>
      <dl className="facts">
        {sweep.facts.map(([word, value]) => (
          <div key={word}>
            <dt>{word}</dt>
            <dd>{value}</dd>
          </div>
        ))}
        <div>
          <dt>planned</dt>
          <dd>{time(sweep.plannedAtMs)}</dd>
        </div>
      </dl>
      {sweep.warnings.length > 0 && (
        <>
          <h3>Before you trust this</h3>
          <ul className="warnings">
            {sweep.warnings.map((text) => (
              <li key={text}>{text}</li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}

export function SweepPage({ sweepId }: { sweepId: string }) {
  useTitle(sweepId);
  const stream = useStream(sweepId);
  const [asked, setAsked] = useState(0);
  const onSent = useCallback(() => {
    setAsked((before) => before + 1);
  }, []);
  const version = stream.view + asked;
  const { value: sweep, error } = useResource(pagePaths.sweep(sweepId), SweepView, { version, everyMs: 10_000 });
  return (
    <>
      <header className="heading">
        <h1>
          {sweep?.name ?? sweepId}
          {sweep !== null && <span className="soft">{sweepId.slice(sweep.name.length)}</span>}
        </h1>
        <p role="status">{sweep !== null && <StandingBadge standing={sweep.standing} />}</p>
        {sweep !== null && <Verbs sweep={sweep} onSent={onSent} />}
      </header>
      {error !== null && <ErrorNotice error={error} />}
      {sweep?.reason != null && <ErrorNotice error={sweep.reason} />}
      {sweep !== null && (
        <>
          <Progress sweep={sweep} />
          {sweep.sentences.map((sentence) => (
            <p key={sentence} className="sentence">
              {sentence}
            </p>
          ))}
        </>
      )}
      <SweepFigures sweepId={sweepId} version={stream.figures} />
      {sweep !== null && (
        <div className="columns">
          <PackTable sweep={sweep} />
          <EventLog lines={stream.lines} connected={stream.connected} />
          <TauTable sweep={sweep} />
          <TaskTable sweep={sweep} />
          <TrialTable sweep={sweep} />
          <Words sweep={sweep} />
        </div>
      )}
      <p className="soft">
        <Link href={`/compare?sweeps=${encodeURIComponent(sweepId)}`}>Compare it with another sweep</Link>
      </p>
    </>
  );
}
