/**
 * What a program can see and do with a torrent (`Torrent.ts`), over the program of the torrent. A class, because an
 * engine may have thousands of torrents, and few programs use every member of each.
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
import * as Sources from "./Sources.ts"
import type { Limits, Torrent } from "./Torrent.ts"
import * as TorrentChange from "./TorrentChange.ts"
import * as TorrentLife from "./TorrentLife.ts"
import * as TorrentMachine from "./TorrentMachine.ts"
import * as TorrentProgram from "./TorrentProgram.ts"
import * as TorrentRecord from "./TorrentRecord.ts"
import type { TorrentState, TorrentStatus } from "./TorrentStatus.ts"
import * as Watch from "./Watch.ts"

class TorrentHandle implements Torrent {
  readonly #program: TorrentRecord.TorrentRecord

  constructor(program: TorrentRecord.TorrentRecord) {
    this.#program = program
  }

  get infoHash() {
    return this.#program.life.infoHash
  }
  get metainfo() {
    const program = this.#program
    return TorrentLife.until(program.life, () => program.lasting?.options.metainfo)
  }
  get name() {
    return Effect.map(this.status, ({ name }) => name)
  }
  get events() {
    const { log } = this.#program.life
    return Stream.suspend(() => EventLog.events(log))
  }
  get status() {
    const program = this.#program
    return Effect.sync(() => TorrentRecord.status(program))
  }
  get completed() {
    return Deferred.await(this.#program.life.completed)
  }
  get refused() {
    const { life } = this.#program
    return TorrentLife.until(life, () => refusalOf(TorrentMachine.stateOf(life.machine)))
  }
  get stored() {
    const program = this.#program
    return Effect.sync(() => TorrentChange.storedOf(TorrentRecord.present(program)))
  }
  get changes() {
    const program = this.#program
    const { life } = program
    const present = () => TorrentRecord.present(program)
    return TorrentChange.changes(life.watch, present, () => TorrentMachine.hasEnded(life.machine))
  }
  get files() {
    const program = this.#program
    return Effect.sync(() => {
      const lasting = program.lasting
      if (lasting === undefined) return []
      const { files, layout } = lasting.selection
      return FileProgress.of(layout, TorrentChange.storedOf(TorrentRecord.present(program)), files)
    })
  }
  get peers() {
    const program = this.#program
    return Effect.sync(() => {
      const run = program.run
      return run === undefined ? [] : PieceSwarm.peers(run.swarm)
    })
  }
  get sources() {
    const { sources } = this.#program
    return Effect.map(Monotonic.now, (now) => Sources.statuses(sources, now))
  }
  get pause() {
    const { life } = this.#program
    return Effect.suspend(() => {
      TorrentLife.note(life, { _tag: "PauseAsked" })
      return Effect.asVoid(Watch.until(life.watch, () => isQuiet(life.machine) || undefined))
    })
  }
  get resume() {
    const { life } = this.#program
    return Effect.map(Monotonic.now, (at) => TorrentLife.note(life, { _tag: "ResumeAsked", at }))
  }
  get recheck() {
    const { life } = this.#program
    return Effect.suspend(() => {
      const number = ++life.askedRechecks
      TorrentLife.note(life, { _tag: "RecheckAsked" })
      return Effect.asVoid(TorrentLife.until(life, () => life.doneRechecks >= number || undefined))
    })
  }

  readonly remove = (options: { readonly data: boolean }) => TorrentProgram.removing(this.#program, options.data)
  readonly statuses = (every: Duration.Input) => statuses(this.#program, every)
  readonly addPeers = (addresses: ReadonlyArray<PeerAddress>) =>
    Effect.sync(() => TorrentProgram.addPeers(this.#program, addresses))
  readonly setPriorities = (files: ReadonlyArray<PiecePriority>) =>
    Effect.suspend(() => {
      const program = this.#program
      const { asked, lasting } = program
      if (lasting !== undefined) return Selection.setFiles(lasting.selection, () => program.run?.selected, files)
      asked.files = files
      return Effect.void
    })
  readonly setDeadlines: Torrent["setDeadlines"] = (given) =>
    Effect.map(Monotonic.now, (now) => {
      const { asked, lasting, run } = this.#program
      asked.deadlines = given.map(({ piece, within }) => ({ piece, at: now + Duration.toMillis(within) }))
      if (lasting !== undefined) Selection.setDeadlines(lasting.selection, run?.assembly, asked.deadlines)
    })
  readonly read: Torrent["read"] = (file, range) => {
    const program = this.#program
    const { lasting } = program
    if (lasting !== undefined) return Readers.read(lasting.readers, file, range)
    return Stream.unwrap(Effect.map(this.metainfo, () => Readers.read(program.lasting!.readers, file, range)))
  }
  readonly setLimits = (limits: Limits) =>
    Effect.map(Monotonic.now, (now) => RateLimits.set(this.#program.limits, limits, now))
  readonly setPeerLimits = (limits: Limits) =>
    Effect.map(Monotonic.now, (now) => RateLimits.setEachPeer(this.#program.limits, limits, now))
}

/** Makes the torrent of a program. */
export const make = (program: TorrentRecord.TorrentRecord): Torrent => new TorrentHandle(program)

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
