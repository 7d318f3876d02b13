/**
 * Notices what others do to a torrent's files while it runs: every read is followed by a look at the files it came from, and
 * all of them are looked at before the torrent is complete.
 *
 * A file that looks different (size, time, or another file by that name) is believed no more: each of its pieces is digested
 * once, in the background or when a peer asks for it, before it is given or counted. What turns out wrong, and what is gone,
 * is dropped: it counts as missing from then on. A file that is being written changes all the time, so there only another
 * file by its name is noticed. Not noticed at all is a change that leaves size and time as they were.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"
import * as Bitfield from "../base/Bitfield.ts"
import * as Bytes from "../base/Bytes.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { FileFacts, StorageError, TorrentStorage } from "../storage/Storage.ts"
import * as KnownFiles from "./KnownFiles.ts"

/** How long a medium that cannot be read is left alone before files are looked at again. */
export const retryAfter = "5 seconds"

/** Looks that fail one after the other before the medium counts as away. */
export const maxFailedLooks = 3

/** What happened to files. Paths are components joined by `/`. */
export type Fact =
  /** Files look different; their pieces are being verified. */
  | { readonly _tag: "FilesChanged"; readonly paths: ReadonlyArray<string> }
  /** Pieces that are not stored any more, of files that are gone or were changed. */
  | { readonly _tag: "PiecesLost"; readonly pieces: ReadonlyArray<PieceIndex>; readonly paths: ReadonlyArray<string> }
  /** Every file with stored bytes is gone: nothing was dropped, as the medium itself may be away. */
  | { readonly _tag: "AllGone" }
  /** Nothing is left to be verified. */
  | { readonly _tag: "Verified" }

/** What is needed to notice changes. */
export interface Options {
  readonly storage: Pick<TorrentStorage, "look" | "digests">
  readonly known: KnownFiles.KnownFiles
  /** The stored pieces; shrinks by `drop`. */
  readonly stored: Bitfield.Bitfield
  /** Stored pieces that are neither uploaded nor counted before they are verified. Grows and shrinks here. */
  readonly suspects: Bitfield.Bitfield
  readonly digestOf: (piece: PieceIndex) => Uint8Array
  /** Takes pieces out of `stored`, at once. */
  readonly drop: (pieces: ReadonlyArray<PieceIndex>) => void
  /** Hears of a file that another one took the place of. */
  readonly onReplaced: (file: number) => void
  /** Hears of a file that was verified after it had changed. */
  readonly onVerified: (file: number) => void
  readonly report: (fact: Fact) => void
}

/** Notices changes. */
export interface FileChanges {
  /** Those of the options. */
  readonly suspects: Bitfield.Bitfield
  /** Compares files with what they looked like last, and returns whether all are the same. `seen` may lack those that are gone. */
  readonly observe: (files: ReadonlyArray<number>, seen: ReadonlyArray<FileFacts>) => boolean
  /** Believes no piece of these files before it is verified, whatever they look like. */
  readonly doubt: (files: ReadonlyArray<number>) => void
  /** Looks at files, and compares them. */
  readonly look: (files: ReadonlyArray<number>) => Effect.Effect<boolean, StorageError>
  /**
   * Puts another file of ours in the place of one, and knows it from then on. Until it is known, and in looks that were told
   * late, neither of the two is taken for somebody else's.
   */
  readonly replacing: <E>(file: number, replace: Effect.Effect<FileFacts, E>) => Effect.Effect<FileFacts, E>
  /** Whether a file was gone when it was looked at last. */
  readonly isGone: (file: number) => boolean
  /** Looks at every file that exists. */
  readonly lookAtAll: Effect.Effect<void, StorageError>
  /** Whether a piece is right; one that is not is dropped. Reads it only if it is suspect. */
  readonly isRight: (piece: PieceIndex) => Effect.Effect<boolean, StorageError>
  /** Waits until nothing is left to be verified. */
  readonly settled: Effect.Effect<void>
  /** Verifies what is suspect, for ever. */
  readonly run: Effect.Effect<never>
}

/** Whether a file looks as it did. */
export const isSame = (self: FileFacts, that: FileFacts): boolean =>
  self.kind === that.kind &&
  self.length === that.length &&
  self.mtimeNs === that.mtimeNs &&
  self.identity === that.identity

