/**
 * Implements `piecewise list`.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as TorrentModel from "../../control/api/TorrentModel.ts"
import * as Arguments from "../Arguments.ts"
import type { Output } from "../Output.ts"
import * as Progress from "../Progress.ts"
import * as Table from "../Table.ts"
import * as ServiceConnection from "./ServiceConnection.ts"
import * as ServiceLines from "./ServiceLines.ts"
import * as TextOptions from "./TextOptions.ts"
import * as TorrentChoice from "./TorrentChoice.ts"
import * as TorrentColumns from "./TorrentColumns.ts"

/** What the API takes for a part of a name. */
const Search = Schema.String.check(Schema.isMaxLength(256))

/** Lists the torrents that the options describe. On a terminal the lines are cut so that they fit. */
export const run = (args: Arguments.Arguments, output: Output) =>
  ServiceConnection.use(args, (client) =>
    Effect.gen(function* () {
      const { torrents, unreadable } = yield* TorrentChoice.listAll(client, {
        // `Arguments.read` accepts no other values.
        sort: Arguments.get(args, "sort") as TorrentModel.SortKey | undefined,
        kind: Arguments.get(args, "kind") as TorrentModel.Kind | undefined,
        order: Arguments.has(args, "reverse") ? "descending" : "ascending",
        label: Arguments.get(args, "label"),
        search: yield* TextOptions.read(args, "search", Search)
      })
      if (Arguments.has(args, "json")) return ServiceLines.print(output, { _tag: "Listed", torrents, unreadable })
      for (const { key, what, why } of unreadable) {
        output.note(`The service cannot read what it has saved: ${`${what} ${key}`.trim()}: ${why}`)
      }
      if (torrents.length === 0) return output.note("There are no such torrents.")
      output.print(table(torrents, output))
    })
  )

const table = (
  torrents: ReadonlyArray<TorrentModel.TorrentItem>,
  { isTerminal, style: styleOf }: Output
): ReadonlyArray<string> => {
  const style = styleOf()
  const columns = TorrentColumns.list(style)
  const ellipsis = style.unicode ? "…" : "..."
  const layout = isTerminal ? Table.layout(columns, style.columns) : Table.natural(columns, torrents)
  return [
    Progress.paint(style, "dim", Table.titles(layout, ellipsis)),
    ...torrents.map((torrent) => Table.line(layout, torrent, ellipsis).trimEnd())
  ]
}
