/**
 * Makes the files of a piece writable before the piece is written. Each file is reserved, so that nobody else writes
 * it. It is claimed: made if it is missing, else taken as it was last looked at. It is remembered as being written, so
 * that after a kill nobody trusts its size and time. While one claim runs, other pieces gather, and the next claim takes
 * the files of all of them, because to remember many costs the same as to remember one.
 *
 * If it is undecided whose a file is, its pieces wait until their bytes are there to be compared with it. Equal bytes
 * prove the file to be the torrent's own. Other bytes end the torrent before the file is touched. If another client has
 * hinted at the file, its hinted pieces are verified first, until one proves it.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Bytes from "../base/Bytes.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as Turn from "../base/Turn.ts"
import type { PieceHasher } from "../hash/PieceHasher.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import {
  DigestMismatch,
  FileChanged,
  type FileClaim,
  FileExists,
  type FileFacts,
  StorageError,
  type TorrentStorage
} from "../storage/Storage.ts"
import * as Adoption from "./Adoption.ts"
import type { ContentExists } from "./ContentExists.ts"
import * as FileChanges from "./FileChanges.ts"
import * as KnownFiles from "./KnownFiles.ts"
import type { ResumeKeeper } from "./ResumeKeeper.ts"

/** A piece that is to be written: verified, or only complete if the storage verifies by itself (`verifies`). */
export interface Piece {
  readonly index: PieceIndex
  readonly bytes: Uint8Array
  readonly sha1: Uint8Array
}

/** What claiming files needs. */
export interface Options {
  readonly storage: TorrentStorage
  readonly known: KnownFiles.KnownFiles
  readonly changes: FileChanges.FileChanges
  readonly keeper: ResumeKeeper
  readonly hasher: PieceHasher["Service"]
  readonly digestOf: (piece: PieceIndex) => Uint8Array
  /** Whether files of others may be overwritten. */
  readonly overwrites: boolean
  /** Describes a file that turned out to be somebody else's. */
  readonly existing: (file: number) => ContentExists
  /** Called for a file that turned out to be somebody else's. The torrent has to end. */
  readonly onForeign: (error: ContentExists) => void
}

/** Claims files. */
export interface FileClaims {
  /** Whether the files of a piece are writable. */
  readonly isReady: (piece: PieceIndex) => boolean
  /** Makes the files of a piece writable. */
  readonly ready: (piece: Piece) => Effect.Effect<void, StorageError>
  /** Makes these files writable, and makes those that are missing. None of them may be undecided. */
  readonly claim: (files: ReadonlyArray<number>) => Effect.Effect<void, StorageError>
  /** Copies a file of ours to fresh blocks and makes it writable. Does nothing if the file is gone or was replaced. */
  readonly renew: (file: number) => Effect.Effect<void, StorageError>
}

/** Bytes that are read at once to be compared: 1 MiB, however long pieces are. */
const compareLength = 1 << 20

/** Files that were compared, and whether each is still as it was then. */
type Compared = ReadonlyMap<number, () => boolean>

const none: Compared = new Map()

