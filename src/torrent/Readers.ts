/**
 * Reads the bytes of a torrent's files, also while they are fetched. A reader waits for each piece until it is stored,
 * and has the pieces that it needs next fetched before all others. It outlives a run: if the files of the torrent go
 * away, it goes on in the run that follows.
 *
 * A reader reads when its consumer asks for more, so a slow consumer holds it back, and nothing waits in a queue. It
 * reads through the checks that uploads read through: no byte of a file that changed until the piece was verified again.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Assembly from "../assembly/Assembly.ts"
import type { Deadline } from "../assembly/PieceOrder.ts"
import * as Bitfield from "../base/Bitfield.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import * as RateMeter from "../rate/RateMeter.ts"
import type { StorageError, StoredBytes, TorrentStorage } from "../storage/Storage.ts"
import * as Selection from "./Selection.ts"
import type { TorrentError } from "./TorrentStatus.ts"
import { TorrentStopped } from "./TorrentStopped.ts"

/** Bytes that one read of the storage returns at most: 256 KiB, which costs little more than a block. */
export const chunkLength = 262_144

/** Seconds of content that are fetched ahead, at the rate at which the reader has consumed lately. */
export const secondsAhead = 5

/** Pieces that are fetched ahead at least, the one that is read included. */
export const leastPiecesAhead = 2

/** Bytes that are fetched ahead at most, beyond the least. */
export const mostBytesAhead = 32 * 1024 * 1024

/** Bytes a second that a reader is taken to consume at least, which spreads the deadlines of its first pieces. */
const leastRate = 1024 * 1024

/**
 * How often in a row a failed read that may pass is repeated, and after how long: for longer than it takes to notice that
 * the whole medium is away, because then the reader waits until it is back.
 */
const maxRetries = 30
const retryAfter = "1 second"

/** Why a read can end early. */
export type ReadError = TorrentError | TorrentStopped

/** A part of a file: from `begin` (default 0) up to, and without, `end` (default the length of the file), in bytes. */
export interface ReadRange {
  readonly begin?: number | undefined
  readonly end?: number | undefined
}

/** The parts of a run that readers need. */
export interface Running {
  readonly assembly: Assembly.Assembly
  readonly storage: Pick<TorrentStorage, "readBlock">
}

/** A run that is read. */
interface Source extends Running {
  /** Reads happen in this scope, which closes before the storage does. */
  readonly scope: Scope.Scope
}

/** The readers of one torrent. */
export interface Readers {
  readonly infoHash: InfoHash
  readonly layout: FileLayout.FileLayout
  readonly selection: Selection.Selection
  /** The current run, for the selection of files; `undefined` if there is none, or if nothing is fetched. */
  readonly selected: () => Selection.Running | undefined
  /** The run that is read; `undefined` between runs. */
  source: Source | undefined
  /** How to wake the readers that wait for each piece. Present once there was one. */
  waiting: Map<PieceIndex, Set<() => void>> | undefined
  /** How to tell those that begin that the torrent has ended. Present once there was one. */
  beginning: Set<() => void> | undefined
  /** Why the torrent has ended. */
  ended: Cause.Cause<ReadError> | undefined
}

/** Makes it without readers, for a torrent that does not run yet. */
export const make = (options: Pick<Readers, "infoHash" | "layout" | "selection" | "selected">): Readers => ({
  ...options,
  source: undefined,
  waiting: undefined,
  beginning: undefined,
  ended: undefined
})

/** Lets readers read a run until the scope closes. Then what is being read is interrupted. */
export const attach = (self: Readers, running: Running): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(
    Effect.acquireRelease(
      Effect.sync(() => {
        const scope = Scope.makeUnsafe()
        const source: Source = { ...running, scope }
        self.source = source
        wakeAll(self)
        return { scope, source }
      }),
      ({ scope, source }) => {
        // First, so that whoever is interrupted waits for the next run.
        if (self.source === source) self.source = undefined
        return Scope.close(scope, Exit.void)
      }
    )
  )

/** Notes that a piece is stored. */
export const noteStored = ({ waiting }: Readers, piece: PieceIndex): void => {
  for (const wake of waiting?.get(piece) ?? none) wake()
}

const none: ReadonlySet<() => void> = new Set()

/** Notes that any pieces may be stored now. */
export const wakeAll = ({ waiting }: Readers): void => {
  for (const wakes of waiting?.values() ?? []) for (const wake of wakes) wake()
}

