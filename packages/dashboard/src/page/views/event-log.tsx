import { useLayoutEffect, useRef } from "react";
import type { EventLine } from "../../web/page-api.ts";
import { clock } from "../words.ts";

const bad: ReadonlySet<string> = new Set([
  "trial_failed",
  "trials_failed",
  "attempt_failed",
  "run_failed",
  "metrics_missing",
]);

/** What happened, newest last; it stays at the end unless the reader has scrolled up. */
export function EventLog({ lines, connected }: { lines: readonly EventLine[]; connected: boolean }) {
  const box = useRef<HTMLOListElement>(null);
  const atEnd = useRef(true);
  useLayoutEffect(() => {
    const { current } = box;
    if (current !== null && atEnd.current) current.scrollTop = current.scrollHeight;
  }, [lines]);
  return (
    <section aria-labelledby="events">
      <h2 id="events">
        Events <span className="soft">{connected ? "" : "connecting…"}</span>
      </h2>
      <ol
        className="log"
        ref={box}
        tabIndex={0}
        aria-label="events, newest last"
        onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
          atEnd.current = scrollHeight - scrollTop - clientHeight < 24;
        }}
      >
        {lines.map(({ position, at, kind, text }) => (
          <li key={position} className={bad.has(kind) ? "bad" : undefined}>
            <time dateTime={new Date(at).toISOString()}>{clock(at)}</time> {text}
          </li>
        ))}
      </ol>
    </section>
  );
}
