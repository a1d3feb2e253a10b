import { useEffect, useState } from "react";
import { EventLine, EventLines, pagePaths } from "../web/page-api.ts";
import { get } from "./api.ts";

const mostLines = 1_000; // shown
const viewEveryMs = 1_000;
const figuresEveryMs = 3_000;

export interface Stream {
  lines: readonly EventLine[];
  connected: boolean;
  view: number; // changes when the sweep's numbers are to be asked for again
  figures: number; // the same for its figures, which are larger
}

const first: Stream = { lines: [], connected: false, view: 0, figures: 0 };

/** Calls at once, then at most every so often; the last call is never lost. */
function atMostEvery(ms: number, call: () => void): { (): void; stop(): void } {
  let last = -Infinity;
  let due: ReturnType<typeof setTimeout> | null = null;
  const run = () => {
    due = null;
    last = performance.now();
    call();
  };
  const ask = () => {
    due ??= setTimeout(run, Math.max(0, last + ms - performance.now()));
  };
  return Object.assign(ask, {
    stop: () => {
      if (due !== null) clearTimeout(due);
    },
  });
}

/** Events of a sweep as they come: the newest that there are, then the server's stream, which reconnects by itself. */
export function useStream(sweepId: string): Stream {
  const [stream, setStream] = useState(first);
  useEffect(() => {
    setStream(first);
    const left = new AbortController();
    let source: EventSource | null = null;
    const count = (which: "view" | "figures") => () => {
      setStream((before) => ({ ...before, [which]: before[which] + 1 }));
    };
    const view = atMostEvery(viewEveryMs, count("view"));
    const figures = atMostEvery(figuresEveryMs, count("figures"));
    const open = (after: number) => {
      source = new EventSource(`${pagePaths.stream(sweepId)}?after=${after}`);
      source.addEventListener("line", ({ data }: MessageEvent<string>) => {
        const line = EventLine.parse(JSON.parse(data));
        setStream((before) => ({ ...before, lines: [...before.lines, line].slice(-mostLines) }));
      });
      source.addEventListener("changed", () => {
        view();
        figures();
      });
      source.addEventListener("open", () => {
        setStream((before) => ({ ...before, connected: true }));
      });
      source.addEventListener("error", () => {
        setStream((before) => ({ ...before, connected: false }));
      });
    };
    get(`${pagePaths.events(sweepId)}?limit=300`, EventLines, left.signal).then(
      ({ lines }) => {
        setStream((before) => ({ ...before, lines }));
        open(lines.at(-1)?.position ?? 0);
      },
      () => undefined, // the view itself says what is wrong
    );
    return () => {
      left.abort();
      source?.close();
      view.stop();
      figures.stop();
    };
  }, [sweepId]);
  return stream;
}
