/**
 * The lifecycle of a torrent as a pure machine: what it is doing, what it tells, and what is to be done next, as it follows
 * from one fact after the other. Knows no fiber, no storage and no clock, so every order of facts can be tried.
 *
 * A torrent is checked (`Checking`), waits if all of its files are gone (`FilesMissing`), and then runs: it is `Downloading`
 * until every wanted piece is stored, `Flushing` until the disk has all of it and every file was looked at, and `Complete`
 * then. It goes back to `Downloading` if a piece is lost or more is wanted. While a write, a flush or that last look fails it
 * is `StorageFailing`. A torrent whose files go while it runs is taken apart and starts anew; `Failed` is for good.
 */
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { StorageError } from "../storage/Storage.ts"
import type { ContentExists } from "./ContentExists.ts"
import type { TorrentEvent } from "./TorrentEvent.ts"
import type { TorrentDefect, TorrentError, TorrentState } from "./TorrentStatus.ts"

/** What the storage may fail at, each until it succeeds. */
export type Work = "write" | "flush" | "finish"

/** How the pieces and files of a running torrent stand. */
export interface Standing {
  /** Whether every wanted piece is stored, and a later run would know of it. */
  readonly isStored: boolean
  /** Whether something is not flushed, or not verified since it changed. */
  readonly isDirty: boolean
  /** Whether the storage takes no writes now. */
  readonly isPaused: boolean
}

/** What has happened. */
export type Fact =
  /** The check before a start says something. */
  | { readonly _tag: "Checked"; readonly event: Extract<TorrentEvent, { _tag: "Checking" | "FilesMissing" }> }
  /** It is known what is stored, and the torrent runs. */
  | { readonly _tag: "Started"; readonly event: Extract<TorrentEvent, { _tag: "Started" }> }
  /** A piece was stored or lost, or something else is wanted; `isStored` as in `Standing`. */
  | { readonly _tag: "Moved"; readonly isStored: boolean }
  /** What `Finish` asked for begins, and something is to be flushed or verified. */
  | { readonly _tag: "Flushing" }
  /** Wanted files that no piece comes for are missing. */
  | { readonly _tag: "FilesLacking" }
  | { readonly _tag: "WriteFailed"; readonly piece: PieceIndex; readonly error: StorageError }
  | { readonly _tag: "FlushFailed"; readonly error: StorageError }
  | { readonly _tag: "FinishFailed"; readonly error: StorageError }
  | { readonly _tag: "Recovered"; readonly work: "write" | "flush" }
  /** What `Finish` asked for is done; `at` is the monotonic time in milliseconds. */
  | { readonly _tag: "Finished"; readonly standing: Standing; readonly at: number }
  /** As much was uploaded as was to be; what is under way to peers still has its time to arrive. */
  | { readonly _tag: "GoalReached" }
  /** After that all peers were let go. */
  | { readonly _tag: "Dismissed"; readonly reached: "ratio" | "time" }
  /** Every file with stored bytes is gone. */
  | { readonly _tag: "AllGone" }
  /** A file at a path of the torrent turned out to be somebody else's. */
  | { readonly _tag: "Foreign"; readonly error: ContentExists }
  /** Its parts were taken apart, and it starts anew. */
  | { readonly _tag: "Restarted" }
  /** It could not be started, or broke. */
  | { readonly _tag: "Broke"; readonly error: TorrentError | TorrentDefect }

/** What is to be done. */
export type Action =
  | { readonly _tag: "Tell"; readonly event: TorrentEvent }
  /** Flush everything and look at every file; `Finished` or `FinishFailed` says what came of it. */
  | { readonly _tag: "Finish" }
  /** Whoever waits for the torrent to be complete goes on. */
  | { readonly _tag: "Complete" }
  /** Take the parts apart and start anew. */
  | { readonly _tag: "Restart" }
  /** Take the parts apart for good. */
  | { readonly _tag: "End"; readonly error: ContentExists }

/** Where a torrent is in its life. Never changed: each step makes another one. */
export interface TorrentMachine {
  readonly phase: "checking" | "missing" | "running" | "restarting" | "failed"
  readonly failing: Readonly<Partial<Record<Work, StorageError>>>
  readonly isStored: boolean
  /** Whether it was reported, since everything is stored, that it is being flushed. */
  readonly isFlushingTold: boolean
  /** When everything that is wanted was stored and flushed (monotonic milliseconds). */
  readonly completedAt: number | undefined
  /** Whether it uploads once it is complete: as it was told, until a goal is reached. */
  readonly isSeeding: boolean
  readonly seeds: boolean
  readonly error: TorrentError | TorrentDefect | undefined
}

/** What a fact makes of a torrent. */
export interface Step {
  readonly machine: TorrentMachine
  /** In the order in which they are to be done. */
  readonly actions: ReadonlyArray<Action>
}

