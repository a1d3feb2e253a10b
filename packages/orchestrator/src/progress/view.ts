import { formatTau } from "@bora/contracts";
import { progress } from "@bora/sdk/controller";
import { bar, clip, duration, nats, perplexity, short, sparkline } from "./words.js";

type Progress = progress.Progress;
type PackProgress = progress.PackProgress;
type TrialProgress = progress.TrialProgress;
const { timeLeft } = progress;

export interface Screen {
  columns: number;
  rows: number;
  nowMs: number;
}

const unfinished: ReadonlySet<TrialProgress["at"]> = new Set(["planned", "training", "stopped"]);

function header(state: Progress, { columns, nowMs }: Screen): string {
  const trials = [...state.trials.values()];
  const ended = trials.filter(({ at }) => !unfinished.has(at)).length;
  const parts = [
    state.sweepId,
    `${ended}/${trials.length} trials ended`,
    ...(columns >= 120 ? [`${state.tasks.length} tasks`] : []),
    ...(state.baseValidation === null ? [] : [`base ${perplexity(state.baseValidation)}`]),
    `elapsed ${duration(nowMs - state.startedAt)}`,
  ];
  return clip(parts.join("  "), columns);
}

function packLine(state: Progress, pack: PackProgress, screen: Screen): string {
  const left = timeLeft(state, pack);
  const text = [
    `pack ${pack.number}/${Math.max(state.packCount, state.packs.size)}`,
    `step ${pack.step}/${state.maxSteps}`,
    ...(pack.tokensPerSecond > 0 ? [`${short(pack.tokensPerSecond)} tok/s`] : []),
    ...(left === null ? [] : [`ETA <= ${duration(Math.max(0, left - (screen.nowMs - pack.lastAt)))}`]),
    ...(pack.note === "" ? [] : [pack.note]),
    ...(screen.columns >= 120 && pack.device !== "" ? [`${pack.rows} rows on ${pack.device}`] : []),
    ...(screen.columns >= 150 && state.lastCheckpoint !== null ? [`checkpoint @${state.lastCheckpoint.step}`] : []),
  ].join("  ");
  const width = Math.min(60, screen.columns - text.length - 2);
  return clip(width < 8 ? text : `${text}  ${bar(pack.step / Math.max(1, state.maxSteps), width)}`, screen.columns);
}

function stateWord(trial: TrialProgress): string {
  if (trial.at === "failed") return trial.failure ?? "failed";
  if (trial.at === "adopted") return "done before";
  if (trial.at !== "done") return trial.at;
  return trial.ended === "limit" ? `step limit ${trial.steps}` : `done @${trial.steps}`;
}

const cell = (text: string, width: number): string => clip(text, width).padStart(width);
const columnTitles = `${cell("tau", 8)}${cell("train", 9)}${cell("validation", 12)}${cell("perplexity", 12)}${cell("best", 7)}`;
const narrow = columnTitles.length + 2;

function trialLine(trial: TrialProgress, seeds: boolean, columns: number): string {
  const left =
    cell(formatTau(trial.tau) + (seeds ? `#${trial.seed}` : ""), 8) +
    cell(trial.train === null ? "" : nats(trial.train), 9) +
    cell(nats(trial.validation.at(-1)), 12) +
    cell(perplexity(trial.validation.at(-1)), 12) +
    cell(trial.bestStep === null ? "" : `@${trial.bestStep}`, 7);
  const state = `  ${clip(stateWord(trial), columns - narrow).padEnd(16)}`;
  const room = columns - left.length - state.length - 2;
  if (room < 12 || trial.validation.length === 0) return (left + state).trimEnd().slice(0, columns);
  const curve = sparkline(trial.validation, Math.min(40, room));
  const numbers = trial.validation.map((value) => (value === null ? "?" : value.toFixed(3)));
  const newest = numbers.slice(-Math.max(0, Math.floor((room - 42) / 6)));
  return (left + state + (room >= 54 ? `  ${curve.padEnd(40)}  ${newest.join(" ")}` : `  ${curve}`)).trimEnd();
}

function packBlock(state: Progress, pack: PackProgress, screen: Screen): string[] {
  const trials = pack.trialIds.map((id) => state.trials.get(id)).filter((trial) => trial !== undefined);
  const curveTitle = screen.columns >= narrow + 18 + 54 ? "validation at every evaluation" : "trend";
  const title = `${columnTitles}  ${screen.columns >= narrow + 18 + 12 ? "state".padEnd(18) + curveTitle : "state"}`;
  return [
    packLine(state, pack, screen),
    clip(title, screen.columns),
    ...trials.map((trial) => trialLine(trial, state.seeds > 1, screen.columns)),
  ];
}

function footer(state: Progress): string[] {
  if (state.draining) return ["stopping: a checkpoint is being written; the same command goes on from it"];
  return state.paused === null ? [] : [`paused: ${state.paused}`];
}

/** The whole live view, as lines of at most `columns` characters and at most `rows - 1` of them; pure. */
export function view(state: Progress, screen: Screen): string[] {
  const running = [...state.packs.values()].filter(({ at }) => at !== "finished");
  const shown = running.length > 0 ? running : [...state.packs.values()].slice(-1);
  const head = state.sweepId === "" ? [] : [header(state, screen)];
  const foot = footer(state).map((line) => clip(line, screen.columns));
  const body = shown.flatMap((pack) => packBlock(state, pack, screen));
  const room = Math.max(1, screen.rows - 2 - head.length - foot.length);
  const hidden = body.length - room;
  const fitting = hidden > 0 ? [...body.slice(0, room), `… ${hidden} lines more`] : body;
  return [...head, ...fitting, ...foot];
}
