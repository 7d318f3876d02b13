/**
 * The sessions of other clients in `test/fixtures`, and the files that belong to them. They say that everything is below
 * `/srv`; a copy may say another folder.
 *
 * `qbittorrent` is the folder `BT_backup` of qBittorrent 4.5.2 (libtorrent 2.0.8), and `transmission` has the folders
 * `resume` and `torrents` of Transmission 3.00, as they were on Debian 12 after the clients were told to quit. Each has:
 *
 * - `season`: complete, with a renamed file, a skipped one and one of high priority, labels, a ratio of 2.5 and a limit
 *   for uploads; in qBittorrent also 90 minutes of seeding.
 * - `half.bin`: the first half is there, below a name for incomplete files, in Transmission in a folder for incomplete
 *   torrents; paused.
 * - A magnet link without metadata; paused.
 */
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import * as Result from "effect/Result"
import * as Bytes from "../../../src/base/Bytes.ts"
import * as Bencode from "../../../src/bencode/Bencode.ts"

/** The folder of the recorded sessions. */
export const fixtures = Path.join(import.meta.dirname, "..", "..", "fixtures")

/** The info hashes of the recorded torrents, in hex. */
export const season = "aab48ec41f037fb168c63f9b27f6d7e079438168"
export const half = "426234638130f2aa8deb500d02ae3c594bb9cc96"
export const magnet = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a"

/** The bytes of a file of the recorded torrents. */
export const contentOf = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8) * 17 + seed) & 255)

/** Contents of the files, by their paths below `/srv`, as a client has left them. */
export const contents = {
  qbittorrent: {
    "films/season/one.mkv": contentOf(40_000, 1),
    "films/season/second.mkv": contentOf(50_000, 2),
    "films/season/extras/three.txt": contentOf(5_000, 3),
    "films/half.bin.!qB": contentOf(100_000, 4)
  },
  transmission: {
    "films/season/one.mkv": contentOf(40_000, 1),
    "films/season/second.mkv": contentOf(50_000, 2),
    "films/season/extras/three.txt": contentOf(5_000, 3),
    "incomplete/half.bin.part": contentOf(100_000, 4)
  }
} as const

/** Reads a file of a recorded session. */
export const read = (...path: ReadonlyArray<string>): Promise<Uint8Array> =>
  FileSystem.readFile(Path.join(fixtures, ...path)).then((bytes) => new Uint8Array(bytes))

/** The dictionary in a file. */
export const dictionaryOf = (bytes: Uint8Array): Map<string, Bencode.Value> =>
  new Map(Result.getOrThrow(Bencode.decode(bytes)).value as Bencode.Dictionary)

/** The same resume data with other values; `undefined` removes one. */
export const withValues = (
  bytes: Uint8Array,
  values: { readonly [key: string]: Bencode.Encodable | undefined }
): Uint8Array => {
  const root = new Map<string, Bencode.Encodable>(dictionaryOf(bytes))
  for (const [key, value] of Object.entries(values)) {
    if (value === undefined) root.delete(key)
    else root.set(key, value)
  }
  return Bencode.encode(root)
}

/** Says another folder than `/srv` in resume data. */
const moved = (bytes: Uint8Array, root: string): Uint8Array => {
  const values: Record<string, Bencode.Encodable> = {}
  for (const [key, value] of dictionaryOf(bytes)) {
    if (!Bencode.isBytes(value)) continue
    const text = Bytes.toText(value)
    if (text.startsWith("/srv/")) values[key] = `${root}/${text.slice(5)}`
  }
  return withValues(bytes, values)
}

/** Copies a recorded session and its files below `root`. Returns the folder of the session. */
export const copy = async (client: keyof typeof contents, root: string): Promise<string> => {
  const session = Path.join(root, client)
  await FileSystem.cp(Path.join(fixtures, client), session, { recursive: true })
  for (const name of await FileSystem.readdir(session, { recursive: true })) {
    if (!/resume$/.test(name) || name === "resume") continue
    const path = Path.join(session, name)
    await FileSystem.writeFile(path, moved(new Uint8Array(await FileSystem.readFile(path)), root))
  }
  for (const [path, bytes] of Object.entries(contents[client])) {
    await FileSystem.mkdir(Path.dirname(Path.join(root, path)), { recursive: true })
    await FileSystem.writeFile(Path.join(root, path), bytes)
  }
  return session
}
