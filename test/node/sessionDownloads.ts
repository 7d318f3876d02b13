/**
 * Twenty torrents that a session downloads from a seeder on this machine while other things are done with them, until it
 * is killed. Without a test runner, because programs use it too.
 */
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Environment from "../../src/base/Environment.ts"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as WebCryptoPieceHasher from "../../src/hash/provider/WebCryptoPieceHasher.ts"
import * as TorrentFile from "../../src/metainfo/TorrentFile.ts"
import * as NodeEngine from "../../src/node/NodeEngine.ts"
import * as SqliteSessionStore from "../../src/session/provider/node/SqliteSessionStore.ts"
import type * as Session from "../../src/session/Session.ts"
import * as TorrentFolders from "../../src/session/TorrentFolders.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"

const files = [
  { path: ["a"], length: 100_000 },
  { path: ["b"], length: 130_000 }
]

/** The torrents, by their number. */
export const torrents = await Promise.all(
  Array.from({ length: 20 }, (_, number) =>
    KnownTorrent.make({ name: `t${number}`, seed: number + 1, pieceLength: 16_384, files }).pipe(
      Effect.provide(WebCryptoPieceHasher.layer),
      Effect.runPromise
    )
  )
)

/** The torrent file of a torrent, which names a tracker. */
export const fileOf = (number: number, tracker: string): Uint8Array =>
  TorrentFile.encode({ ...torrents[number]!.metainfo, trackers: [[tracker]] })

/** The database of the session in a folder. */
export const databaseIn = (directory: string): string => Path.join(directory, ".piecewise", "session.db")

/** The folder for resume data of the session in a folder. */
export const resumeIn = Environment.resumeDirectoryIn

/** The folder below the download folder that torrents are moved to and from. */
export const elsewhere = "elsewhere"

/** What a session in a folder runs on, without logs. The session itself is made later, by who hears the engine. */
export const layerIn = (directory: string) =>
  Layer.unwrap(
    Effect.map(TorrentFolders.TorrentFolders, (folders) => {
      const directoryOf = (infoHash: InfoHash) => {
        const folder = folders.of(infoHash)
        return folder && Path.resolve(directory, folder)
      }
      return NodeEngine.layer({ directory, directoryOf, dht: false, from: "127.0.0.1" })
    })
  ).pipe(
    Layer.provideMerge(SqliteSessionStore.layer({ file: databaseIn(directory) })),
    Layer.provideMerge(TorrentFolders.layer),
    Layer.provideMerge(Logger.layer([]))
  )

/** Something that is done with a torrent. */
export type Operation =
  | { readonly _tag: "Add" | "Remove" | "Pause" | "Resume"; readonly number: number }
  | { readonly _tag: "Move"; readonly number: number; readonly folder: string | undefined }
  | { readonly _tag: "Rename"; readonly number: number; readonly name: string }

/** Chooses what is done next. `has` says which torrents the session has. */
export const draw = (random: Prng.Prng, has: (number: number) => boolean): Operation => {
  const number = Prng.integer(random, torrents.length)
  if (!has(number)) return { _tag: "Add", number }
  const kind = Prng.integer(random, 8)
  if (kind === 0) return { _tag: "Remove", number }
  if (kind === 1) return { _tag: "Pause", number }
  if (kind < 4) return { _tag: "Resume", number }
  if (kind < 6) return { _tag: "Move", number, folder: Prng.integer(random, 2) === 0 ? elsewhere : undefined }
  return { _tag: "Rename", number, name: ["a", "other", "more/a"][Prng.integer(random, 3)]! }
}

/** Does it. */
export const run = Effect.fnUntraced(function* (
  session: Session.Session["Service"],
  tracker: string,
  operation: Operation
) {
  const { infoHash, name } = torrents[operation.number]!.metainfo
  if (operation._tag === "Add") return yield* session.add({ metainfo: fileOf(operation.number, tracker) })
  const torrent = yield* session.get(infoHash)
  if (operation._tag === "Remove") return yield* torrent.remove({ data: true })
  if (operation._tag === "Pause") return yield* torrent.pause
  if (operation._tag === "Resume") return yield* torrent.resume()
  if (operation._tag === "Move") return yield* torrent.moveTo(operation.folder)
  if (operation._tag === "Rename") yield* torrent.renameFile(0, [name, ...operation.name.split("/")])
})
