/**
 * Arbitraries of torrents: what `KnownTorrent.make` makes them from, metainfo files, and metainfo files with a named
 * damage.
 */
import * as fc from "fast-check"
import * as Bencode from "../../bencode/Bencode.ts"
import * as CreateTorrent from "../../metainfo/CreateTorrent.ts"
import * as Metainfo from "../../metainfo/Metainfo.ts"
import type * as KnownTorrent from "../KnownTorrent.ts"

/** Name stems that a careless client would change: blanks, marks, other scripts, dots, parts of a URL. */
const stem: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom("a", "A b", "#1", "what?", "a..b", "...", "наука", "日本語", "é", "👩‍👧", "100%", "x:y", ".hidden"),
  fc.stringMatching(/^[a-z0-9 _()[\]{}!-]{1,12}$/).map((text) => `x${text}x`)
)

/** Piece lengths: common ones, odd ones, and very small ones. */
const pieceLength: fc.Arbitrary<number> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(16_384, 32_768) },
  { weight: 2, arbitrary: fc.constantFrom(1_000, 16_383, 20_000) },
  { weight: 1, arbitrary: fc.constantFrom(1, 3) }
)

/** File lengths that meet, miss and exceed the ends of pieces. */
const fileLength = (piece: number): fc.Arbitrary<number> =>
  fc.oneof(
    fc.constantFrom(0, 1, piece - 1, piece, piece + 1, 2 * piece),
    fc.integer({ min: 0, max: Math.min(3 * piece, 100_000) })
  )

const folder: fc.Arbitrary<ReadonlyArray<string>> = fc.array(fc.constantFrom("one", "two", "третья", "d.e"), {
  maxLength: 3
})

interface Draft {
  readonly stem: string
  readonly folder: ReadonlyArray<string>
  readonly length: number
  readonly padding: boolean
}

const toFile = ({ folder, length, padding, stem }: Draft, index: number): CreateTorrent.File =>
  // The index keeps the paths distinct when the rest shrinks.
  padding ? { path: [".pad", String(length)], length, padding } : { path: [...folder, `${stem}-${index}.bin`], length }

/**
 * Valid torrents of at least one byte, as a plan for `KnownTorrent.make`: one file or many, odd piece lengths, odd last
 * pieces, files without bytes, padding now and then. Their names are safe, so they stay unchanged.
 */
export const knownTorrent: fc.Arbitrary<KnownTorrent.Options> = pieceLength.chain((pieceLength) => {
  const draft: fc.Arbitrary<Draft> = fc.record({
    stem,
    folder,
    length: fileLength(pieceLength),
    padding: fc.integer({ min: 0, max: 9 }).map((die) => die === 9)
  })
  const files: fc.Arbitrary<ReadonlyArray<CreateTorrent.File>> = fc.oneof(
    { weight: 1, arbitrary: fileLength(pieceLength).map((length) => [{ path: [], length: Math.max(1, length) }]) },
    {
      weight: 3,
      arbitrary: fc
        .array(draft, { minLength: 1, maxLength: 12 })
        .filter((drafts) => drafts.some(({ length }) => length > 0))
        .map((drafts) => drafts.map(toFile))
    }
  )
  return fc.record({
    name: stem,
    files,
    pieceLength: fc.constant(pieceLength),
    seed: fc.nat(),
    isPrivate: fc.boolean(),
    trackers: fc.constantFrom(
      [],
      [["http://one.example/announce"]],
      [["udp://one.example:80", "wss://two.example"], ["https://three.example/a?b=c"]]
    ),
    webSeeds: fc.constantFrom([], ["https://seed.example/files/"]),
    comment: fc.option(fc.string(), { nil: undefined }),
    createdBy: fc.constantFrom(undefined, "piecewise"),
    creationDate: fc.option(fc.nat(), { nil: undefined })
  })
})

/** A metainfo file and its contents. Its digests are noise, because nothing needs to be hashed. */
export interface MetainfoSample {
  readonly plan: KnownTorrent.Options
  readonly digests: Uint8Array
  readonly bytes: Uint8Array
}

/** Valid metainfo files. */
export const metainfo: fc.Arbitrary<MetainfoSample> = knownTorrent.map((plan) => {
  const totalLength = plan.files.reduce((sum, { length }) => sum + length, 0)
  const digests = Uint8Array.from(
    { length: Math.ceil(totalLength / plan.pieceLength) * Metainfo.digestLength },
    (_, index) => Math.imul(index + 1, 0x9e3779b1) >>> 24
  )
  return { plan, digests, bytes: CreateTorrent.encode({ ...plan, name: plan.name ?? "known", digests }) }
})

type Fields = Map<string, Bencode.Value>

/** What can be wrong with a metainfo file, each with the field that must be named. */
const damages: ReadonlyArray<readonly [label: string, field: string, apply: (info: Fields) => void]> = [
  ["no piece length", "piece length", (info) => info.delete("piece length")],
  ["piece length 0", "piece length", (info) => info.set("piece length", 0)],
  ["piece length below 0", "piece length", (info) => info.set("piece length", -16_384)],
  ["piece length too large", "piece length", (info) => info.set("piece length", 2 ** 29 + 1)],
  ["piece length a string", "piece length", (info) => info.set("piece length", new Uint8Array([49]))],
  ["no name", "name", (info) => info.delete("name")],
  ["name a number", "name", (info) => info.set("name", 1)],
  ["no pieces", "pieces", (info) => info.delete("pieces")],
  ["pieces a list", "pieces", (info) => info.set("pieces", [])],
  ["one hash too many", "pieces", (info) => info.set("pieces", resize(info, Metainfo.digestLength))],
  ["one hash too few", "pieces", (info) => info.set("pieces", resize(info, -Metainfo.digestLength))],
  ["half a hash", "pieces", (info) => info.set("pieces", resize(info, -10))],
  ["length and files", "length", (info) => info.set("length", 1).set("files", [])],
  ["neither length nor files", "length", (info) => info.delete("length") || info.delete("files")],
  ["unknown version", "meta version", (info) => info.set("meta version", 3)],
  ["v2 without its tree", "file tree", (info) => info.set("meta version", 2).set("piece length", 16_384)]
]

const resize = (info: Fields, by: number): Uint8Array => {
  const pieces = info.get("pieces") as Uint8Array
  const resized = new Uint8Array(pieces.length + by)
  resized.set(pieces.subarray(0, resized.length))
  return resized
}

/** A metainfo file that must be refused with a sentence naming `field`. */
export interface DamagedMetainfo {
  readonly label: string
  readonly field: string
  readonly bytes: Uint8Array
}

/** Metainfo files that are valid except for one thing. */
export const damagedMetainfo: fc.Arbitrary<DamagedMetainfo> = fc
  .tuple(metainfo, fc.constantFrom(...damages))
  .map(([{ bytes }, [label, field, apply]]) => {
    const root = new Map((Bencode.decode(bytes) as { success: Bencode.Decoded }).success.value as Bencode.Dictionary)
    const info: Fields = new Map(root.get("info") as Bencode.Dictionary)
    apply(info)
    root.set("info", info)
    return { label, field, bytes: Bencode.encode(root) }
  })
