/**
 * Draws which pieces of a torrent are stored, for a reader that begins at any time: `node examples/late.ts
 * FILE.torrent`. What it believes is right, although it has missed everything before.
 */
import { readFile } from "node:fs/promises"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Stream } from "effect"
import { Bitfield, Engine, Metainfo, type Torrent } from "piecewise"
import { NodeEngine } from "piecewise/node"

/** The pieces as text after each change: `#` is stored, `.` is wanted, a space is neither. */
export const pictures = (torrent: Torrent.Torrent): Stream.Stream<string> =>
  torrent.changes.pipe(
    Stream.scan(
      () => ({ stored: Bitfield.make(0), wanted: Bitfield.make(0) }),
      ({ stored, wanted }, change) => {
        switch (change._tag) {
          case "Current":
            return { stored: change.stored, wanted: change.wanted }
          case "Stored":
            for (const piece of change.pieces) Bitfield.add(stored, piece)
            return { stored, wanted }
          case "Lost":
            for (const piece of change.pieces) Bitfield.remove(stored, piece)
            return { stored, wanted }
          case "Selected":
            return { stored, wanted: change.wanted }
          case "StateChanged":
            return { stored, wanted }
        }
      }
    ),
    Stream.map(({ stored, wanted }) =>
      Array.from({ length: stored.length }, (_, piece) =>
        Bitfield.has(stored, piece) ? "#" : Bitfield.has(wanted, piece) ? "." : " "
      ).join("")
    ),
    Stream.changes
  )

const program = Effect.gen(function* () {
  const metainfo = yield* Metainfo.fromBytes(yield* Effect.promise(() => readFile(process.argv[2] ?? "")))
  const engine = yield* Engine.Engine
  const torrent = yield* engine.add(metainfo)
  yield* Effect.sleep("5 seconds")
  yield* Stream.runForEach(pictures(torrent), (picture) => Console.log(picture))
})

if (import.meta.main) {
  const engine = NodeEngine.layer({ directory: "downloads" })
  NodeRuntime.runMain(Effect.provide(Effect.scoped(program), engine))
}