/** Makes it with no file claimed. */
export const make = (options: Options): FileClaims => {
  const { changes, hasher, keeper, known, overwrites, storage } = options
  const { layout } = known
  // One claim at a time, because concurrent claims of pieces that share files fail each other.
  const turn = Turn.make()
  /** The pieces that wait for their turn: whoever has it claims their files as well. */
  const waiting = new Set<Piece>()

  /** Fails, so that the file is looked at, and compared, again. */
  const changed = (file: number) =>
    StorageError.of("claim", [new FileChanged({ path: KnownFiles.pathOf(known, file), why: "was replaced" })])

  /** Claimed files of which resume data does not say yet that they are being written. */
  const unremembered = new Set<number>()

  const isReady = (file: number, piece: PieceIndex): boolean =>
    KnownFiles.isWriting(known, file) && !unremembered.has(file) && !KnownFiles.isToCompare(known, file, piece)

  const isPieceReady = (piece: PieceIndex): boolean =>
    KnownFiles.filesOf(known, piece).every((file) => isReady(file, piece))

  /** The files that are to be made for the pieces that wait. Files that exist need more than that. */
  const missingOfWaiting = (): ReadonlyArray<number> =>
    [...waiting].flatMap(({ index }) => KnownFiles.filesOf(known, index).filter((file) => !KnownFiles.has(known, file)))

  /** Tells later whether a file was neither replaced nor met again since, so that what was read is of that file. */
  const watch = (file: number) => {
    const identity = KnownFiles.identityOf(known, file)
    const pieces = known.toCompare.get(file)
    return () => KnownFiles.identityOf(known, file) === identity && known.toCompare.get(file) === pieces
  }

  /** Ends the torrent because of a file of somebody else's. */
  const leave = (file: number) =>
    Effect.suspend(() => {
      KnownFiles.setStanding(known, file, "foreign")
      options.onForeign(options.existing(file))
      return Effect.never
    })

  /**
   * Looks for a piece that shows whose an undecided file is, before bytes are appended to it that cannot be compared.
   * Only a piece that lies in this file alone shows that, and only if it is not all zeros.
   */
  const probe = Effect.fnUntraced(function* (file: number) {
    const isStill = watch(file)
    const facts = KnownFiles.factsOf(known, file)!
    const end = FileLayout.offsetOf(layout, file) + facts.length
    for (const piece of [...(known.toCompare.get(file) ?? [])]) {
      const isThere = (piece + 1) * layout.geometry.pieceLength <= end
      if (!isThere || !FileLayout.liesIn(layout, piece, file)) continue
      const [digest] = yield* Stream.runCollect(storage.digests([piece]))
      if (!isStill()) return yield* changed(file)
      if (digest?.sha1 !== undefined && Bytes.equals(digest.sha1, options.digestOf(piece))) return
      const isBlank = yield* Adoption.isBlank({ layout, storage }, facts, piece)
      if (!isStill()) return yield* changed(file)
      if (!isBlank) return yield* leave(file)
    }
  })

  /** Compares a file with what the piece would write there. Ends the torrent if they differ. */
  const compare = Effect.fnUntraced(function* (file: number, piece: Piece) {
    const part = Adoption.overlap(layout, piece.index, { file, length: KnownFiles.lengthOf(known, file) })
    const end = part.begin + part.length
    const isStill = watch(file)
    let isEqual = true
    for (let begin = part.begin; begin < end && isEqual; begin += compareLength) {
      const length = Math.min(compareLength, end - begin)
      const { bytes } = yield* storage.readBlock(piece.index, begin, length)
      isEqual = Bytes.equals(bytes, piece.bytes.subarray(begin, begin + length))
    }
    yield* FileChanges.look(changes, [file])
    if (!isStill()) return yield* changed(file)
    if (!isEqual) return yield* leave(file)
    KnownFiles.noteEqual(known, file, piece.index)
  })

  /** Verifies hinted pieces of a file until one proves it. Ends the torrent if none does. */
  const proveHinted = Effect.fnUntraced(function* (file: number) {
    const { hinted } = known
    const isOpen = () => known.hintedFiles?.has(file) === true
    for (const piece of hinted === undefined ? [] : KnownFiles.piecesIn(known, file, hinted)) {
      if (isOpen()) yield* FileChanges.isRight(changes, piece)
    }
    if (isOpen()) return yield* leave(file)
    // It was replaced meanwhile.
    if (KnownFiles.standingOf(known, file) !== "own") return yield* changed(file)
  })

  const claimOf = (file: number): FileClaim => {
    const facts = KnownFiles.factsOf(known, file)
    if (facts === undefined) return { file, as: overwrites ? "overwritten" : "new" }
    const isOwn = KnownFiles.standingOf(known, file) === "own"
    return overwrites && (!isOwn || facts.length > FileLayout.lengthOf(layout, file))
      ? { file, as: "overwritten" }
      : { file, as: "found", facts }
  }

  /** Looks for files that a failed claim of several files has made. They are empty and count as existing. */
  const meetMade = Effect.fnUntraced(function* (files: ReadonlyArray<number>) {
    for (const facts of yield* storage.look(files.filter((file) => !KnownFiles.has(known, file)))) {
      if (facts?.isHole !== true || facts.length > 0) continue
      KnownFiles.add(known, "own", facts)
    }
  })

  /** Remembers claimed files before their first write, because after a kill a file's time proves nothing. */
  const remember = (files: ReadonlyArray<number>): Effect.Effect<void> =>
    Effect.map(keeper.append(false), () => {
      for (const file of files) unremembered.delete(file)
    })

  const renew = Effect.fnUntraced(function* (file: number) {
    yield* storage.reserve([file])
    const before = KnownFiles.identityOf(known, file)
    const [facts] = yield* storage.look([file])
    FileChanges.observe(changes, [file], facts === undefined ? [] : [facts])
    if (facts === undefined || before !== facts.identity) return
    // A file of somebody else's is written only if it may be overwritten.
    if (KnownFiles.standingOf(known, file) !== "own" && !KnownFiles.isWriting(known, file)) return
    const claim = storage.claim([{ file, as: "found", facts, afresh: true }])
    unremembered.add(file)
    // Uninterruptible: nobody would know of the copy if this were interrupted half way.
    yield* FileChanges.replacing(
      changes,
      file,
      Effect.map(claim, ([renewed]) => renewed!)
    ).pipe(
      Effect.andThen(
        Effect.suspend(() => {
          keeper.noteFile(file, KnownFiles.recordOf(known, file, changes.suspects))
          return remember([file])
        })
      ),
      Effect.uninterruptible
    )
  })

  const noteClaimed = (claimed: ReadonlyArray<FileFacts>): void => {
    for (const facts of claimed) {
      const { file, identity } = facts
      const isStale = KnownFiles.isStale(known, file) && KnownFiles.identityOf(known, file) === identity
      if (overwrites || !KnownFiles.has(known, file)) KnownFiles.add(known, "own", facts)
      else KnownFiles.setFacts(known, facts)
      // From here on, it is the torrent that fills it.
      KnownFiles.noteFilled(known, file)
      unremembered.add(file)
      KnownFiles.setWriting(known, file, true)
      KnownFiles.setStale(known, file, isStale)
      if (KnownFiles.standingOf(known, file) === "own")
        keeper.noteFile(file, KnownFiles.recordOf(known, file, changes.suspects))
    }
  }

  /** Claims files. Of those that are undecided, `compared` has those that were compared or probed (`watch`). */
  const claim = Effect.fnUntraced(function* (asked: ReadonlyArray<number>, compared: Compared = none) {
    yield* storage.reserve(asked)
    const before = new Map(asked.map((file) => [file, KnownFiles.identityOf(known, file)]))
    const stale = asked.filter((file) => KnownFiles.isStale(known, file))
    for (const file of stale) yield* renew(file)
    const renewed = new Set(stale.filter((file) => KnownFiles.isWriting(known, file)))
    const files = asked.filter((file) => !renewed.has(file))
    if (files.length === 0) return
    const there = files.filter((file) => KnownFiles.has(known, file))
    if (there.length > 0) yield* FileChanges.look(changes, there)
    // Whoever asked has compared what was there before, and not what was put there since.
    const isOther = (file: number): boolean => {
      const standing = KnownFiles.standingOf(known, file)
      const isDecided =
        standing === undefined || standing === "own" || (standing === "undecided" && compared.get(file)?.() === true)
      return before.get(file) !== KnownFiles.identityOf(known, file) || !isDecided
    }
    const other = overwrites ? undefined : files.find(isOther)
    if (other !== undefined) return yield* changed(other)
    // One by one, because a claim may put a copy in the place of a file, which must not be lost if another claim fails.
    for (const file of there) noteClaimed(yield* storage.claim([claimOf(file)]))
    const missing = files.filter((file) => !there.includes(file))
    const making = missing.length === 0 ? Effect.succeed([]) : storage.claim(missing.map(claimOf))
    noteClaimed(yield* Effect.tapError(making, () => Effect.ignore(meetMade(missing))))
    yield* remember(files)
  })

  const readyAll = Effect.fnUntraced(function* (piece: Piece) {
    const files = KnownFiles.filesOf(known, piece.index).filter((file) => !isReady(file, piece.index))
    const compared = new Map<number, () => boolean>()
    if (!overwrites) {
      const foreign = files.find((file) => KnownFiles.standingOf(known, file) === "foreign")
      if (foreign !== undefined)
        return yield* StorageError.of("claim", [new FileExists({ path: KnownFiles.pathOf(known, foreign) })])
      const undecided = files.filter((file) => KnownFiles.isToCompare(known, file, piece.index))
      // If the storage verifies by itself, nobody has verified this piece yet.
      if (undecided.length > 0 && storage.verifies === true) {
        const isRight = Bytes.equals(yield* hasher.sha1(piece.bytes), piece.sha1)
        if (!isRight)
          return yield* StorageError.of("write", [
            new DigestMismatch({ path: KnownFiles.pathOf(known, undecided[0]!) })
          ])
      }
      for (const file of undecided) {
        yield* compare(file, piece)
        compared.set(file, watch(file))
      }
    }
    const unclaimed = files.filter((file) => !KnownFiles.isWriting(known, file))
    if (!overwrites) for (const file of unclaimed) if (known.hintedFiles?.has(file) === true) yield* proveHinted(file)
    if (!overwrites)
      for (const file of unclaimed)
        if (KnownFiles.standingOf(known, file) === "undecided" && !compared.has(file)) {
          yield* probe(file)
          compared.set(file, watch(file))
        }
    // The claim of another piece was interrupted behind it.
    const left = files.filter((file) => unremembered.has(file))
    if (left.length > 0) yield* remember(left)
    if (unclaimed.length === 0) return
    const all = new Set([...unclaimed, ...missingOfWaiting()])
    if (all.size === unclaimed.length) return yield* claim(unclaimed, compared)
    // If a file of another piece fails, that piece is told in its own turn.
    yield* Effect.catch(claim([...all], compared), () =>
      Effect.suspend(() => {
        const left = unclaimed.filter((file) => !isReady(file, piece.index))
        return left.length === 0 ? Effect.void : claim(left, compared)
      })
    )
  })

  const ready = (piece: Piece): Effect.Effect<void, StorageError> =>
    Effect.suspend(() => {
      waiting.add(piece)
      const work = Effect.suspend(() => {
        waiting.delete(piece)
        return isPieceReady(piece.index) ? Effect.void : readyAll(piece)
      })
      return Effect.onExit(Turn.take(turn, work), () => Effect.sync(() => void waiting.delete(piece)))
    })

  return {
    isReady: isPieceReady,
    ready,
    claim: (files) =>
      Turn.take(
        turn,
        Effect.suspend(() => (files.length === 0 ? Effect.void : claim(files)))
      ),
    renew: (file) => Turn.take(turn, renew(file))
  }
}
