/**
 * A program that imports the session of another client, and seeds what it has. Arguments: the client, the folder of its
 * session, and a folder for the session of piecewise. Writes a JSON line with the port and the report, and one for each
 * line of standard input: `status`, or the address of a peer, which its only torrent is to dial.
 */
import * as ReadLine from "node:readline"
import { NodeFileSystem } from "@effect/platform-node"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as PeerAddress from "../../src/base/PeerAddress.ts"
import { Engine } from "../../src/engine/Engine.ts"
import * as NodeSession from "../../src/node/NodeSession.ts"
import * as SessionImport from "../../src/session/import/SessionImport.ts"
import * as Session from "../../src/session/Session.ts"

const [, , client, folder = "", directory = ""] = process.argv

const print = (line: unknown) => process.stdout.write(`${JSON.stringify(line)}\n`)

const program = Effect.gen(function* () {
  const report = yield* SessionImport.run(Schema.decodeUnknownSync(SessionImport.Client)(client), folder)
  const { listening } = yield* Engine
  const session = yield* Session.Session
  const opened = Effect.gen(function* () {
    const { torrents } = yield* session.list
    return Option.getOrUndefined(yield* (yield* session.get(torrents[0]!.infoHash)).torrent)
  })
  while ((yield* opened) === undefined) yield* Effect.sleep("10 millis")
  const torrent = (yield* opened)!
  print({
    port: listening!.port,
    torrents: report.torrents.map(({ name, notes, outcome }) => ({ name, notes, outcome }))
  })
  const lines = Stream.fromAsyncIterable(ReadLine.createInterface({ input: process.stdin }), (cause) => cause)
  yield* Stream.runForEach(lines, (line) =>
    Effect.gen(function* () {
      const peer = PeerAddress.parse(line)
      if (peer !== undefined) yield* torrent.addPeers([peer])
      const { bannedPeers, downloadedBytes, missingBytes, state, storedPieces, unverifiedPieces } =
        yield* torrent.status
      print({ bannedPeers, downloadedBytes, missingBytes, state: state._tag, storedPieces, unverifiedPieces })
    })
  )
})

const session = NodeSession.layer({
  directory,
  dht: false,
  listen: { host: "127.0.0.1", port: 0 },
  telemetry: { logs: false }
})

await Effect.runPromise(Effect.provide(Effect.scoped(program), [session, NodeFileSystem.layer]))
