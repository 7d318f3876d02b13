/**
 * Torrents that a session has or does not have, and what a program does with them until it is killed. Every torrent that
 * is added has its files, so it is complete without a peer.
 */
import * as FileSystem from "node:fs"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Prng from "../../src/base/Prng.ts"
import * as WebCryptoPieceHasher from "../../src/hash/provider/WebCryptoPieceHasher.ts"
import * as TorrentFile from "../../src/metainfo/TorrentFile.ts"
import * as NodeSession from "../../src/node/NodeSession.ts"
import type * as Session from "../../src/session/Session.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"

const files = [
  { path: ["a"], length: 20_000 },
  { path: ["b"], length: 30_000 }
]

/** The torrents, by their number. */
export const torrents = await Promise.all(
  [0, 1, 2].map((number) =>
    KnownTorrent.make({ name: `t${number}`, seed: number + 1, pieceLength: 16_384, files }).pipe(
      Effect.provide(WebCryptoPieceHasher.layer),
      Effect.runPromise
    )
  )
)

/** The folder below the download folder that torrents are moved to and from. */
export const elsewhere = "elsewhere"

/** Something that is done with a torrent. */
export type Operation =
  | { readonly _tag: "Add" | "Remove" | "Pause" | "Resume"; readonly number: number }
  | { readonly _tag: "Move"; readonly number: number; readonly folder: string | undefined }
  | { readonly _tag: "Rename"; readonly number: number; readonly file: number; readonly name: string }

/** The session in a folder, without logs. */
export const layerIn = (directory: string) =>
  Layer.provideMerge(NodeSession.layer({ directory, dht: false }), Logger.layer([]))

/** Chooses what is done next. `has` says which torrents the session has. */
export const draw = (random: Prng.Prng, has: (number: number) => boolean): Operation => {
  const number = Prng.integer(random, torrents.length)
  if (!has(number)) return { _tag: "Add", number }
  const kind = Prng.integer(random, 8)
  if (kind === 0) return { _tag: "Remove", number }
  if (kind === 1) return { _tag: "Pause", number }
  if (kind === 2) return { _tag: "Resume", number }
  if (kind === 3 || kind === 4)
    return { _tag: "Move", number, folder: Prng.integer(random, 2) === 0 ? elsewhere : undefined }
  const file = Prng.integer(random, files.length)
  const place = ["", "other ", "more/"][Prng.integer(random, 3)]!
  return { _tag: "Rename", number, file, name: `${place}${files[file]!.path[0]}` }
}

/** Does it. */
export const run = Effect.fnUntraced(function* (
  session: Session.Session["Service"],
  directory: string,
  operation: Operation
) {
  const { fileContent, metainfo } = torrents[operation.number]!
  if (operation._tag === "Add") {
    for (const [index, { path }] of files.entries()) {
      FileSystem.mkdirSync(Path.join(directory, metainfo.name), { recursive: true })
      FileSystem.writeFileSync(Path.join(directory, metainfo.name, ...path), fileContent(index))
    }
    return yield* session.add({ metainfo: TorrentFile.encode(metainfo) })
  }
  const torrent = yield* session.get(metainfo.infoHash)
  if (operation._tag === "Remove") return yield* torrent.remove({ data: true })
  if (operation._tag === "Pause") return yield* torrent.pause
  if (operation._tag === "Resume") return yield* torrent.resume()
  if (operation._tag === "Move") return yield* torrent.moveTo(operation.folder)
  if (operation._tag !== "Rename") return
  return yield* torrent.renameFile(operation.file, [metainfo.name, ...operation.name.split("/")])
})
