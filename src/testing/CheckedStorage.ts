/**
 * A storage that knows the right bytes of every piece, or their digests: a decorator that counts the writes, and dies
 * before the medium sees a wrong byte, a write to a file that was not claimed, a claim of a file that was not reserved,
 * or a second writer to a path. It is the outermost decorator, next to the engine; faults belong below it.
 */
import * as Effect from "effect/Effect"
import * as Bytes from "../base/Bytes.ts"
import * as InfoHash from "../base/InfoHash.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { PieceHasher } from "../hash/PieceHasher.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import { type OpenOptions, Storage, type TorrentStorage } from "../storage/Storage.ts"

/** The writes of one torrent. */
export interface Writes {
  /** How often the storage confirmed the write of each piece. */
  readonly confirmed: ReadonlyMap<number, number>
  /** How often a piece was passed in, failures included. */
  readonly attempts: number
  /** What was wrong, as sentences; each stands for a call that died. */
  readonly wrong: ReadonlyArray<string>
}

interface Account extends Writes {
  readonly confirmed: Map<number, number>
  attempts: number
  readonly wrong: Array<string>
}

/** Returns what is wrong with the bytes of a piece, as the end of a sentence; `undefined` if they are right. */
export type Judge = (piece: PieceIndex, bytes: Uint8Array) => Effect.Effect<string | undefined>

/** Knows the right bytes of each piece. */
export const judgeByContent =
  (content: (piece: PieceIndex) => Uint8Array): Judge =>
  (piece, bytes) =>
    Effect.sync(() => {
      const right = content(piece)
      if (Bytes.equals(bytes, right)) return undefined
      return `is wrong at ${right.findIndex((byte, index) => byte !== bytes[index])}`
    })

/** Knows the digest of each piece. */
export const judgeByDigest =
  (hasher: PieceHasher["Service"], digestOf: (piece: PieceIndex) => Uint8Array): Judge =>
  (piece, bytes) =>
    Effect.map(hasher.sha1(bytes), (sha1) =>
      Bytes.equals(sha1, digestOf(piece)) ? undefined : "does not have its digest"
    )

/**
 * Puts a check around `storage`. `judgeOf` is asked at each write who judges the bytes of a torrent; without a judge
 * they are not checked.
 */
export const make = (storage: Storage["Service"], judgeOf: (torrent: OpenOptions) => Judge | undefined) => {
  /** By info hash in hex. */
  const accounts = new Map<string, Account>()
  /** The opening that writes to each path. */
  const writers = new Map<string, TorrentStorage>()

  const accountOf = (infoHash: InfoHash.InfoHash): Account => {
    const hex = InfoHash.toHex(infoHash)
    const known = accounts.get(hex)
    if (known !== undefined) return known
    const account: Account = { confirmed: new Map(), attempts: 0, wrong: [] }
    accounts.set(hex, account)
    return account
  }

  const around = (options: OpenOptions, torrent: TorrentStorage) => {
    const { infoHash, layout } = options
    const account = accountOf(infoHash)
    const paths = Array.from(FileLayout.indices(layout), (file) => FileLayout.pathOf(layout, file).join("/"))
    const claimed = new Set<number>()

    const die = (sentence: string) =>
      Effect.suspend(() => {
        account.wrong.push(sentence)
        return Effect.die(new Error(sentence))
      })

    const release = (files: Iterable<number>) => {
      for (const file of files) {
        claimed.delete(file)
        if (writers.get(paths[file]!) === torrent) writers.delete(paths[file]!)
      }
    }

    const reserved = <A, E>(files: ReadonlyArray<number>, what: string, effect: Effect.Effect<A, E>) =>
      Effect.suspend(() => {
        const free = files.find((file) => writers.get(paths[file]!) !== torrent)
        return free === undefined ? effect : die(`${paths[free]} was to be ${what}, and is not reserved`)
      })

    const unclaimed = (piece: PieceIndex): string | undefined => {
      const span = FileLayout.pieceSpans(layout, piece).find(
        ({ file }) => !FileLayout.isPadding(layout, file) && !claimed.has(file)
      )
      return span && `piece ${piece} was to be written to ${paths[span.file]}, which is not claimed`
    }

    const checked: TorrentStorage = {
      ...torrent,
      reserve: (files) =>
        Effect.flatMap(torrent.reserve(files), () => {
          const taken = files.find((file) => (writers.get(paths[file]!) ?? torrent) !== torrent)
          if (taken !== undefined) return die(`${paths[taken]} has two writers`)
          for (const file of files) writers.set(paths[file]!, torrent)
          return Effect.void
        }),
      release: (files) =>
        Effect.suspend(() => {
          // Before the medium releases them: another torrent may reserve the files at once.
          release(files)
          return torrent.release(files)
        }),
      claim: (claims) =>
        reserved(
          claims.map(({ file }) => file),
          "claimed",
          Effect.tap(torrent.claim(claims), () =>
            Effect.sync(() => {
              for (const { file } of claims) claimed.add(file)
            })
          )
        ),
      writePiece: Effect.fnUntraced(function* (piece, bytes, sha1) {
        account.attempts++
        const right = yield* judgeOf(options)?.(piece, bytes) ?? Effect.undefined
        const wrong = right && `a write of ${bytes.length} bytes for piece ${piece} ${right}`
        if (wrong !== undefined) {
          // A storage that verifies gets unverified bytes, and must refuse wrong ones.
          if (torrent.verifies === true && sha1 !== undefined) yield* torrent.writePiece(piece, bytes, sha1)
          return yield* die(wrong)
        }
        const free = unclaimed(piece)
        if (free !== undefined) return yield* die(free)
        const before = bytes.slice()
        yield* torrent.writePiece(piece, bytes, sha1)
        // The caller must leave the bytes alone until the write returns.
        if (!Bytes.equals(bytes, before)) account.wrong.push(`piece ${piece} changed while it was written`)
        account.confirmed.set(piece, (account.confirmed.get(piece) ?? 0) + 1)
      }),
      rename: (file, path) =>
        reserved(
          [file],
          "renamed",
          Effect.tap(torrent.rename(file, path), () =>
            Effect.sync(() => {
              writers.delete(paths[file]!)
              paths[file] = path.join("/")
              writers.set(paths[file]!, torrent)
            })
          )
        ),
      remove: (files) => reserved(files, "removed", torrent.remove(files))
    }
    return { checked, close: Effect.sync(() => release(FileLayout.indices(layout))) }
  }

  return {
    storage: Storage.of({
      open: (options) =>
        storage.open(options).pipe(
          // Released before the medium releases it, because scopes close from the last to the first.
          Effect.flatMap((torrent) =>
            Effect.acquireRelease(
              Effect.sync(() => around(options, torrent)),
              ({ close }) => close
            )
          ),
          Effect.map(({ checked }) => checked)
        )
    }),
    /** What was wrong first, of any torrent. */
    wrong: (): string | undefined => [...accounts.values()].flatMap(({ wrong }) => wrong)[0],
    /** The writes of a torrent. */
    writes: (infoHash: InfoHash.InfoHash): Writes => accountOf(infoHash)
  }
}
