/**
 * Notices what others do to a torrent's files while it runs. The facts of a file are compared after every read of it,
 * and those of all files before the torrent is complete.
 *
 * If a file looks different (its size, its time, or another file by that name), its pieces become suspect. Each is
 * digested once, in the background or when a peer requests it, before it is uploaded or counted. Pieces that are wrong
 * or gone are dropped and count as missing. Pieces that are only hinted at (`Hint.ts`) are suspect from the start. They
 * are verified a few at a time, in turn with all other torrents, so that a request need not wait long.
 *
 * A file that is being written changes its size and time all the time, so of such a file only a replacement is noticed. A
 * change that leaves size and time as they were is never noticed.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bitfield from "../base/Bitfield.ts"
import * as Bytes from "../base/Bytes.ts"
import * as Gate from "../base/Gate.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as Signal from "../base/Signal.ts"
import * as Turn from "../base/Turn.ts"
import type { FileFacts, StorageError, TorrentStorage } from "../storage/Storage.ts"
import * as KnownFiles from "./KnownFiles.ts"

/** How long to wait after a failed look, before files are looked at again. */
export const retryAfter = "5 seconds"

/** How many looks in a row have to fail before the medium counts as away. */
export const maxFailedLooks = 3

/**
 * How many bytes of hinted pieces are verified at a time in the background, at least one piece. A request may have to
 * wait for as many.
 */
const hintedBytesAtOnce = 262_144

/** How long a torrent may take for that before another one begins. Only a disk that hangs takes longer. */
const longestTurn = "10 seconds"

/** What happened to files. Paths are components joined by `/`. */
export type Fact =
  /** Files look different; their pieces are being verified. */
  | { readonly _tag: "FilesChanged"; readonly paths: ReadonlyArray<string> }
  /** Stored pieces of files that are gone or were changed turned out to be missing or wrong. */
  | { readonly _tag: "PiecesLost"; readonly pieces: ReadonlyArray<PieceIndex>; readonly paths: ReadonlyArray<string> }
  /** Every file with stored bytes is gone. No piece was dropped, because the whole medium may be away. */
  | { readonly _tag: "AllGone" }
  /** No suspect piece is left. */
  | { readonly _tag: "Verified" }

/** What is needed to notice changes. */
export interface Options {
  readonly storage: Pick<TorrentStorage, "look" | "digests">
  readonly known: KnownFiles.KnownFiles
  /** The stored pieces. `drop` removes pieces from it. */
  readonly stored: Bitfield.Bitfield
  /** Stored pieces that are not uploaded and not counted until they are verified. This module adds and removes them. */
  readonly suspects: Bitfield.Bitfield
  readonly digestOf: (piece: PieceIndex) => Uint8Array
  /** Removes pieces from `stored`, before it returns. */
  readonly drop: (pieces: ReadonlyArray<PieceIndex>) => void
  /** Called when other pieces are suspect than before. */
  readonly onSuspects?: (() => void) | undefined
  /** Whose turn it is to verify hinted pieces in the background, among all torrents. */
  readonly background?: Turn.Turn | undefined
  /** Called for a hinted piece that is right. What it returns is run before the next one is verified. */
  readonly onHintRight?: ((piece: PieceIndex) => Effect.Effect<void>) | undefined
  /** Called for each file that was replaced by another one. */
  readonly onReplaced: (file: number) => void
  /** Called for each file that was verified after it had changed. */
  readonly onVerified: (file: number) => void
  readonly report: (fact: Fact) => void
}

/** Watches the files of one torrent. Made by `make`, changed only here. Sets are made when they have a member. */
export interface FileChanges {
  readonly options: Options
  /** The suspect pieces, as in the options. */
  readonly suspects: Bitfield.Bitfield
  /** Files that have changed and are not verified yet, and files that are gone. */
  changed: Set<number> | undefined
  gone: Set<number> | undefined
  /** How many looks at all files have failed in a row. */
  failedLooks: number
  /** Files that we are replacing with our own, and the identities that they had before. */
  replacing: Set<number> | undefined
  former: Map<number, string> | undefined
  /** Whose turn it is to verify pieces that were requested, or hinted ones in the background. */
  readonly turn: Turn.Turn
  readonly awake: Signal.Signal
  readonly isSettled: Gate.Gate
}

