/**
 * The torrents of the kill test of a service, whose content is known, and files of somebody else beside theirs.
 */
import * as FileSystem from "node:fs"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import * as NodePieceHasher from "../../../src/hash/provider/node/NodePieceHasher.ts"
import * as FileLayout from "../../../src/metainfo/FileLayout.ts"
import * as KnownTorrent from "../../../src/testing/KnownTorrent.ts"

/** How many torrents there are. Most of them are in the service at any time. */
export const count = 24

const pieceLength = 32_768

/** Bytes of the files of a torrent: files that share pieces, an empty one, and a large one. */
const lengths = (number: number): ReadonlyArray<number> => {
  const large = [200_000, 1_500_000, 2_500_000, 3_000_000][number % 4]!
  return [large + number * 1_001, 0, 40_003, 5_000 + number]
}

/** A torrent, and its content. */
export interface Torrent extends KnownTorrent.KnownTorrent {
  readonly number: number
  readonly name: string
  readonly infoHash: InfoHash.InfoHash
  /** The bytes of each file. */
  readonly files: ReadonlyArray<Uint8Array>
}

const make = (number: number, tracker: string): Effect.Effect<Torrent> =>
  KnownTorrent.make({
    name: `t${number}`,
    seed: number + 1,
    pieceLength,
    files: lengths(number).map((length, index) => ({ path: index === 3 ? ["more", "d"] : ["abc"[index]!], length })),
    trackers: [[tracker]]
  }).pipe(
    Effect.map((known) => ({
      ...known,
      number,
      name: `t${number}`,
      infoHash: known.metainfo.infoHash,
      files: known.metainfo.layout.files.map((_, file) => known.fileContent(file))
    })),
    Effect.provide(NodePieceHasher.layer)
  )

/** Makes all torrents, with a tracker. */
export const makeAll = (tracker: string): Effect.Effect<ReadonlyArray<Torrent>> =>
  Effect.all(Array.from({ length: count }, (_, number) => make(number, tracker)))

/** The magnet link of a torrent. */
export const magnetOf = ({ infoHash, metainfo, name }: Torrent): string =>
  `magnet:?xt=urn:btih:${InfoHash.toHex(infoHash)}&dn=${name}&tr=${encodeURIComponent(metainfo.trackers[0]![0]!)}`

/** The components of the path of a file, as the metainfo says. */
export const pathOf = ({ metainfo }: Torrent, file: number): ReadonlyArray<string> =>
  FileLayout.pathOf(metainfo.layout, file)

/** The folder below the download folder that torrents are moved to and from. */
export const elsewhere = "elsewhere"

/** Files of somebody else's that are at places where a torrent could have files. Paths as in `FileProgress`. */
export const foreignIn = ({ name, number }: Torrent, folder: string | undefined): ReadonlyArray<string> => [
  `${name}/notes of somebody.txt`,
  ...(folder === elsewhere && number % 6 === 5 ? [`${name}/c`] : [])
]

const foreignText = ({ name }: Torrent): string => `not a file of ${name}`

/** The paths of all files of somebody else's in a folder that is named `folder` and is at `root`. */
export const foreignFiles = (torrents: ReadonlyArray<Torrent>, folder: string | undefined, root: string) =>
  torrents.flatMap((torrent) =>
    foreignIn(torrent, folder).map((path) => ({ path: Path.join(root, path), text: foreignText(torrent) }))
  )

/** Puts the files of somebody else there. */
export const putForeign = (files: ReturnType<typeof foreignFiles>): void => {
  for (const { path, text } of files) {
    FileSystem.mkdirSync(Path.dirname(path), { recursive: true })
    FileSystem.writeFileSync(path, text)
  }
}

/** The files of somebody else's that are not as they were. */
export const findTouched = (files: ReturnType<typeof foreignFiles>): ReadonlyArray<string> =>
  files
    .filter(({ path, text }) => !FileSystem.existsSync(path) || FileSystem.readFileSync(path, "utf8") !== text)
    .map(({ path }) => path)
