/**
 * What a program can see and do with a torrent (`Torrent.ts`), over the program of the torrent.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { PiecePriority } from "../assembly/PiecePriority.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import * as RateLimits from "../rate/RateLimits.ts"
import * as Storage from "../storage/Storage.ts"
import * as PieceSwarm from "../swarm/PieceSwarm.ts"
import * as EventLog from "./EventLog.ts"
import * as FileProgress from "./FileProgress.ts"
import * as Readers from "./Readers.ts"
import * as Selection from "./Selection.ts"
import type { Limits, Torrent } from "./Torrent.ts"
import * as TorrentChange from "./TorrentChange.ts"
import * as TorrentLife from "./TorrentLife.ts"
import * as TorrentMachine from "./TorrentMachine.ts"
import * as TorrentProgram from "./TorrentProgram.ts"
import * as TorrentRecord from "./TorrentRecord.ts"
import type { TorrentState, TorrentStatus } from "./TorrentStatus.ts"
import * as Watch from "./Watch.ts"

/**
 * Makes the torrent of a program. Its effects are made when they are asked for, because an engine may have thousands of
 * torrents, and few programs use every one of each.
 */
export const make = (program: TorrentRecord.TorrentRecord): Torrent => ({
  get infoHash() {
    return program.life.infoHash
  },
  get metainfo() {
    return metainfoOf(program)
  },
  get name() {
    return Effect.sync(() => TorrentRecord.status(program).name)
  },
  get events() {
    const { log } = program.life
    return Stream.suspend(() => EventLog.events(log))
  },
  get status() {
    return Effect.sync(() => TorrentRecord.status(program))
  },
  get completed() {
    return Deferred.await(program.life.completed)
  },
  get refused() {
    const { life } = program
    return TorrentLife.until(life, () => refusalOf(TorrentMachine.stateOf(life.machine)))
  },
  get stored() {
    return Effect.sync(() => TorrentChange.storedOf(TorrentRecord.present(program)))
  },
  get changes() {
    const { life } = program
    const present = () => TorrentRecord.present(program)
    return TorrentChange.changes(life.watch, present, () => TorrentMachine.hasEnded(life.machine))
  },
  get files() {
    return Effect.sync(() => {
      const lasting = program.lasting
      if (lasting === undefined) return []
      const { files, layout } = lasting.selection
      return FileProgress.of(layout, TorrentChange.storedOf(TorrentRecord.present(program)), files)
    })
  },
  get peers() {
    return Effect.sync(() => {
      const run = program.run
      return run === undefined ? [] : PieceSwarm.peers(run.swarm)
    })
  },
  get pause() {
    const { life } = program
    return Effect.suspend(() => {
      TorrentLife.note(life, { _tag: "PauseAsked" })
      return Effect.asVoid(Watch.until(life.watch, () => isQuiet(life.machine) || undefined))
    })
  },
  get resume() {
    const { life } = program
    return Effect.map(Monotonic.now, (at) => TorrentLife.note(life, { _tag: "ResumeAsked", at }))
  },
  get recheck() {
    const { life } = program
    return Effect.suspend(() => {
      const number = ++life.askedRechecks
      TorrentLife.note(life, { _tag: "RecheckAsked" })
      return Effect.asVoid(TorrentLife.until(life, () => life.doneRechecks >= number || undefined))
    })
  },
  remove: (options: { readonly data: boolean }) => TorrentProgram.removing(program, options.data),
  statuses: (every: Duration.Input) => statuses(program, every),
  addPeers: (addresses: ReadonlyArray<PeerAddress>) => Effect.sync(() => TorrentProgram.addPeers(program, addresses)),
  setPriorities: (files: ReadonlyArray<PiecePriority>) =>
    Effect.suspend(() => {
      const { asked, lasting } = program
      if (lasting !== undefined) return Selection.setFiles(lasting.selection, () => program.run?.selected, files)
      asked.files = files
      return Effect.void
    }),
  setDeadlines: (given) =>
    Effect.map(Monotonic.now, (now) => {
      const { asked, lasting, run } = program
      asked.deadlines = given.map(({ piece, within }) => ({ piece, at: now + Duration.toMillis(within) }))
      if (lasting !== undefined) Selection.setDeadlines(lasting.selection, run?.assembly, asked.deadlines)
    }),
  read: (file, range) => {
    const { lasting } = program
    if (lasting !== undefined) return Readers.read(lasting.readers, file, range)
    return Stream.unwrap(Effect.map(metainfoOf(program), () => Readers.read(program.lasting!.readers, file, range)))
  },
  setLimits: (limits: Limits) => Effect.map(Monotonic.now, (now) => RateLimits.set(program.limits, limits, now)),
  setPeerLimits: (limits: Limits) =>
    Effect.map(Monotonic.now, (now) => RateLimits.setEachPeer(program.limits, limits, now))
})

const metainfoOf = (program: TorrentRecord.TorrentRecord) =>
  TorrentLife.until(program.life, () => program.lasting?.options.metainfo)

/** Why the storage refuses for good; `undefined` if it does not. */
const refusalOf = (state: TorrentState): Storage.StorageError | undefined =>
  state._tag === "StorageFailing" && Storage.isLasting(state.error) ? state.error : undefined

/** Whether nothing is exchanged now, or whoever paused it has changed their mind. A check exchanges nothing. */
const isQuiet = (machine: TorrentMachine.TorrentMachine): boolean =>
  TorrentMachine.hasEnded(machine) ||
  TorrentMachine.isResting(machine) ||
  !machine.isPaused ||
  machine.phase === "checking" ||
  machine.phase === "missing"

/** The status now, and again after each `every`. The last one is that of the end. */
const statuses = (program: TorrentRecord.TorrentRecord, every: Duration.Input): Stream.Stream<TorrentStatus> => {
  const { life } = program
  const hasEnded = () => TorrentMachine.hasEnded(life.machine)
  const isDue = Effect.raceFirst(
    Effect.sleep(every),
    Watch.until(life.watch, () => hasEnded() || undefined)
  )
  return Stream.unfold("first", (at: "first" | "next" | "over") => {
    if (at === "over") return Effect.undefined
    return Effect.andThen(
      at === "first" ? Effect.void : isDue,
      Effect.sync(() => [TorrentRecord.status(program), hasEnded() ? "over" : "next"] as const)
    )
  })
}