/** Whether two looks saw the same file with the same size and time. */
export const isSame = (self: FileFacts, that: FileFacts): boolean =>
  self.kind === that.kind &&
  self.length === that.length &&
  self.mtimeNs === that.mtimeNs &&
  self.identity === that.identity

/**
 * Makes it with the suspect pieces of the options. `settled` and the reports of lost pieces need `run` to be running.
 */
export const make = (options: Options): FileChanges => {
  const { known, suspects } = options
  const isSuspect = (file: number) => KnownFiles.piecesIn(known, file, suspects).length > 0
  return {
    options,
    suspects,
    changed: suspects.count === 0 ? undefined : new Set(KnownFiles.existing(known).filter(isSuspect)),
    gone: undefined,
    failedLooks: 0,
    replacing: undefined,
    former: undefined,
    turn: Turn.make(),
    awake: Signal.make(),
    isSettled: Gate.make(false)
  }
}

const pathsOf = ({ options: { known } }: FileChanges, files: Iterable<number>): ReadonlyArray<string> =>
  Array.from(files, (file) => KnownFiles.pathOf(known, file))

const wake = (self: FileChanges): void => {
  Gate.close(self.isSettled)
  Signal.set(self.awake)
}

const isAnyGone = ({ gone }: FileChanges): boolean => gone !== undefined && gone.size > 0

/** Whether a file was gone at the last look. */
export const isGone = ({ gone }: FileChanges, file: number): boolean => gone?.has(file) === true

const drop = (
  { options, suspects }: FileChanges,
  asked: ReadonlyArray<PieceIndex>,
  paths: ReadonlyArray<string>
): void => {
  const pieces = asked.filter((piece) => Bitfield.has(options.stored, piece))
  if (pieces.length === 0) return
  for (const piece of pieces) Bitfield.remove(suspects, piece)
  options.drop(pieces)
  options.report({ _tag: "PiecesLost", pieces, paths })
}

const suspect = (self: FileChanges, file: number): void => {
  const { known, stored } = self.options
  self.changed ??= new Set()
  self.changed.add(file)
  for (const piece of KnownFiles.piecesIn(known, file, stored)) Bitfield.add(self.suspects, piece)
  self.options.onSuspects?.()
}

/**
 * Compares files with their last facts. Returns whether all are the same. A file without an entry in `seen` is gone. Of
 * those that were being written when the look began (`KnownFiles.writingAmong`), only a replacement counts.
 */
export const observe = (
  self: FileChanges,
  files: ReadonlyArray<number>,
  seen: ReadonlyArray<FileFacts>,
  writing?: ReadonlySet<number>
): boolean => {
  const { known, onReplaced, report } = self.options
  const different: Array<number> = []
  let isCurrent = true
  const nows = new Map(seen.map((facts) => [facts.file, facts]))
  for (const file of files) {
    const before = KnownFiles.factsOf(known, file)
    const now = nows.get(file)
    if (before === undefined) continue
    if (now === undefined) {
      self.gone ??= new Set()
      self.gone.add(file)
      different.push(file)
      continue
    }
    const isOther = before.identity !== now.identity || before.kind !== now.kind
    if (isOther && (self.replacing?.has(file) === true || self.former?.get(file) === now.identity)) {
      isCurrent = false
      continue
    }
    const isWriting = KnownFiles.isWriting(known, file) || writing?.has(file) === true
    if (isWriting ? isOther : !isSame(before, now)) {
      // A file that somebody put there or filled is theirs until its content proves otherwise.
      if (isOther || KnownFiles.isDoubtful(known, now)) {
        KnownFiles.meet(known, now)
        onReplaced(file)
      } else KnownFiles.setFacts(known, now)
      suspect(self, file)
      different.push(file)
    }
  }
  if (different.length === 0) return isCurrent
  const stillThere = different.filter((file) => !isGone(self, file))
  if (stillThere.length > 0) report({ _tag: "FilesChanged", paths: pathsOf(self, stillThere) })
  wake(self)
  return false
}

