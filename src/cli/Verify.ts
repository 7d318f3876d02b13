/**
 * `piecewise verify`: compares stored files with a torrent, changes nothing, and lists the files that are missing or
 * wrong.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Bitfield from "../base/Bitfield.ts"
import * as Bytes from "../base/Bytes.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as ThreadedPieceHasher from "../hash/provider/node/ThreadedPieceHasher.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import * as Metainfo from "../metainfo/Metainfo.ts"
import * as FileSystemStorage from "../storage/provider/node/FileSystemStorage.ts"
import * as Arguments from "./Arguments.ts"
import * as Failure from "./CommandFailed.ts"
import { CommandFailed } from "./CommandFailed.ts"
import * as ContentPlace from "./ContentPlace.ts"
import * as JsonResult from "./JsonResult.ts"
import type { Output } from "./Output.ts"
import * as PeerOptions from "./PeerOptions.ts"
import * as TerminalText from "./TerminalText.ts"
import * as TorrentInput from "./TorrentInput.ts"
import * as Units from "./Units.ts"

interface Fault {
  readonly path: string
  readonly why: string
  readonly badPieces: ReadonlyArray<number>
}

export const run = Effect.fnUntraced(function* (args: Arguments.Arguments, output: Output) {
  const [torrent, path] = args.operands as [string, string]
  const metainfo = yield* TorrentInput.load(torrent, yield* PeerOptions.readFrom(args))
  const place = yield* Effect.tryPromise({
    try: () => ContentPlace.find(metainfo, path, { followLinks: Arguments.has(args, "follow-links") }),
    catch: (cause) => Failure.ofFile(path, cause)
  })
  const good = yield* check(metainfo, place, args, output).pipe(
    Effect.mapError((error) => new CommandFailed({ why: ContentPlace.whyUnreadable(error) }))
  )
  const faults = yield* Effect.promise(() => findFaults(place, good))
  const { pieceCount, totalLength } = metainfo.layout.geometry
  if (Arguments.has(args, "json")) {
    yield* JsonResult.print(output, {
      _tag: "Verified",
      version: 1,
      ok: faults.length === 0,
      pieces: pieceCount,
      goodPieces: good.count,
      totalBytes: totalLength,
      faults
    })
  } else if (!Arguments.has(args, "quiet")) {
    output.print(faults.map(({ path, why }) => TerminalText.clean(`${path}: ${why}`)))
    if (faults.length === 0) {
      output.print([`${TerminalText.clean(path)}: all ${pieceCount} pieces are correct (${Units.bytes(totalLength)})`])
    }
  }
  if (faults.length > 0) {
    const files = `${Units.count(faults.length, "file")} ${faults.length === 1 ? "is" : "are"} missing or wrong`
    return yield* new CommandFailed({ why: `${path}: ${files}, ${pieceCount - good.count} of ${pieceCount} pieces` })
  }
}, Effect.provide(ThreadedPieceHasher.layer))

/** The pieces that are complete and match their digests. */
const check = Effect.fnUntraced(function* (
  metainfo: Metainfo.Metainfo,
  { directory, followLinks, layout }: ContentPlace.ContentPlace,
  args: Arguments.Arguments,
  output: Output
) {
  const { pieceCount, pieceLength, totalLength } = layout.geometry
  const shows = output.isTerminal && !Arguments.has(args, "json") && !Arguments.has(args, "quiet")
  const storage = yield* FileSystemStorage.make({ directory, followLinks })
  const torrent = yield* storage.open({ infoHash: metainfo.infoHash, layout })
  const good = Bitfield.make(pieceCount)
  let checked = 0
  let shown = 0
  yield* torrent.digests(Bitfield.indices(Bitfield.full(pieceCount)) as Iterable<PieceIndex>).pipe(
    Stream.runForEachArray((digests) =>
      Effect.sync(() => {
        for (const { piece, sha1 } of digests) {
          checked++
          if (sha1 !== undefined && Bytes.equals(sha1, Metainfo.pieceDigest(metainfo, piece))) Bitfield.add(good, piece)
        }
        if (!shows || performance.now() - shown < 100) return
        shown = performance.now()
        const bytes = Math.min(checked * pieceLength, totalLength)
        const text = `verifying ${Units.percent(checked, pieceCount)}, ${Units.bytes(bytes)} of ${Units.bytes(totalLength)}`
        output.draw([TerminalText.fit(text, output.style().columns - 1)])
      })
    )
  )
  if (shows) output.draw([])
  output.release()
  return good
}, Effect.scoped)

/** What is wrong with each file that is missing or wrong, in file order. */
const findFaults = async (place: ContentPlace.ContentPlace, good: Bitfield.Bitfield): Promise<ReadonlyArray<Fault>> => {
  const faults: Array<Fault> = []
  for (const file of ContentPlace.filesOf(place)) {
    const { length, path } = FileLayout.fileAt(place.layout, file)
    const stored = await place.lengthOf(file)
    const pieces = FileLayout.filePieces(place.layout, file)
    const badPieces: Array<number> = []
    for (let piece = pieces.first; piece < pieces.end; piece++) if (!Bitfield.has(good, piece)) badPieces.push(piece)
    const why = whyBad(length, stored, badPieces, pieces.end - pieces.first)
    if (why !== undefined) faults.push({ path: path.join("/"), why, badPieces })
  }
  return faults
}

const whyBad = (
  length: number,
  stored: number | undefined,
  badPieces: ReadonlyArray<number>,
  pieceCount: number
): string | undefined => {
  if (stored === undefined) return "missing"
  const extent = stored < length ? "too short" : stored > length ? "too long" : undefined
  const size = extent === undefined ? "" : `${extent} (${stored} bytes instead of ${length})`
  if (badPieces.length === 0) return extent === undefined ? undefined : size
  const list = `${badPieces.length} of ${Units.count(pieceCount, "piece")} wrong: ${Units.ranges(badPieces)}`
  return size === "" ? list : `${size}, ${list}`
}
