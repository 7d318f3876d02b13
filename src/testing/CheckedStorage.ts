/**
 * A storage that knows the right bytes of every piece: a decorator that counts the writes, and dies before the medium
 * sees a wrong byte, a write to a file that was not claimed, a claim of a file that was not reserved, or a second
 * writer to a path. It is the outermost decorator, next to the engine; faults belong below it.
 */
import * as Effect from "effect/Effect"
import * as Bytes from "../base/Bytes.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import { Storage, type TorrentStorage } from "../storage/Storage.ts"

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

/** Puts a check around `storage`. `contentOf` returns the right bytes of a torrent's pieces. */
export const make = (
  storage: Storage["Service"],
  contentOf: (layout: FileLayout.FileLayout) => (piece: PieceIndex) => Uint8Array
) => {
  const accounts = new Map<FileLayout.FileLayout, Account>()
  /** The opening that writes to each path. */
  const writers = new Map<string, TorrentStorage>()

  const accountOf = (layout: FileLayout.FileLayout): Account => {
    const known = accounts.get(layout)
    if (known !== undefined) return known
    const account: Account = { confirmed: new Map(), attempts: 0, wrong: [] }
    accounts.set(layout, account)
    return account
  }

  const around = (layout: FileLayout.FileLayout, torrent: TorrentStorage) => {
    const account = accountOf(layout)
    const content = contentOf(layout)
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

    const wrongWrite = (piece: PieceIndex, bytes: Uint8Array, right: Uint8Array): string | undefined => {
      if (!Bytes.equals(bytes, right)) {
        const at = right.findIndex((byte, index) => byte !== bytes[index])
        return `a write of ${bytes.length} bytes for piece ${piece} is wrong at ${at}`
      }
      const unclaimed = FileLayout.pieceSpans(layout, piece).find(
        ({ file }) => !FileLayout.isPadding(layout, file) && !claimed.has(file)
      )
      return unclaimed && `piece ${piece} was to be written to ${paths[unclaimed.file]}, which is not claimed`
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
      writePiece: (piece, bytes, sha1) =>
        Effect.suspend(() => {
          account.attempts++
          const right = content(piece)
          const wrong = wrongWrite(piece, bytes, right)
          if (wrong !== undefined) {
            // A storage that verifies gets unverified bytes, and must refuse wrong ones.
            const isJudged = torrent.verifies === true && sha1 !== undefined
            return isJudged ? Effect.andThen(torrent.writePiece(piece, bytes, sha1), die(wrong)) : die(wrong)
          }
          return Effect.tap(torrent.writePiece(piece, bytes, sha1), () =>
            Effect.sync(() => {
              // The caller must leave the bytes alone until the write returns.
              if (!Bytes.equals(bytes, right)) account.wrong.push(`piece ${piece} changed while it was written`)
              account.confirmed.set(piece, (account.confirmed.get(piece) ?? 0) + 1)
            })
          )
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
              Effect.sync(() => around(options.layout, torrent)),
              ({ close }) => close
            )
          ),
          Effect.map(({ checked }) => checked)
        )
    }),
    /** The writes of the torrent with this layout. */
    writes: (layout: FileLayout.FileLayout): Writes => accountOf(layout)
  }
}