/** Ends all readers, also those to come. Without a cause, or if that is an interruption, the torrent was stopped. */
export const end = (self: Readers, cause?: Cause.Cause<TorrentError>): void => {
  if (self.ended !== undefined) return
  const isStop = cause === undefined || Cause.hasInterruptsOnly(cause)
  self.ended = isStop ? Cause.fail(new TorrentStopped({ infoHash: self.infoHash })) : cause
  wakeAll(self)
  for (const wake of self.beginning ?? none) wake()
  self.beginning?.clear()
}

/** One reader. Offsets are in the torrent. */
interface Reader {
  /** The next byte. */
  at: number
  readonly end: number
  readonly clock: Clock.Clock
  /** How fast it consumes. */
  readonly rate: RateMeter.RateMeter
  /** The run and the piece for which its deadlines were set last. */
  aimedSource: Source | undefined
  aimedPiece: number
  /** Reads that failed in a row. */
  failures: number
}

/**
 * The bytes of a part of a file, in chunks of at most 256 KiB that nobody else refers to. Dies with a `RangeError` if
 * there is no such file, if it has no bytes of its own (padding, BEP 47), or if the range is not inside it.
 */
export const read = (self: Readers, file: number, range: ReadRange = {}): Stream.Stream<Uint8Array, ReadError> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const { begin, end } = boundsOf(self.layout, file, range)
      if (self.ended !== undefined) return yield* Effect.failCause(self.ended)
      const clock = yield* Clock.Clock
      const reader: Reader = {
        at: begin,
        end,
        clock,
        rate: RateMeter.make({ now: Monotonic.nowUnsafe(clock) }),
        aimedSource: undefined,
        aimedPiece: -1,
        failures: 0
      }
      if (begin < end) {
        yield* Effect.addFinalizer(() => Effect.sync(() => leave(self, reader)))
        // The storage may take long, and the torrent may end meanwhile.
        yield* Effect.raceFirst(Selection.want(self.selection, self.selected, file), untilEnded(self))
      }
      return Stream.fromPull(Effect.succeed(pullFrom(self, reader)))
    })
  )

const boundsOf = (layout: FileLayout.FileLayout, file: number, range: ReadRange) => {
  if (!Number.isInteger(file) || file < 0 || file >= layout.fileCount || FileLayout.isPadding(layout, file)) {
    throw new RangeError(`the torrent has no file ${file} with bytes of its own`)
  }
  const length = FileLayout.lengthOf(layout, file)
  const { begin = 0, end = length } = range
  if (!(Number.isInteger(begin) && Number.isInteger(end) && begin >= 0 && begin <= end && end <= length)) {
    throw new RangeError(`bytes ${begin} to ${end} of file ${file}, which has ${length}`)
  }
  const offset = FileLayout.offsetOf(layout, file)
  return { begin: offset + begin, end: offset + end }
}

const pullFrom = (self: Readers, reader: Reader): Pull.Pull<readonly [Uint8Array], ReadError> => {
  const { geometry } = self.layout
  const pull: Pull.Pull<readonly [Uint8Array], ReadError> = Effect.suspend(() => {
    if (self.ended !== undefined) return Effect.failCause(self.ended)
    if (reader.at === reader.end) return Cause.done()
    const piece = Math.floor(reader.at / geometry.pieceLength) as PieceIndex
    const { source } = self
    if (source === undefined || !Bitfield.has(source.assembly.table.stored, piece)) {
      aim(self, reader, piece)
      return Effect.andThen(untilReady(self, piece), pull)
    }
    if (reader.aimedPiece !== piece || reader.aimedSource !== source) aim(self, reader, piece)
    const begin = reader.at - PieceGeometry.pieceOffset(geometry, piece)
    const left = Math.min(PieceGeometry.pieceSize(geometry, piece) - begin, reader.end - reader.at)
    return Effect.flatMap(readIn(source, piece, begin, Math.min(chunkLength, left)), (exit) =>
      Exit.isSuccess(exit)
        ? emit(reader, exit.value.bytes)
        : Effect.andThen(afterFailure(self, reader, source, exit), pull)
    )
  })
  return pull
}

const emit = (reader: Reader, bytes: Uint8Array): Effect.Effect<readonly [Uint8Array]> => {
  reader.failures = 0
  reader.at += bytes.length
  RateMeter.add(reader.rate, bytes.length, Monotonic.nowUnsafe(reader.clock))
  return Effect.succeed([bytes])
}