/** A torrent that is about to be checked. */
export const make = (options: { readonly seeds: boolean }): TorrentMachine => ({
  phase: "checking",
  failing: {},
  isStored: false,
  isFlushingTold: false,
  completedAt: undefined,
  isSeeding: options.seeds,
  seeds: options.seeds,
  error: undefined
})

/** What it is doing, as its status says. */
export const stateOf = ({ completedAt, error, failing, isStored, phase }: TorrentMachine): TorrentState => {
  if (phase === "failed") return { _tag: "Failed", error: error! }
  if (phase === "missing") return { _tag: "FilesMissing" }
  if (phase !== "running") return { _tag: "Checking" }
  const failure = failing.write ?? failing.flush ?? failing.finish
  if (failure !== undefined) return { _tag: "StorageFailing", error: failure }
  if (!isStored) return { _tag: "Downloading" }
  return { _tag: completedAt === undefined ? "Flushing" : "Complete" }
}

const tell = (event: TorrentEvent): Action => ({ _tag: "Tell", event })

const stay = (machine: TorrentMachine): Step => ({ machine, actions: [] })

/** What follows from how the pieces stand. */
const move = (machine: TorrentMachine, isStored: boolean): Step => {
  if (!isStored) {
    return stay({ ...machine, isStored, isFlushingTold: false, completedAt: undefined, isSeeding: machine.seeds })
  }
  return { machine: { ...machine, isStored }, actions: machine.completedAt === undefined ? [{ _tag: "Finish" }] : [] }
}

/** Flushing is told once, and not of a torrent whose storage is failing: that is told already. */
const flush = (machine: TorrentMachine): Step =>
  machine.isFlushingTold || stateOf(machine)._tag !== "Flushing"
    ? stay(machine)
    : { machine: { ...machine, isFlushingTold: true }, actions: [tell({ _tag: "Flushing" })] }

/** A failure is told once, until what failed succeeds. */
const failAt = (machine: TorrentMachine, work: Work, error: StorageError, event: TorrentEvent): Step => ({
  machine: { ...machine, failing: { ...machine.failing, [work]: error } },
  actions: machine.failing[work] === undefined ? [tell(event)] : []
})

const recover = (machine: TorrentMachine, work: Work): Step => {
  if (machine.failing[work] === undefined) return stay(machine)
  const { [work]: _, ...failing } = machine.failing
  const isLeft = work !== "finish" && machine.isStored && machine.completedAt === undefined
  return {
    machine: { ...machine, failing },
    actions: [tell({ _tag: "StorageRecovered" }), ...(isLeft ? [{ _tag: "Finish" } as const] : [])]
  }
}

const finish = (before: TorrentMachine, standing: Standing, at: number): Step => {
  const { actions, machine } = recover(before, "finish")
  if (!standing.isStored || machine.completedAt !== undefined) return { machine, actions }
  // The storage takes writes again, and the fact of that is about to be read: it is told before the torrent is complete. As long
  // as it takes none, what fails is a piece that is not wanted any more.
  if (machine.failing.write !== undefined && !standing.isPaused) return { machine, actions }
  if (standing.isDirty) return { machine, actions: [...actions, { _tag: "Finish" }] }
  return {
    machine: { ...machine, isStored: true, completedAt: at },
    actions: [...actions, tell({ _tag: "Completed" }), { _tag: "Complete" }]
  }
}

/** The next step of a torrent that runs. */
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
      return { machine, actions: [tell({ _tag: "SeedingEnded", reached: fact.reached })] }
    case "AllGone":
      return { machine: { ...machine, phase: "restarting" }, actions: [{ _tag: "Restart" }] }
    case "Foreign":
      return { machine, actions: [{ _tag: "End", error: fact.error }] }
    // `step` takes care of these.
    case "Checked":
    case "Started":
    case "Restarted":
    case "Broke":
      return stay(machine)
  }
}

/**
 * The next step. Facts that come too late change nothing: those of parts that are being taken apart, and any behind a
 * failure.
 */
export const step = (machine: TorrentMachine, fact: Fact): Step => {
  const { phase, seeds } = machine
  if (phase === "failed") return stay(machine)
  switch (fact._tag) {
    case "Broke":
      return {
        machine: { ...machine, phase: "failed", error: fact.error },
        actions: [tell({ _tag: "Failed", error: fact.error })]
      }
    case "Restarted":
      // A torrent that stops is taken apart as well, and stays what it was.
      return stay(phase === "restarting" ? { ...make({ seeds }), isSeeding: machine.isSeeding } : machine)
    case "Checked":
      if (phase === "running" || phase === "restarting") return stay(machine)
      return {
        machine: { ...machine, phase: fact.event._tag === "Checking" ? "checking" : "missing" },
        actions: [tell(fact.event)]
      }
    case "Started":
      if (phase === "running" || phase === "restarting") return stay(machine)
      return { machine: { ...machine, phase: "running" }, actions: [tell(fact.event)] }
    default:
      return phase === "running" ? run(machine, fact) : stay(machine)
  }
}