/** Makes every stored piece of these files suspect, whatever the files look like. */
export const doubt = (self: FileChanges, files: ReadonlyArray<number>): void => {
  for (const file of files) suspect(self, file)
  if (files.length > 0) wake(self)
}

/** Looks at files and compares them, as `observe` does. */
export const look = (self: FileChanges, files: ReadonlyArray<number>): Effect.Effect<boolean, StorageError> =>
  Effect.suspend(() => {
    const { known, storage } = self.options
    const writing = KnownFiles.writingAmong(known, files)
    return Effect.map(storage.look(files), (seen) =>
      observe(
        self,
        files,
        seen.flatMap((facts) => facts ?? []),
        writing
      )
    )
  })

/** Looks at every file that exists. */
export const lookAtAll = (self: FileChanges): Effect.Effect<void, StorageError> =>
  Effect.suspend(() => Effect.asVoid(look(self, KnownFiles.existing(self.options.known))))

/**
 * Replaces a file with another one of ours. While `replace` runs, neither the old nor the new file counts as somebody
 * else's, also in looks that began before and end later.
 */
export const replacing = <E>(
  self: FileChanges,
  file: number,
  replace: Effect.Effect<FileFacts, E>
): Effect.Effect<FileFacts, E> =>
  Effect.suspend(() => {
    const { known } = self.options
    self.replacing ??= new Set()
    self.replacing.add(file)
    return Effect.map(replace, (facts) => {
      self.former ??= new Map()
      self.former.set(file, KnownFiles.identityOf(known, file)!)
      KnownFiles.setFacts(known, facts)
      KnownFiles.setWriting(known, file, true)
      KnownFiles.setStale(known, file, false)
      return facts
    })
  }).pipe(Effect.ensuring(Effect.sync(() => self.replacing?.delete(file))))

/** Digests suspect pieces, and drops those that are wrong. */
const verify = (self: FileChanges, pieces: Iterable<PieceIndex>) =>
  Effect.gen(function* () {
    const { options, suspects } = self
    const { digestOf, known, onHintRight, storage } = options
    const wrong: Array<PieceIndex> = []
    const right: Array<PieceIndex> = []
    yield* storage.digests(pieces).pipe(
      Stream.runForEachArray((digests) =>
        Effect.sync(() => {
          for (const { piece, sha1 } of digests) {
            if (!Bitfield.has(suspects, piece)) continue
            if (sha1 !== undefined && Bytes.equals(sha1, digestOf(piece))) {
              Bitfield.remove(suspects, piece)
              KnownFiles.prove(known, piece)
              if (KnownFiles.settleHint(known, piece)) right.push(piece)
            } else wrong.push(piece)
          }
          options.onSuspects?.()
        })
      )
    )
    if (right.length > 0 && onHintRight !== undefined)
      yield* Effect.uninterruptible(Effect.forEach(right, onHintRight, { discard: true }))
    // Another verification may have dropped some of them meanwhile, and they may have been stored again since.
    const lost = wrong.filter((piece) => Bitfield.has(suspects, piece))
    const files = [...new Set(lost.flatMap((piece) => KnownFiles.filesOf(known, piece)))]
    const toBlame = files.filter((file) => self.changed?.has(file))
    drop(self, lost, pathsOf(self, toBlame.length > 0 ? toBlame : files))
  })

/** Whether a piece is right. Reads it only if it is suspect, and drops it if it is wrong. */
export const isRight = (self: FileChanges, piece: PieceIndex): Effect.Effect<boolean, StorageError> =>
  Effect.suspend(() => {
    const { stored } = self.options
    if (!Bitfield.has(self.suspects, piece)) return Effect.succeed(Bitfield.has(stored, piece))
    // Many may request blocks of the same piece.
    const verifying = Effect.suspend(() => (Bitfield.has(self.suspects, piece) ? verify(self, [piece]) : Effect.void))
    return Effect.map(Turn.take(self.turn, verifying), () => Bitfield.has(stored, piece))
  })

