import { useEffect, useRef, useState } from "react";
import type { z } from "zod";
import { getText, Refused } from "./api.ts";

export interface Resource<T> {
  value: T | null; // the newest, also while a newer one is asked for
  error: Refused | null;
}

const asRefused = (error: unknown): Refused =>
  error instanceof Refused ? error : new Refused("api_mismatch", String(error), "reload the page", 0);

interface Kept<T> extends Resource<T> {
  path: string;
}

/**
 * What a path answers; the same answer again changes nothing that is seen. Asked again whenever `version` changes and, with `everyMs`, as often as that while the page is
 * seen. One request at a time: a version that changes meanwhile is asked for afterwards.
 */
export function useResource<T extends z.ZodType>(
  path: string,
  schema: T,
  { version = 0, everyMs }: { version?: number; everyMs?: number } = {},
): Resource<z.output<T>> {
  const [kept, setKept] = useState<Kept<z.output<T>>>({ path, value: null, error: null });
  const seen = useRef({ path: "", text: "" }); // the newest answer as it came
  const [tick, setTick] = useState(0);
  useEffect(() => {
    if (everyMs === undefined) return;
    const timer = setInterval(() => {
      if (!document.hidden) setTick((before) => before + 1);
    }, everyMs);
    return () => {
      clearInterval(timer);
    };
  }, [everyMs]);
  useEffect(() => {
    const left = new AbortController();
    getText(path, left.signal)
      .then((text) => {
        if (seen.current.path === path && seen.current.text === text)
          setKept((before) => (before.error === null ? before : { ...before, error: null }));
        else setKept({ path, value: schema.parse(JSON.parse(text)), error: null });
        seen.current = { path, text };
      })
      .catch((error: unknown) => {
        if (left.signal.aborted) return;
        setKept((before) => ({ path, value: before.path === path ? before.value : null, error: asRefused(error) }));
      });
    return () => {
      left.abort();
    };
  }, [path, schema, version, tick]);
  return kept.path === path ? kept : { value: null, error: null };
}
