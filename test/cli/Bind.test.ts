import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import { serve } from "../network/httpServer.ts"
import { services } from "./downloads.ts"
import { folderScoped, runScoped } from "./program.ts"

/** Serves a torrent file whose tracker is the same server. Returns its URL, and from where each path was asked. */
const serveTorrent = Effect.gen(function* () {
  const asked: Array<string> = []
  let bytes: Uint8Array = new Uint8Array()
  const url = yield* serve((request, response) => {
    const { pathname } = new URL(request.url!, "http://x")
    asked.push(`${pathname} from ${request.socket.remoteAddress}`)
    if (pathname === "/t.torrent") response.end(bytes)
    else response.writeHead(404).end()
  })
  const known = yield* KnownTorrent.make({
    files: [{ path: [], length: 5 }],
    pieceLength: 16_384,
    trackers: [[`${url}/announce`]]
  })
  bytes = known.bytes
  return { asked, url: `${url}/t.torrent` }
})

// Only Linux has all addresses of 127.0.0.0/8.
describe.runIf(process.platform === "linux")("--bind and PIECEWISE_BIND", () => {
  it.live("are the source of the request for a torrent file", () =>
    Effect.gen(function* () {
      const { asked, url } = yield* serveTorrent
      const folder = yield* folderScoped
      const nothing = path.join(folder, "nothing")
      const variable = { PIECEWISE_BIND: "127.0.0.2" }

      yield* Effect.all(
        [
          runScoped(["download", url, "-o", "out", "--select", "none", "--bind", "127.0.0.2"], folder),
          runScoped(["download", url, "-o", "out", "--select", "none"], folder, variable),
          runScoped(["seed", url, nothing, "--bind", "127.0.0.2"], folder),
          runScoped(["info", url], folder, variable),
          runScoped(["verify", url, nothing], folder, variable),
          runScoped(["scrape", url], folder, variable)
        ],
        { concurrency: 2 }
      )

      const files = Array.from({ length: 6 }, () => "/t.torrent from 127.0.0.2")
      assert.deepStrictEqual(asked.toSorted(), ["/scrape from 127.0.0.2", ...files])
    }).pipe(Effect.provide(services))
  )
})