/** Drops the pieces of files that are gone, unless all files are gone. */
const dropGone = Effect.fnUntraced(function* (self: FileChanges) {
  const { known, storage, stored } = self.options
  const seen = yield* storage.look(KnownFiles.existing(known))
  self.failedLooks = 0
  const isThere = new Set(seen.flatMap((facts) => facts?.file ?? []))
  const lost = [...(self.gone ?? [])].filter((file) => !isThere.has(file) && KnownFiles.has(known, file))
  self.gone = undefined
  if (lost.length === 0) return true
  const holdsBytes = (file: number) => KnownFiles.piecesIn(known, file, stored).length > 0
  if (lost.some(holdsBytes) && ![...isThere].some(holdsBytes)) return false
  const pieces = new Set(lost.flatMap((file) => KnownFiles.piecesIn(known, file, stored)))
  for (const file of lost) KnownFiles.remove(known, file)
  drop(self, [...pieces], pathsOf(self, lost))
  return true
})

/** Suspect pieces that are not only hinted at. */
const doubted = ({ options: { known }, suspects }: FileChanges): Array<PieceIndex> =>
  Array.from(Bitfield.indices(suspects), (piece) => piece as PieceIndex).filter(
    (piece) => !KnownFiles.isHinted(known, piece)
  )

/**
 * Verifies the hinted pieces that are suspect, until none is left, or something else has to be done first. Whoever
 * requests a piece takes a turn in between.
 */
const verifyHinted = Effect.fnUntraced(function* (self: FileChanges) {
  const { options, suspects } = self
  const { background, known } = options
  const atOnce = Math.max(1, Math.floor(hintedBytesAtOnce / known.layout.geometry.pieceLength))
  let next = 0
  const batch = Effect.suspend(() => {
    const pieces: Array<PieceIndex> = []
    while (pieces.length < atOnce) {
      const piece = Bitfield.next(suspects, next)
      next = piece < 0 ? suspects.length : piece + 1
      if (piece < 0) break
      pieces.push(piece as PieceIndex)
    }
    return pieces.length === 0 ? Effect.void : verify(self, pieces)
  })
  const inTurn = Turn.take(self.turn, batch)
  while (next < suspects.length && suspects.count > 0 && !isAnyGone(self) && !self.awake.isSet) {
    yield* background === undefined ? inTurn : Turn.takeFor(background, longestTurn, inTurn)
  }
})

const step = Effect.fnUntraced(function* (self: FileChanges) {
  const { onVerified, report } = self.options
  const { suspects } = self
  // Some files are gone and looks at the others keep failing: the medium itself is away.
  const isAway = (error: StorageError) =>
    error.reason._tag === "StorageUnavailable" && ++self.failedLooks >= maxFailedLooks
  if (isAnyGone(self) && !(yield* Effect.catchIf(dropGone(self), isAway, () => Effect.succeed(false)))) {
    report({ _tag: "AllGone" })
    return yield* Effect.never
  }
  const doubts = doubted(self)
  if (doubts.length > 0) yield* verify(self, doubts)
  if (suspects.count > 0) yield* verifyHinted(self)
  if (isAnyGone(self) || suspects.count > 0) return
  for (const file of self.changed ?? []) onVerified(file)
  self.changed = undefined
  Gate.open(self.isSettled)
  report({ _tag: "Verified" })
})

/** Waits until no suspect piece is left. */
export const settled = (self: FileChanges): Effect.Effect<void> => Gate.pass(self.isSettled)

/** Verifies suspect pieces in the background, until the scope closes. */
export const run = (self: FileChanges): Effect.Effect<void, never, Scope.Scope> =>
  Effect.suspend(() => {
    if (self.suspects.count > 0 || self.changed !== undefined || isAnyGone(self)) Signal.set(self.awake)
    else Gate.open(self.isSettled)
    return Signal.attend(
      self.awake,
      Effect.suspend(() =>
        Effect.catch(step(self), (error: StorageError) =>
          Effect.andThen(
            Effect.logDebug(error),
            Effect.andThen(
              Effect.sleep(retryAfter),
              Effect.sync(() => wake(self))
            )
          )
        )
      )
    )
  })
