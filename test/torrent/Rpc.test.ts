import { createServer } from "node:http"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as RpcServer from "effect/rpc/RpcServer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as InfoHash from "../../src/base/InfoHash.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import { DiskFull, StorageError } from "../../src/storage/Storage.ts"
import { TorrentEvent } from "../../src/torrent/TorrentEvent.ts"
import { TorrentError } from "../../src/torrent/TorrentStatus.ts"

const hash = InfoHash.fromHex("0123456789abcdef0123456789abcdef01234567")!

const full = new StorageError({ operation: "write", reason: new DiskFull({ path: "a.bin" }) })

const events: ReadonlyArray<TorrentEvent> = [
  { _tag: "Started", storedPieces: 0, missingPieces: 2, totalPieces: 2 },
  { _tag: "PeerConnected", address: { host: "2001:db8::1", port: 6_881 } },
  { _tag: "PieceDamaged", piece: 1 as PieceIndex, address: undefined },
  { _tag: "StorageFailed", piece: 0 as PieceIndex, error: full },
  { _tag: "Failed", error: full }
]

const Torrents = RpcGroup.make(
  Rpc.make("watch", {
    payload: { infoHash: InfoHash.InfoHash },
    success: TorrentEvent,
    error: TorrentError,
    stream: true
  }),
  Rpc.make("echo", { payload: { infoHash: InfoHash.InfoHash }, success: Schema.Boolean })
)

const handlers = Torrents.toLayer({
  watch: () => Stream.concat(Stream.fromIterable(events), Stream.fail(full)),
  echo: ({ infoHash }) => Effect.succeed(InfoHash.equals(infoHash, hash))
})

const server = HttpRouter.serve(RpcServer.layerHttp({ group: Torrents, path: "/rpc", protocol: "http" }), {
  disableLogger: true,
  disableListenLog: true
}).pipe(Layer.provide(handlers), Layer.provideMerge(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })))

const layer = Layer.unwrap(
  Effect.map(HttpServer.HttpServer, ({ address }) => {
    assert.isTrue(NetAddress.isInetAddress(address))
    return RpcClient.layerProtocolHttp({ url: `http://127.0.0.1:${(address as NetAddress.InetAddress).port}/rpc` })
  })
).pipe(Layer.provide([server, FetchHttpClient.layer]), Layer.provide(RpcSerialization.layerNdjson))

describe("events over effect/rpc", () => {
  it.live("arrive as they were reported, and so does the error", () =>
    Effect.gen(function* () {
      const client = yield* RpcClient.make(Torrents)
      const received: Array<TorrentEvent> = []

      const error = yield* client.watch({ infoHash: hash }).pipe(
        Stream.runForEach((event) => Effect.sync(() => received.push(event))),
        Effect.flip
      )

      if (received.length === 0) console.log(error)
      assert.deepStrictEqual(received.slice(0, 3), events.slice(0, 3))
      const [, , , storageFailed, failed] = received
      assert.isTrue(storageFailed?._tag === "StorageFailed" && storageFailed.error instanceof StorageError)
      assert.isTrue(failed?._tag === "Failed" && failed.error.message === full.message)
      assert.isTrue(error instanceof StorageError && error.reason instanceof DiskFull)
      assert.strictEqual(error.message, full.message)
      assert.isTrue(yield* client.echo({ infoHash: hash }))
    }).pipe(Effect.provide(layer), Effect.scoped)
  )
})
