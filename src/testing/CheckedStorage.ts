/**
 * A storage that knows what should be written: a decorator that dies of a wrong byte, before the medium sees it, and
 * counts what was written. It stands outermost, where the engine is; faults belong below it.
 */
import * as Effect from "effect/Effect"
import * as Bytes from "../base/Bytes.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { FileLayout } from "../metainfo/FileLayout.ts"
import { Storage, type TorrentStorage } from "../storage/Storage.ts"

/** What came through for one torrent. */
export interface Writes {
  /** How often the storage confirmed the write of each piece. */
  readonly confirmed: ReadonlyMap<number, number>
  /** How often a piece was handed over, failures included. */
  readonly attempts: number
  /** What was wrong, as sentences; the write of each died. */
  readonly wrong: ReadonlyArray<string>
}

interface Account extends Writes {
  readonly confirmed: Map<number, number>
  attempts: number
  readonly wrong: Array<string>
}

/** Puts a check around `storage`. `contentOf` gives the right bytes of a torrent's pieces. */
export const make = (
  storage: Storage["Service"],
  contentOf: (layout: FileLayout) => (piece: PieceIndex) => Uint8Array
) => {
  const accounts = new Map<FileLayout, Account>()

  const accountOf = (layout: FileLayout): Account => {
    const known = accounts.get(layout)
    if (known !== undefined) return known
    const account: Account = { confirmed: new Map(), attempts: 0, wrong: [] }
    accounts.set(layout, account)
    return account
  }

  const around = (layout: FileLayout, torrent: TorrentStorage): TorrentStorage => {
    const account = accountOf(layout)
    const content = contentOf(layout)
    return {
      ...torrent,
      writePiece: (piece, bytes, sha1) =>
        Effect.suspend(() => {
          account.attempts++
          const right = content(piece)
          if (!Bytes.equals(bytes, right)) {
            const broken = Effect.suspend(() => {
              const at = right.findIndex((byte, index) => byte !== bytes[index])
              const sentence = `a write of ${bytes.length} bytes for piece ${piece} is wrong at ${at}`
              account.wrong.push(sentence)
              return Effect.die(new Error(sentence))
            })
            // A storage that verifies is given what came, and must refuse it.
            const isJudged = torrent.verifies === true && sha1 !== undefined
            return isJudged ? Effect.andThen(torrent.writePiece(piece, bytes, sha1), broken) : broken
          }
          return Effect.tap(torrent.writePiece(piece, bytes, sha1), () =>
            Effect.sync(() => {
              // The caller must leave the bytes alone until the write returns.
              if (!Bytes.equals(bytes, right)) account.wrong.push(`piece ${piece} changed while it was written`)
              account.confirmed.set(piece, (account.confirmed.get(piece) ?? 0) + 1)
            })
          )
        })
    }
  }

  return {
    storage: Storage.of({ open: (layout) => Effect.map(storage.open(layout), (torrent) => around(layout, torrent)) }),
    /** What came through for the torrent with this layout. */
    writes: (layout: FileLayout): Writes => accountOf(layout)
  }
}