/** Reads in the scope of the run, so that its storage is not closed meanwhile. */
const readIn = (
  { scope, storage }: Source,
  piece: PieceIndex,
  begin: number,
  length: number
): Effect.Effect<Exit.Exit<StoredBytes, StorageError>> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      Effect.forkIn(Effect.interruptible(storage.readBlock(piece, begin, length)), scope, { startImmediately: true }),
      (fiber) => Effect.onInterrupt(restore(Fiber.await(fiber)), () => Fiber.interrupt(fiber))
    )
  )

/** Decides what follows from a read that did not succeed. Succeeds if the reader should try again. */
const afterFailure = (
  self: Readers,
  reader: Reader,
  source: Source,
  exit: Exit.Failure<StoredBytes, StorageError>
): Effect.Effect<void, StorageError> => {
  // The run has ended, and another one may follow.
  if (self.source !== source) return Effect.void
  const error = Cause.findErrorOption(exit.cause)
  const mayPass =
    error._tag === "Some" && ["NotStored", "FileChanged", "StorageUnavailable"].includes(error.value.reason._tag)
  if (!mayPass || ++reader.failures > maxRetries) return Effect.failCause(exit.cause)
  // A piece that was found to be lost is waited for, and any other may be found to be lost soon.
  const piece = Math.floor(reader.at / self.layout.geometry.pieceLength)
  return Bitfield.has(source.assembly.table.stored, piece) ? Effect.sleep(retryAfter) : Effect.void
}

const isReady = ({ ended, source }: Readers, piece: PieceIndex): boolean =>
  ended !== undefined || (source !== undefined && Bitfield.has(source.assembly.table.stored, piece))

/** Waits until a piece is stored, or something else has happened that the reader should look at. */
const untilReady = (self: Readers, piece: PieceIndex): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (isReady(self, piece)) return resume(Effect.void)
    self.waiting ??= new Map()
    const { waiting } = self
    const wakes = waiting.get(piece) ?? new Set()
    waiting.set(piece, wakes)
    const forget = () => {
      wakes.delete(wake)
      if (wakes.size === 0 && waiting.get(piece) === wakes) waiting.delete(piece)
    }
    const wake = () => {
      forget()
      // It yields first, because whoever wakes it is in the middle of something.
      resume(Effect.yieldNow)
    }
    wakes.add(wake)
    return Effect.sync(forget)
  })

/** Fails once the torrent has ended. */
const untilEnded = (self: Readers): Effect.Effect<never, ReadError> =>
  Effect.callback((resume) => {
    const wake = () => resume(Effect.suspend(() => Effect.failCause(self.ended!)))
    if (self.ended !== undefined) return wake()
    self.beginning ??= new Set()
    self.beginning.add(wake)
    return Effect.sync(() => self.beginning?.delete(wake))
  })

/** Has the pieces from `first` on fetched in time. */
const aim = ({ layout, source }: Readers, reader: Reader, first: PieceIndex): void => {
  reader.aimedSource = source
  reader.aimedPiece = first
  if (source === undefined) return
  const { assembly } = source
  const { pieceLength } = layout.geometry
  const now = Monotonic.nowUnsafe(reader.clock)
  const rate = RateMeter.bytesPerSecond(reader.rate, now)
  const bytes = Math.min(mostBytesAhead, rate * secondsAhead)
  // Beyond half of the buffers it would leave none to other readers and pieces.
  const most = Math.floor(assembly.pool.capacity / 2)
  const count = Math.max(leastPiecesAhead, Math.min(Math.ceil(bytes / pieceLength), most))
  const end = Math.min(first + count, Math.ceil(reader.end / pieceLength))
  const deadlines: Array<Deadline> = []
  for (let piece = first; piece < end; piece++) {
    const before = Math.max(0, piece * pieceLength - reader.at)
    deadlines.push({ piece: piece as PieceIndex, at: now + (before * 1_000) / Math.max(rate, leastRate) })
  }
  Assembly.setDeadlines(assembly, reader, deadlines)
}

/** Removes the deadlines of a reader that has ended. */
const leave = ({ source }: Readers, reader: Reader): void => {
  if (source !== undefined) Assembly.setDeadlines(source.assembly, reader, [])
}
