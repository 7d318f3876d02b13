import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as PeerAddress from "../../src/base/PeerAddress.ts"
import { Encryption } from "../../src/connect/Encryption.ts"
import * as Magnet from "../../src/metainfo/Magnet.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { inverting } from "../connect/inverting.ts"
import { seed, small } from "./torrents.ts"

const listen = { port: 6_881 }

const addressOf = (world: Swarms.World): PeerAddress.PeerAddress => ({ host: world.host, port: listen.port })

const { geometry } = small.metainfo.layout

describe("a swarm whose connections are all encrypted", () => {
  it.effect("fetches metadata and pieces over dialled and accepted connections, and understands no other peer", () =>
    Swarms.use({ seed, engine: { listen } }, (world) =>
      Effect.gen(function* () {
        const everything = { stored: Bitfield.full(geometry.pieceCount), resume: undefined }
        yield* world.download(small, { seed: true, from: everything })
        const second = yield* world.beside({ engine: { listen } })
        const third = yield* world.beside()
        const infoHash = InfoHash.toHex(small.metainfo.infoHash)
        const link = `magnet:?xt=urn:btih:${infoHash}&x.pe=${PeerAddress.format(addressOf(world))}`

        const fetching = yield* Effect.forkScoped(third.engine.metadata(Result.getOrThrow(Magnet.parse(link))))
        const half = yield* second.download(small, { seed: true, peers: [addressOf(world)], behaviours: [{}] })
        const last = yield* third.download(small, { peers: [addressOf(second)] })
        yield* world.until(() => half.events.some(({ _tag }) => _tag === "PeerConnected"), "10 seconds")
        const [met] = yield* half.torrent.peers
        const isOver = () => half.isComplete() && last.isComplete() && fetching.pollUnsafe() !== undefined
        yield* world.until(isOver, "2 minutes")

        const { metainfo } = yield* Fiber.join(fetching)
        const whys = half.events.flatMap((event) => (event._tag === "PeerUnreachable" ? [event.why] : []))
        assert.deepStrictEqual(metainfo.infoBytes, small.metainfo.infoBytes)
        assert.isTrue(met?.isEncrypted)
        assert.isTrue((yield* second.summary(half)).isRight)
        assert.isTrue((yield* third.summary(last)).isRight)
        assert.match(whys[0] ?? "", /^no handshake|^the handshake names|closed/)
        assert.strictEqual(half.peers[0]!.counters.handshakes, 0)
      })
    ).pipe(Effect.provideService(Encryption, inverting()))
  )
})
