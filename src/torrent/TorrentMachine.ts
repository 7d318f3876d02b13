/**
 * The lifecycle of a torrent as a pure machine. Each fact changes what the torrent is doing, and returns what is to be
 * reported and done next. Knows no fiber, no storage and no clock, so that tests can try every order of facts.
 *
 * A torrent that was added by a magnet link fetches its metadata first (`FetchingMetadata`). A torrent is checked
 * (`Checking`), waits if all of its files are gone (`FilesMissing`), and then runs. It is `Downloading` until every
 * wanted piece is stored, `Flushing` until everything is flushed and every file was looked at, and then `Complete`. It
 * goes back to `Downloading` if a piece is lost or more is wanted. While a write, a flush or that last look fails, it is
 * `StorageFailing`. If all files go away while it runs, or somebody asks for a recheck, its parts are taken apart and it
 * starts again.
 *
 * Whatever it does, somebody may pause it. It is `Paused` once it exchanges nothing any more. A check goes on, because
 * it only reads. `Failed` and `Stopped` are final.
 */
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { StorageError } from "../storage/Storage.ts"
import type { ContentExists } from "./ContentExists.ts"
import type { TorrentEvent } from "./TorrentEvent.ts"
import type { TorrentDefect, TorrentError, TorrentState } from "./TorrentStatus.ts"

/** What the storage may fail at. Each counts as failing until it succeeds. */
export type Work = "write" | "flush" | "finish"

/** The state of the pieces and files of a running torrent. */
export interface Standing {
  /** Whether every wanted piece is stored, and resume data contains it. */
  readonly isStored: boolean
  /** Whether something is not flushed, or not verified since it changed. */
  readonly isDirty: boolean
  /** Whether the storage takes no writes now. */
  readonly isPaused: boolean
}

/** What has happened. */
export type Fact =
  /** The metadata of a torrent that was added by a magnet link is known. */
  | { readonly _tag: "Fetched"; readonly event: Extract<TorrentEvent, { _tag: "MetadataFetched" }> }
  /** The check before a start makes progress, or waits for files. */
  | { readonly _tag: "Checked"; readonly event: Extract<TorrentEvent, { _tag: "Checking" | "FilesMissing" }> }
  /** It is known which pieces are stored, and the torrent runs. */
  | { readonly _tag: "Started"; readonly event: Extract<TorrentEvent, { _tag: "Started" }> }
  /** A piece was stored or lost, or other pieces are wanted. `isStored` as in `Standing`. */
  | { readonly _tag: "Moved"; readonly isStored: boolean }
  /** The work of `Finish` begins, and something has to be flushed or verified. */
  | { readonly _tag: "Flushing" }
  /** Wanted files that no piece will be written to are missing or too long. */
  | { readonly _tag: "FilesLacking" }
  | { readonly _tag: "WriteFailed"; readonly piece: PieceIndex; readonly error: StorageError }
  | { readonly _tag: "FlushFailed"; readonly error: StorageError }
  | { readonly _tag: "FinishFailed"; readonly error: StorageError }
  | { readonly _tag: "Recovered"; readonly work: "write" | "flush" }
  /** The work of `Finish` is done. `at` is the monotonic time in milliseconds. */
  | { readonly _tag: "Finished"; readonly standing: Standing; readonly at: number }
  /** The seeding goal was reached. Blocks that are already being sent still have time to arrive. */
  | { readonly _tag: "GoalReached" }
  /** All peers were disconnected after `GoalReached`. */
  | { readonly _tag: "Dismissed"; readonly reached: "ratio" | "time" }
  /** Every file with stored bytes is gone. */
  | { readonly _tag: "AllGone" }
  /** A file at a path of the torrent turned out to be somebody else's. */
  | { readonly _tag: "Foreign"; readonly error: ContentExists }
  /** Somebody wants it paused, or not any more. */
  | { readonly _tag: "PauseAsked" }
  | { readonly _tag: "ResumeAsked"; readonly at: number }
  /** Nothing of it exchanges anything any more, and what was verified before is stored. `at` as in `Finished`. */
  | { readonly _tag: "Rested"; readonly at: number }
  /** Somebody wants everything on the medium verified again. */
  | { readonly _tag: "RecheckAsked" }
  /** It was stopped, or removed: its parts were taken apart for good. */
  | { readonly _tag: "Stopped" }
  /** The parts of the last run were taken apart, and the torrent starts again. */
  | { readonly _tag: "Restarted" }
  /** It could not be started, or had to end. */
  | { readonly _tag: "Broke"; readonly error: TorrentError | TorrentDefect }

