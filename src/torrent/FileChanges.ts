/**
 * Notices what others do to a torrent's files while it runs. The facts of a file are compared after every read of it,
 * and those of all files before the torrent is complete.
 *
 * If a file looks different (its size, its time, or another file by that name), its pieces become suspect. Each is
 * digested once, in the background or when a peer requests it, before it is uploaded or counted. Pieces that are wrong
 * or gone are dropped and count as missing. A file that is being written changes its size and time all the time, so of
 * such a file only a replacement is noticed. A change that leaves size and time as they were is never noticed.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bitfield from "../base/Bitfield.ts"
import * as Bytes from "../base/Bytes.ts"
import * as Gate from "../base/Gate.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as Signal from "../base/Signal.ts"
import type { FileFacts, StorageError, TorrentStorage } from "../storage/Storage.ts"
import * as KnownFiles from "./KnownFiles.ts"

/** How long to wait after a failed look, before files are looked at again. */
export const retryAfter = "5 seconds"

/** How many looks in a row have to fail before the medium counts as away. */
export const maxFailedLooks = 3

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
  /** Called for each file that was replaced by another one. */
  readonly onReplaced: (file: number) => void
  /** Called for each file that was verified after it had changed. */
  readonly onVerified: (file: number) => void
  readonly report: (fact: Fact) => void
}

/** Watches the files of one torrent. */
export interface FileChanges {
  /** The suspect pieces, as in the options. */
  readonly suspects: Bitfield.Bitfield
  /**
   * Compares files with their last facts. Returns whether all are the same. A file without an entry in `seen` is gone.
   */
  readonly observe: (files: ReadonlyArray<number>, seen: ReadonlyArray<FileFacts>) => boolean
  /** Makes every stored piece of these files suspect, whatever the files look like. */
  readonly doubt: (files: ReadonlyArray<number>) => void
  /** Looks at files and compares them, as `observe` does. */
  readonly look: (files: ReadonlyArray<number>) => Effect.Effect<boolean, StorageError>
  /**
   * Replaces a file with another one of ours. While `replace` runs, neither the old nor the new file counts as somebody
   * else's, also in looks that began before and end later.
   */
  readonly replacing: <E>(file: number, replace: Effect.Effect<FileFacts, E>) => Effect.Effect<FileFacts, E>
  /** Whether a file was gone at the last look. */
  readonly isGone: (file: number) => boolean
  /** Looks at every file that exists. */
  readonly lookAtAll: Effect.Effect<void, StorageError>
  /** Whether a piece is right. Reads it only if it is suspect, and drops it if it is wrong. */
  readonly isRight: (piece: PieceIndex) => Effect.Effect<boolean, StorageError>
  /** Waits until no suspect piece is left. */
  readonly settled: Effect.Effect<void>
  /** Verifies suspect pieces in the background, until the scope closes. */
  readonly run: Effect.Effect<void, never, Scope.Scope>
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
export const make = Effect.fnUntraced(function* (options: Options) {
  const { digestOf, known, report, storage, stored, suspects } = options
  /** Files that have changed and are not verified yet, and files that are gone. */
  const changed = new Set<number>(
    suspects.count === 0
      ? []
      : KnownFiles.existing(known).filter((file) => KnownFiles.piecesIn(known, file, suspects).length > 0)
  )
  const gone = new Set<number>()
  /** How many looks at all files have failed in a row. */
  let failedLooks = 0
  /** Files that we are replacing with our own, and the identities that they had before. */
  const replacing = new Set<number>()
  const former = new Map<number, string>()
  const awake = Signal.make()
  const settled = Gate.make(false)

  const pathsOf = (files: Iterable<number>): ReadonlyArray<string> =>
    Array.from(files, (file) => KnownFiles.pathOf(known, file))

  const wake = (): void => {
    Gate.close(settled)
    Signal.set(awake)
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
      const before = KnownFiles.factsOf(known, file)
      const now = nows.get(file)
      if (before === undefined) continue
      if (now === undefined) {
        gone.add(file)
        different.push(file)
        continue
      }
      const isOther = before.identity !== now.identity || before.kind !== now.kind
      if (isOther && (replacing.has(file) || former.get(file) === now.identity)) {
        isCurrent = false
        continue
      }
      if (KnownFiles.isWriting(known, file) ? isOther : !isSame(before, now)) {
        // A file that somebody put in its place is theirs until its content proves otherwise.
        if (isOther) {
          KnownFiles.meet(known, now)
          options.onReplaced(file)
        } else KnownFiles.setFacts(known, now)
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

  const lookAtAll = Effect.suspend(() => Effect.asVoid(look(KnownFiles.existing(known))))

  /** Digests suspect pieces, and drops those that are wrong. */
  const verify = (pieces: Iterable<PieceIndex>) =>
    Effect.gen(function* () {
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
      // Another verification may have dropped some of them meanwhile, and they may have been stored again since.
      const lost = wrong.filter((piece) => Bitfield.has(suspects, piece))
      const files = [...new Set(lost.flatMap((piece) => KnownFiles.filesOf(known, piece)))]
      const toBlame = files.filter((file) => changed.has(file))
      drop(lost, pathsOf(toBlame.length > 0 ? toBlame : files))
    })

  /** Drops the pieces of files that are gone, unless all files are gone. */
  const dropGone = () =>
    Effect.gen(function* () {
      const seen = yield* storage.look(KnownFiles.existing(known))
      failedLooks = 0
      const isThere = new Set(seen.flatMap((facts) => facts?.file ?? []))
      const lost = [...gone].filter((file) => !isThere.has(file) && KnownFiles.has(known, file))
      gone.clear()
      if (lost.length === 0) return true
      const holdsBytes = (file: number) => KnownFiles.piecesIn(known, file, stored).length > 0
      if (lost.some(holdsBytes) && ![...isThere].some(holdsBytes)) return false
      const pieces = new Set(lost.flatMap((file) => KnownFiles.piecesIn(known, file, stored)))
      for (const file of lost) KnownFiles.remove(known, file)
      drop([...pieces], pathsOf(lost))
      return true
    })

  const step = Effect.gen(function* () {
    // Some files are gone and looks at the others keep failing: the medium itself is away.
    const isAway = (error: StorageError) =>
      error.reason._tag === "StorageUnavailable" && ++failedLooks >= maxFailedLooks
    if (gone.size > 0 && !(yield* Effect.catchIf(dropGone(), isAway, () => Effect.succeed(false)))) {
      report({ _tag: "AllGone" })
      return yield* Effect.never
    }
    if (suspects.count > 0) yield* verify(Array.from(Bitfield.indices(suspects), (piece) => piece as PieceIndex))
    if (gone.size > 0 || suspects.count > 0) return
    for (const file of changed) options.onVerified(file)
    changed.clear()
    Gate.open(settled)
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
          former.set(file, KnownFiles.identityOf(known, file)!)
          KnownFiles.setFacts(known, facts)
          KnownFiles.setWriting(known, file, true)
          KnownFiles.setStale(known, file, false)
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
    settled: Gate.pass(settled),
    run: Effect.suspend(() => {
      if (suspects.count > 0 || changed.size > 0 || gone.size > 0) Signal.set(awake)
      else Gate.open(settled)
      return Signal.attend(
        awake,
        Effect.catch(step, (error: StorageError) =>
          Effect.andThen(Effect.logDebug(error), Effect.andThen(Effect.sleep(retryAfter), Effect.sync(wake)))
        )
      )
    })
  }
  return self
})