/** Makes it; `run` must run for anything but `observe` to come to an end. */
export const make = Effect.fnUntraced(function* (options: Options) {
  const { digestOf, known, report, storage, stored, suspects } = options
  /** Files that have changed and are not verified yet, and files that are gone. */
  const changed = new Set<number>(
    [...known.files.keys()].filter((file) => KnownFiles.piecesIn(known, file, suspects).length > 0)
  )
  const gone = new Set<number>()
  /** Looks at all files that failed one after the other. */
  let failedLooks = 0
  /** Files that are being replaced by ours, and what they were before. */
  const replacing = new Set<number>()
  const former = new Map<number, string>()
  const awake = yield* Latch.make(true)
  const settled = yield* Latch.make(false)

  const pathsOf = (files: Iterable<number>): ReadonlyArray<string> =>
    Array.from(files, (file) => KnownFiles.pathOf(known, file))

  const wake = (): void => {
    Latch.closeUnsafe(settled)
    Latch.openUnsafe(awake)
  }

  const drop = (asked: ReadonlyArray<PieceIndex>, paths: ReadonlyArray<string>): void => {
    const pieces = asked.filter((piece) => Bitfield.has(stored, piece))
    if (pieces.length === 0) return
    for (const piece of pieces) Bitfield.remove(suspects, piece)
    options.drop(pieces)
    report({ _tag: "PiecesLost", pieces, paths })
  }

  const suspect = (file: number): void => {
    changed.add(file)
    for (const piece of KnownFiles.piecesIn(known, file, stored)) Bitfield.add(suspects, piece)
  }

  const observe: FileChanges["observe"] = (files, seen) => {
    const different: Array<number> = []
    let isCurrent = true
    const nows = new Map(seen.map((facts) => [facts.file, facts]))
    for (const file of files) {
      const before = known.files.get(file)
      const now = nows.get(file)
      if (before === undefined) continue
      if (now === undefined) {
        gone.add(file)
        different.push(file)
        continue
      }
      const isOther = before.facts.identity !== now.identity || before.facts.kind !== now.kind
      if (isOther && (replacing.has(file) || former.get(file) === now.identity)) {
        isCurrent = false
        continue
      }
      if (before.isWriting ? isOther : !isSame(before.facts, now)) {
        // What others put in its place is theirs until its content shows otherwise.
        if (isOther) {
          KnownFiles.meet(known, now)
          options.onReplaced(file)
        } else before.facts = now
        suspect(file)
        different.push(file)
      }
    }
    if (different.length === 0) return isCurrent
    const stillThere = different.filter((file) => !gone.has(file))
    if (stillThere.length > 0) report({ _tag: "FilesChanged", paths: pathsOf(stillThere) })
    wake()
    return false
  }

  const look = (files: ReadonlyArray<number>) =>
    Effect.map(storage.look(files), (seen) =>
      observe(
        files,
        seen.flatMap((facts) => facts ?? [])
      )
    )

  const lookAtAll = Effect.suspend(() => Effect.asVoid(look([...known.files.keys()])))

  /** Digests suspect pieces; those that are not right are dropped. */
  const verify = Effect.fnUntraced(function* (pieces: Iterable<PieceIndex>) {
    const wrong: Array<PieceIndex> = []
    yield* storage.digests(pieces).pipe(
      Stream.runForEachArray((digests) =>
        Effect.sync(() => {
          for (const { piece, sha1 } of digests) {
            if (!Bitfield.has(suspects, piece)) continue
            if (sha1 !== undefined && Bytes.equals(sha1, digestOf(piece))) {
              Bitfield.remove(suspects, piece)
              KnownFiles.prove(known, piece)
            } else wrong.push(piece)
          }
        })
      )
    )
    // Meanwhile another verification may have dropped some, and they may be stored anew.
    const lost = wrong.filter((piece) => Bitfield.has(suspects, piece))
    const files = [...new Set(lost.flatMap((piece) => KnownFiles.filesOf(known, piece)))]
    const toBlame = files.filter((file) => changed.has(file))
    drop(lost, pathsOf(toBlame.length > 0 ? toBlame : files))
  })

  /** Drops the pieces of files that are gone, unless all are. */
  const bury = Effect.fnUntraced(function* () {
    const seen = yield* storage.look([...known.files.keys()])
    failedLooks = 0
    const isThere = new Set(seen.flatMap((facts) => facts?.file ?? []))
    const lost = [...gone].filter((file) => !isThere.has(file) && known.files.has(file))
    gone.clear()
    if (lost.length === 0) return true
    const holdsBytes = (file: number) => KnownFiles.piecesIn(known, file, stored).length > 0
    if (lost.some(holdsBytes) && ![...isThere].some(holdsBytes)) return false
    const pieces = new Set(lost.flatMap((file) => KnownFiles.piecesIn(known, file, stored)))
    for (const file of lost) known.files.delete(file)
    drop([...pieces], pathsOf(lost))
    return true
  })

  const step = Effect.gen(function* () {
    yield* awake.await
    Latch.closeUnsafe(awake)
    // Files are gone, and the others cannot even be looked at, again and again: the medium itself is away.
    const isAway = (error: StorageError) =>
      error.reason._tag === "StorageUnavailable" && ++failedLooks >= maxFailedLooks
    if (gone.size > 0 && !(yield* Effect.catchIf(bury(), isAway, () => Effect.succeed(false)))) {
      report({ _tag: "AllGone" })
      return yield* Effect.never
    }
    if (suspects.count > 0) yield* verify(Array.from(Bitfield.indices(suspects), (piece) => piece as PieceIndex))
    if (gone.size > 0 || suspects.count > 0) return
    for (const file of changed) options.onVerified(file)
    changed.clear()
    Latch.openUnsafe(settled)
    report({ _tag: "Verified" })
  })

  const self: FileChanges = {
    suspects,
    observe,
    doubt: (files) => {
      for (const file of files) suspect(file)
      if (files.length > 0) wake()
    },
    look,
    replacing: (file, replace) =>
      Effect.suspend(() => {
        replacing.add(file)
        return Effect.map(replace, (facts) => {
          const before = known.files.get(file)!
          former.set(file, before.facts.identity)
          known.files.set(file, { ...before, facts, isWriting: true, isStale: false })
          return facts
        })
      }).pipe(Effect.ensuring(Effect.sync(() => replacing.delete(file)))),
    isGone: (file) => gone.has(file),
    lookAtAll,
    isRight: (piece) =>
      Effect.suspend(() => {
        if (!Bitfield.has(suspects, piece)) return Effect.succeed(Bitfield.has(stored, piece))
        return Effect.map(verify([piece]), () => Bitfield.has(stored, piece))
      }),
    settled: settled.await,
    run: step.pipe(
      Effect.catch((error: StorageError) =>
        Effect.andThen(Effect.logDebug(error), Effect.andThen(Effect.sleep(retryAfter), Effect.sync(wake)))
      ),
      Effect.forever
    )
  }
  return self
})