/** What is to be done. */
export type Action =
  | { readonly _tag: "Report"; readonly event: TorrentEvent }
  /** Flush everything and look at every file. `Finished` or `FinishFailed` reports the result. */
  | { readonly _tag: "Finish" }
  /** Wake whoever waits for the torrent to be complete. */
  | { readonly _tag: "Complete" }
  /** Take the parts apart and start again. */
  | { readonly _tag: "Restart" }
  /** Begin or end to exchange anything, as `isPaused` says. `Rested` reports the end. */
  | { readonly _tag: "Turn" }
  /** Take the parts apart for good. */
  | { readonly _tag: "End"; readonly error: ContentExists }

/** The state of a torrent. Immutable: each step returns another one. */
export interface TorrentMachine {
  readonly phase: "fetching" | "checking" | "missing" | "running" | "restarting" | "failed" | "stopped"
  /** Whether it is to exchange nothing. */
  readonly isPaused: boolean
  /** Since when it exchanges nothing because of that; monotonic milliseconds, `undefined` if it does not rest. */
  readonly restingSince: number | undefined
  readonly failing: Readonly<Partial<Record<Work, StorageError>>>
  readonly isStored: boolean
  /** Whether `Flushing` was reported since every wanted piece is stored. */
  readonly isFlushingReported: boolean
  /** When everything that is wanted was stored and flushed; monotonic milliseconds. */
  readonly completedAt: number | undefined
  /** Whether it uploads once it is complete: as `seeds`, until a seeding goal is reached. */
  readonly isSeeding: boolean
  readonly seeds: boolean
  readonly error: TorrentError | TorrentDefect | undefined
}

/** What follows from a fact: the new state, and actions. */
export interface Step {
  readonly machine: TorrentMachine
  /** To be performed in this order. */
  readonly actions: ReadonlyArray<Action>
}

/** What a torrent begins with. */
export interface Options {
  /** Whether it uploads once it is complete. */
  readonly seeds: boolean
  /** Whether it is paused from the start; default false. */
  readonly isPaused?: boolean | undefined
  /** Whether its metadata has to be fetched; default false. */
  readonly fetches?: boolean | undefined
}

/** Makes a torrent that is about to be checked, or whose metadata is about to be fetched. */
export const make = (options: Options): TorrentMachine => ({
  phase: options.fetches === true ? "fetching" : "checking",
  isPaused: options.isPaused === true,
  restingSince: undefined,
  failing: {},
  isStored: false,
  isFlushingReported: false,
  completedAt: undefined,
  isSeeding: options.seeds,
  seeds: options.seeds,
  error: undefined
})

/** The state that its status shows. */
export const stateOf = (machine: TorrentMachine): TorrentState => {
  const { completedAt, error, failing, isStored, phase } = machine
  if (phase === "failed") return { _tag: "Failed", error: error! }
  if (phase === "stopped") return { _tag: "Stopped" }
  if (phase === "fetching") return { _tag: isResting(machine) ? "Paused" : "FetchingMetadata" }
  if (phase === "missing") return { _tag: "FilesMissing" }
  if (phase !== "running") return { _tag: "Checking" }
  const failure = failing.write ?? failing.flush ?? failing.finish
  if (failure !== undefined) return { _tag: "StorageFailing", error: failure }
  if (isResting(machine)) return { _tag: "Paused" }
  if (!isStored) return { _tag: "Downloading" }
  return { _tag: completedAt === undefined ? "Flushing" : "Complete" }
}

