/**
 * Implements `piecewise info`, which shows the contents of a torrent file or of a magnet link.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as InfoHash from "../base/InfoHash.ts"
import * as PeerAddress from "../base/PeerAddress.ts"
import * as NodePieceHasher from "../hash/provider/node/NodePieceHasher.ts"
import * as Magnet from "../metainfo/Magnet.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import * as MetainfoSummary from "../metainfo/MetainfoSummary.ts"
import * as Arguments from "./Arguments.ts"
import { CommandFailed } from "./CommandFailed.ts"
import * as JsonResult from "./JsonResult.ts"
import type { Output } from "./Output.ts"
import * as PeerOptions from "./PeerOptions.ts"
import * as Rows from "./Rows.ts"
import * as TerminalText from "./TerminalText.ts"
import * as TorrentInput from "./TorrentInput.ts"
import * as Units from "./Units.ts"

/** Prints the contents of the operand as a table or, with `--json`, as one line of JSON. */
export const run = Effect.fnUntraced(function* (args: Arguments.Arguments, output: Output) {
  const text = args.operands[0]!
  const asJson = Arguments.has(args, "json")
  const from = yield* PeerOptions.readFrom(args)
  const found = yield* Effect.provide(TorrentInput.find(text, from), NodePieceHasher.layer)
  if (found._tag === "Link") {
    const link = Magnet.parse(found.link)
    if (Result.isFailure(link)) return yield* new CommandFailed({ why: link.failure.message })
    if (!asJson) return output.print(tableOfLink(link.success))
    return yield* JsonResult.print(output, { _tag: "MagnetInfo", version: 1, ...link.success })
  }
  const { metainfo } = found
  if (!asJson) return output.print(tableOf(metainfo))
  yield* JsonResult.print(output, { _tag: "TorrentInfo", version: 1, ...MetainfoSummary.of(metainfo) })
})

/** Returns the files that exist on disk, which are all except padding. */
const filesOf = ({ layout }: Metainfo) => layout.files.filter(({ padding }) => !padding)

const tableOf = (metainfo: Metainfo): ReadonlyArray<string> => {
  const { geometry } = metainfo.layout
  const files = filesOf(metainfo)
  const sizes = files.map(({ length }) => Units.bytes(length))
  const width = Math.max(...sizes.map((size) => size.length))
  return [
    ...Rows.lines([
      ["name", [metainfo.name]],
      ["info hash", [InfoHash.toHex(metainfo.infoHash)]],
      ["size", [`${Units.bytes(geometry.totalLength)} (${geometry.totalLength} bytes)`]],
      ["pieces", [`${geometry.pieceCount} of ${Units.bytes(geometry.pieceLength)}`]],
      ["private", [metainfo.isPrivate ? "yes, it uses peers from its trackers only" : undefined]],
      ["trackers", metainfo.trackers.flat()],
      ["web seeds", metainfo.webSeeds],
      ["HTTP seeds", metainfo.httpSeeds],
      ["nodes", metainfo.nodes.map(PeerAddress.format)],
      ["comment", [metainfo.comment]],
      ["made by", [metainfo.createdBy]],
      ["made on", [MetainfoSummary.dateOf(metainfo.creationDate)?.toISOString()]],
      ["files", [String(files.length)]]
    ]),
    ...files.map(({ path }, index) => `  ${sizes[index]!.padStart(width)}  ${TerminalText.clean(path.join("/"))}`)
  ]
}

const tableOfLink = (link: Magnet.Magnet): ReadonlyArray<string> =>
  Rows.lines([
    ["name", [link.name]],
    ["info hash", [link.infoHash === undefined ? undefined : InfoHash.toHex(link.infoHash)]],
    ["info hash v2", [link.infoHashV2 === undefined ? undefined : InfoHash.toHex(link.infoHashV2)]],
    ["trackers", link.trackers],
    ["web seeds", link.webSeeds],
    ["sources", [...link.exactSources, ...link.acceptableSources]],
    ["peers", link.peers.map(PeerAddress.format)],
    ["files", [link.select?.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join(", ")]]
  ])