/** Whether it looks for peers: as long as it downloads, and while it uploads what is complete. */
export const wantsPeers = ({ completedAt, isPaused, isSeeding, phase }: TorrentMachine): boolean =>
  phase === "running" && !isPaused && (completedAt === undefined || isSeeding)

/** Whether it fetches pieces. */
export const wantsPieces = ({ isPaused, isStored, phase }: TorrentMachine): boolean =>
  phase === "running" && !isPaused && !isStored

/** Whether it exchanges nothing because it is paused. */
export const isResting = ({ restingSince }: TorrentMachine): boolean => restingSince !== undefined

/** Whether it has ended for good. */
export const hasEnded = ({ phase }: TorrentMachine): boolean => phase === "failed" || phase === "stopped"

const report = (event: TorrentEvent): Action => ({ _tag: "Report", event })

const stay = (machine: TorrentMachine): Step => ({ machine, actions: [] })

/** Handles that pieces were stored or lost. */
const move = (machine: TorrentMachine, isStored: boolean): Step => {
  if (!isStored) {
    return stay({ ...machine, isStored, isFlushingReported: false, completedAt: undefined, isSeeding: machine.seeds })
  }
  return { machine: { ...machine, isStored }, actions: machine.completedAt === undefined ? [{ _tag: "Finish" }] : [] }
}

/** Reports flushing once. Not while the storage is failing, because that was reported already. */
const flush = (machine: TorrentMachine): Step =>
  machine.isFlushingReported || stateOf(machine)._tag !== "Flushing"
    ? stay(machine)
    : { machine: { ...machine, isFlushingReported: true }, actions: [report({ _tag: "Flushing" })] }

/** Reports a failure once, until what failed succeeds. */
const failAt = (machine: TorrentMachine, work: Work, error: StorageError, event: TorrentEvent): Step => ({
  machine: { ...machine, failing: { ...machine.failing, [work]: error } },
  actions: machine.failing[work] === undefined ? [report(event)] : []
})

const recover = (machine: TorrentMachine, work: Work): Step => {
  if (machine.failing[work] === undefined) return stay(machine)
  const { [work]: _, ...failing } = machine.failing
  const isLeft = work !== "finish" && machine.isStored && machine.completedAt === undefined
  return {
    machine: { ...machine, failing },
    actions: [report({ _tag: "StorageRecovered" }), ...(isLeft ? [{ _tag: "Finish" } as const] : [])]
  }
}

const finish = (before: TorrentMachine, standing: Standing, at: number): Step => {
  const { actions, machine } = recover(before, "finish")
  if (!standing.isStored || machine.completedAt !== undefined) return { machine, actions }
  // If the storage takes writes again, the fact `Recovered` is still to come, and has to be reported before completion.
  // If it does not, the failing piece is not wanted any more, and does not matter.
  if (machine.failing.write !== undefined && !standing.isPaused) return { machine, actions }
  if (standing.isDirty) return { machine, actions: [...actions, { _tag: "Finish" }] }
  return {
    machine: { ...machine, isStored: true, completedAt: at },
    actions: [...actions, report({ _tag: "Completed" }), { _tag: "Complete" }]
  }
}

/** Takes a step of a torrent that runs. */
const run = (machine: TorrentMachine, fact: Fact): Step => {
  switch (fact._tag) {
    case "Moved":
      return move(machine, fact.isStored)
    case "Flushing":
      return flush(machine)
    case "FilesLacking":
      return stay({ ...machine, completedAt: undefined })
    case "WriteFailed":
      return failAt(machine, "write", fact.error, { _tag: "StorageFailed", piece: fact.piece, error: fact.error })
    case "FlushFailed":
    case "FinishFailed":
      return failAt(machine, fact._tag === "FlushFailed" ? "flush" : "finish", fact.error, {
        _tag: "FlushFailed",
        error: fact.error
      })
    case "Recovered":
      return recover(machine, fact.work)
    case "Finished":
      return finish(machine, fact.standing, fact.at)
    case "GoalReached":
      return stay({ ...machine, isSeeding: false })
    case "Dismissed":
      return { machine, actions: [report({ _tag: "SeedingEnded", reached: fact.reached })] }
    case "AllGone":
      return { machine: { ...machine, phase: "restarting" }, actions: [{ _tag: "Restart" }] }
    case "Foreign":
      return { machine, actions: [{ _tag: "End", error: fact.error }] }
    case "RecheckAsked":
      return { machine: { ...machine, phase: "restarting" }, actions: [{ _tag: "Restart" }] }
    // Handled by `step`.
    case "Fetched":
    case "PauseAsked":
    case "ResumeAsked":
    case "Rested":
    case "Stopped":
    case "Checked":
    case "Started":
    case "Restarted":
    case "Broke":
      return stay(machine)
  }
}

/** Handles that somebody pauses or resumes it, and that it rests. */
const pause = (
  machine: TorrentMachine,
  fact: Extract<Fact, { _tag: "PauseAsked" | "ResumeAsked" | "Rested" }>
): Step => {
  const { completedAt, isPaused, restingSince } = machine
  if (fact._tag === "PauseAsked") {
    return isPaused ? stay(machine) : { machine: { ...machine, isPaused: true }, actions: [{ _tag: "Turn" }] }
  }
  // The piece that could not be written is not kept, also if somebody resumed it meanwhile.
  if (fact._tag === "Rested" && !isPaused) return recover(machine, "write")
  if (!isPaused) return stay(machine)
  if (fact._tag === "ResumeAsked") {
    if (restingSince === undefined) return { machine: { ...machine, isPaused: false }, actions: [{ _tag: "Turn" }] }
    // The time in which it rested is no time in which it seeded.
    const seedingSince =
      completedAt === undefined ? undefined : completedAt + fact.at - Math.max(restingSince, completedAt)
    return {
      machine: { ...machine, isPaused: false, restingSince: undefined, completedAt: seedingSince },
      actions: [report({ _tag: "Resumed" }), { _tag: "Turn" }]
    }
  }
  if (restingSince !== undefined) return stay(machine)
  // A piece that could not be written is not kept, so its failure ends.
  const { write: _, ...failing } = machine.failing
  return { machine: { ...machine, restingSince: fact.at, failing }, actions: [report({ _tag: "Paused" })] }
}

/**
 * Takes the next step. Facts that come too late change nothing: those of parts that are being taken apart, and all
 * after a failure or a stop.
 */
export const step = (machine: TorrentMachine, fact: Fact): Step => {
  const { phase, seeds } = machine
  if (hasEnded(machine)) return stay(machine)
  switch (fact._tag) {
    case "Stopped":
      return stay({ ...machine, phase: "stopped", failing: {} })
    case "PauseAsked":
    case "ResumeAsked":
    case "Rested":
      return pause(machine, fact)
    case "Fetched":
      if (phase !== "fetching") return stay(machine)
      return { machine: { ...machine, phase: "checking" }, actions: [report(fact.event)] }
    case "Broke":
      return {
        machine: { ...machine, phase: "failed", error: fact.error },
        actions: [report({ _tag: "Failed", error: fact.error })]
      }
    case "Restarted":
      // A run is also taken apart when the torrent stops; then its state stays as it was.
      if (phase !== "restarting") return stay(machine)
      return stay({
        ...make({ seeds, isPaused: machine.isPaused }),
        restingSince: machine.restingSince,
        isSeeding: machine.isSeeding
      })
    case "Checked":
      if (phase !== "checking" && phase !== "missing") return stay(machine)
      return {
        machine: { ...machine, phase: fact.event._tag === "Checking" ? "checking" : "missing" },
        actions: [report(fact.event)]
      }
    case "Started":
      if (phase !== "checking" && phase !== "missing") return stay(machine)
      return { machine: { ...machine, phase: "running" }, actions: [report(fact.event)] }
    default:
      return phase === "running" ? run(machine, fact) : stay(machine)
  }
}
