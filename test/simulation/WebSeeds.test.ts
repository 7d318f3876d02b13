import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import { SupplierSources } from "../../src/assembly/SupplierSource.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as Descriptors from "../../src/base/Descriptors.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import type { KnownTorrent } from "../../src/testing/KnownTorrent.ts"
import * as PeerBehaviour from "../../src/testing/PeerBehaviour.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import * as WebSeedSource from "../../src/webseed/WebSeedSource.ts"
import * as WebSeeds from "../../src/webseed/WebSeeds.ts"
import * as Servers from "../webseed/servers.ts"
import { make, other, seed, small } from "./torrents.ts"

const { geometry } = small.metainfo.layout
const everything = geometry.totalLength

/** The torrent with a web seed, or with several. */
const seeded = (known: KnownTorrent, ...webSeeds: ReadonlyArray<string>): KnownTorrent => ({
  ...known,
  metainfo: { ...known.metainfo, webSeeds }
})

const url = "http://seed.example/files/"
const withSeed = seeded(small, url)

/**
 * Runs a program in a world whose engine uses web seeds over these servers, by their hosts, with at most `most`
 * connections. It notes in `clients` how many clients are open then.
 */
const withServers = <A, E, R>(
  servers: Readonly<Record<string, Servers.Server>>,
  program: (world: Swarms.World) => Effect.Effect<A, E, R>,
  {
    clients = { open: 0 },
    most,
    ...options
  }: Parameters<typeof Swarms.use>[0] & { readonly most?: number; readonly clients?: { open: number } } = { seed }
) => {
  const client = HttpClient.make((request, to) => {
    const server = servers[to.hostname]
    return server === undefined ? Effect.die(new Error(`nobody is at ${to.href}`)) : server.client.execute(request)
  })
  const opened = Effect.acquireRelease(
    Effect.sync(() => {
      clients.open++
      return client
    }),
    () => Effect.sync(() => clients.open--)
  )
  const layer =
    most === undefined
      ? Layer.provide(WebSeeds.layer, Layer.succeed(HttpClient.HttpClient, client))
      : Layer.succeed(SupplierSources, [WebSeedSource.make(opened, most)])
  return Swarms.use(options, program).pipe(Effect.provide(layer))
}

/** A server each of whose bytes is wrong. */
const makeLiar = (): Servers.Server =>
  Servers.make(small, (asked, file) =>
    Servers.serveFile(
      file!.map((byte) => byte ^ 1),
      asked
    )
  )

const tagsOf = ({ events }: Swarms.Download) => events.map(({ _tag }) => _tag)

/** Why web seeds failed. */
const failures = ({ events }: Swarms.Download) =>
  events.flatMap((event) => (event._tag === "SupplierFailed" ? [`${event.supplier}: ${event.why}`] : []))

describe("web seeds", () => {
  it.effect("complete a torrent of several files without a peer, and ask for each byte once", () => {
    const server = Servers.make(small)
    return withServers({ "seed.example": server }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(withSeed)

        yield* world.until(download.isComplete, "1 minute")
        const summary = yield* world.summary(download)

        assert.isTrue(summary.isRight)
        assert.strictEqual(summary.status.downloadedBytes, everything)
        assert.strictEqual(server.bytes, everything)
        assert.deepStrictEqual(new Set(summary.writes), new Set([1]))
        assert.include(tagsOf(download), "SupplierJoined")
        assert.strictEqual(summary.status.webSeeds, 0)
      })
    )
  })

  it.effect("send what a peer lacks, and what it has besides", () => {
    const server = Servers.make(small)
    return withServers({ "seed.example": server }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(withSeed, { behaviours: [{ pieces: [0, 1, 2, 3, 4] }] })

        yield* world.until(download.isComplete, "2 minutes")

        assert.isTrue((yield* world.summary(download)).isRight)
        assert.isAbove(server.bytes, everything / 2)
      })
    )
  })

  it.effect("fetch nothing for a torrent that is complete, and join when pieces are wanted again", () => {
    const server = Servers.make(small)
    return withServers({ "seed.example": server }, (world) =>
      Effect.gen(function* () {
        const files = ["normal", "normal", "skip"] as const
        const download = yield* world.download(withSeed, { files })
        yield* world.until(download.isComplete, "1 minute")
        const before = server.bytes
        yield* world.advance("1 minute")
        const idle = server.bytes

        yield* download.torrent.setPriorities(["normal", "normal", "normal"])
        yield* world.advance("1 minute")

        assert.isBelow(before, everything)
        assert.strictEqual(idle, before)
        assert.isTrue((yield* world.summary(download)).isRight)
      })
    )
  })

  it.effect("that serve no ranges send each file once from its first byte", () => {
    const server = Servers.make(small, (asked, file) => Servers.serveWhole(file!, asked))
    return withServers({ "seed.example": server }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(withSeed)

        yield* world.until(download.isComplete, "3 minutes")

        assert.isTrue((yield* world.summary(download)).isRight)
        assert.isAtMost(server.asked.length, 4)
        assert.isAtMost(server.bytes, 2 * everything)
      })
    )
  })

  it.effect("that serve no ranges may take long until they send what is missing", () => {
    const server = Servers.make(large, (asked, file) => ({
      ...Servers.serveWhole(file!, asked),
      bytesPerSecond: 65_536
    }))
    return withServers({ "seed.example": server }, (world) =>
      Effect.gen(function* () {
        const stored = Bitfield.make(large.metainfo.layout.geometry.pieceCount)
        for (let piece = 0; piece < 60; piece++) Bitfield.add(stored, piece)
        const download = yield* world.download(seeded(large, url), { from: { stored, resume: undefined } })

        yield* world.until(download.isComplete, "3 minutes")

        assert.isTrue((yield* world.summary(download)).isRight)
        assert.deepStrictEqual(failures(download), [])
      })
    )
  })

  it.effect("are not asked for padding, nor for files without bytes", () =>
    Effect.gen(function* () {
      const padded = yield* Effect.promise(() =>
        make({
          name: "padded",
          seed: 4,
          pieceLength: 65_536,
          files: [
            { path: ["a"], length: 65_536 + 1_000 },
            { path: [".pad", "1"], length: 64_536, padding: true },
            { path: ["b"], length: 10 },
            { path: [".pad", "2"], length: 3 * 65_536 - 10, padding: true },
            { path: ["empty"], length: 0 },
            { path: ["c"], length: 70_000 }
          ]
        })
      )
      for (const serve of [Servers.serveFile, Servers.serveWhole]) {
        const server = Servers.make(padded, (asked, file) => serve(file!, asked))
        yield* withServers({ "seed.example": server }, (world) =>
          Effect.gen(function* () {
            const download = yield* world.download(seeded(padded, url))

            yield* world.until(download.isComplete, "3 minutes")

            assert.isTrue((yield* world.summary(download)).isRight)
            for (const { url } of server.asked) assert.match(url.pathname, /\/[abc]$/)
          })
        )
      }
    })
  )

  it.effect("of pieces (BEP 17) are asked for one piece at a time", () => {
    const server = Servers.make(small, ({ url }) => {
      const piece = Number(url.searchParams.get("piece")) as PieceIndex
      const [first, last] = url.searchParams.get("ranges")!.split("-").map(Number)
      return { status: 200, headers: {}, body: small.content(piece).subarray(first, last! + 1) }
    })
    const torrent = { ...small, metainfo: { ...small.metainfo, httpSeeds: ["http://seed.example/seed.php?key=1"] } }
    return withServers({ "seed.example": server }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(torrent)

        yield* world.until(download.isComplete, "1 minute")

        assert.isTrue((yield* world.summary(download)).isRight)
        assert.strictEqual(server.asked.length, geometry.pieceCount)
        assert.match(server.asked[0]!.url.search, /^\?key=1&info_hash=(%[0-9A-F]{2}){20}&piece=\d+&ranges=0-\d+$/)
      })
    )
  })

  it.effect("that limit each connection are asked over several, as long as that is faster", () => {
    const server = Servers.make(large, (asked, file) => ({
      ...Servers.serveFile(file!, asked),
      bytesPerSecond: 65_536
    }))
    return withServers({ "seed.example": server }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(seeded(large, url))

        yield* world.until(download.isComplete, "10 minutes")

        assert.isTrue((yield* world.summary(download)).isRight)
        assert.isAbove(server.most, 1)
        assert.isAtMost(server.most, 4)
      })
    )
  })

  it.effect("that refuse a second connection keep the first, and are not set aside", () => {
    const server = Servers.make(large, (asked, file) =>
      asked.others > 0
        ? { status: 503, headers: {}, body: new Uint8Array() }
        : { ...Servers.serveFile(file!, asked), bytesPerSecond: 65_536 }
    )
    return withServers({ "seed.example": server }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(seeded(large, url))

        yield* world.until(download.isComplete, "10 minutes")

        assert.isTrue((yield* world.summary(download)).isRight)
        assert.deepStrictEqual(failures(download), [])
      })
    )
  })

  it.effect("keep to a limit of rate", () => {
    const server = Servers.make(small)
    return withServers({ "seed.example": server }, (world) =>
      Effect.gen(function* () {
        const limits = { downloadBytesPerSecond: 65_536 }
        const download = yield* world.download(withSeed, { limits })

        yield* world.advance("5 seconds")
        const { downloadedBytes } = yield* download.torrent.status
        yield* world.until(download.isComplete, "2 minutes")

        assert.isAtMost(downloadedBytes, 65_536 * 6 + 16_384)
        assert.isTrue((yield* world.summary(download)).isRight)
      })
    )
  })

  it.effect("are not asked again and again because the limit of rate is low", () => {
    const server = Servers.make(small)
    return withServers({ "seed.example": server }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(withSeed, { limits: { downloadBytesPerSecond: 2_000 } })

        yield* world.advance("5 minutes")

        assert.isAbove((yield* download.torrent.status).downloadedBytes, 500_000)
        assert.isAtMost(server.asked.length, 3)
      })
    )
  })

  it.effect("are not used if the user wants none, and those of the user are", () => {
    const server = Servers.make(small)
    const own = Servers.make(small)
    return withServers({ "seed.example": server, "10.0.0.9": own }, (world) =>
      Effect.gen(function* () {
        const without = yield* world.download(withSeed, { webSeeds: false })
        yield* world.advance("10 seconds")
        yield* without.stop
        const download = yield* world.download(small, { webSeeds: ["http://10.0.0.9/any?path"] })
        yield* world.advance("10 seconds")

        assert.deepStrictEqual(server.asked, [])
        assert.match(own.asked[0]?.url.href ?? "", /^http:\/\/10\.0\.0\.9\/any\/known\/(a|b\/c)\.bin\?path$/)
        assert.isDefined(download)
      })
    )
  })
})

const large = await make({ name: "large", seed: 3, pieceLength: 65_536, files: [{ path: [], length: 6_000_000 }] })

describe("a web seed that fails", () => {
  it.effect("fault 85: that sends without end is cut off, and set aside", () => {
    const server = Servers.make(small, (asked, file) => ({ ...Servers.serveFile(file!, asked), isEndless: true }))
    return withServers({ "seed.example": server }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(withSeed, {
          behaviours: [{ ...PeerBehaviour.honest, delay: "2 seconds" }]
        })

        yield* world.until(download.isComplete, "5 minutes")

        assert.isTrue((yield* world.summary(download)).isRight)
        assert.deepStrictEqual(failures(download), [
          "web seed http://seed.example/files/: it sends more than was asked for"
        ])
        assert.isAtMost(server.bytes, everything + 2 * 65_536)
      })
    )
  })

  it.effect("fault 86: that sends nothing, or a few bytes a second, loses its requests to others", () => {
    const silent = Servers.make(small, (asked, file) => ({ ...Servers.serveFile(file!, asked), delay: 86_400_000 }))
    const slow = Servers.make(small, (asked, file) => ({ ...Servers.serveFile(file!, asked), bytesPerSecond: 100 }))
    const torrent = seeded(small, "http://silent.example/", "http://slow.example/")
    return withServers({ "silent.example": silent, "slow.example": slow }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(torrent, { behaviours: [PeerBehaviour.honest] })

        yield* world.until(download.isComplete, "2 minutes")

        assert.isTrue((yield* world.summary(download)).isRight)
        assert.isAtMost(silent.asked.length, 2)
      })
    )
  })

  it.effect("fault 87: that sends wrong bytes is set aside once another source has the piece right", () => {
    const liar = makeLiar()
    return withServers({ "seed.example": liar }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(withSeed, {
          behaviours: [{ ...PeerBehaviour.honest, delay: "1 second" }]
        })

        yield* world.until(download.isComplete, "5 minutes")
        const summary = yield* world.summary(download)

        assert.isTrue(summary.isRight)
        assert.isTrue(failures(download).some((text) => /: it sent wrong bytes for piece \d+$/.test(text)))
        assert.notInclude(tagsOf(download), "PeerBanned")
        assert.isAtMost(liar.bytes, everything)
      })
    )
  })

  it.effect(
    "fault 87: that alone has wrong bytes is asked again and again, ever more rarely, and nothing is stored",
    () => {
      const liar = makeLiar()
      return withServers({ "seed.example": liar }, (world) =>
        Effect.gen(function* () {
          const download = yield* world.download(withSeed)

          yield* world.advance("1 hour")
          const { storedPieces } = yield* download.torrent.status

          assert.strictEqual(storedPieces, 0)
          assert.isAtMost(liar.bytes, 3 * everything)
        })
      )
    }
  )

  it.effect("fault 87: that sends wrong bytes is not asked again sooner because the torrent pauses", () => {
    const liar = makeLiar()
    return withServers({ "seed.example": liar }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(withSeed, {
          behaviours: [{ ...PeerBehaviour.honest, delay: "20 seconds" }]
        })
        yield* world.until(() => failures(download).length > 0, "2 minutes")
        const before = liar.asked.length

        yield* download.torrent.pause
        yield* world.advance("10 seconds")
        yield* download.torrent.resume
        yield* world.advance("1 minute")

        assert.strictEqual(liar.asked.length, before)
        assert.isBelow((yield* download.torrent.status).storedPieces, geometry.pieceCount)
      })
    )
  })

  it.effect("gives its place to another one if nothing is wanted of it", () => {
    const lacking = Servers.make(small, (asked, file) =>
      asked.url.pathname.endsWith("a.bin")
        ? { status: 404, headers: {}, body: new Uint8Array() }
        : Servers.serveFile(file!, asked)
    )
    // It loses its place once, and the others take all places.
    const server = Servers.make(small, (asked, file) =>
      asked.number === 0
        ? { status: 503, headers: { "retry-after": "10" }, body: new Uint8Array() }
        : Servers.serveFile(file!, asked)
    )
    const folders = Array.from({ length: WebSeedSource.mostAtOnce }, (_, index) => `http://lacking.example/${index}/`)
    return withServers({ "lacking.example": lacking, "seed.example": server }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(seeded(small, ...folders, url))

        yield* world.until(download.isComplete, "1 minute")

        assert.isTrue((yield* world.summary(download)).isRight)
        assert.isAtMost(lacking.asked.length, 10 * folders.length)
      })
    )
  })

  it.effect("of several torrents share their connections, and take turns", () => {
    const slow = (known: KnownTorrent) =>
      Servers.make(known, (asked, file) => ({ ...Servers.serveFile(file!, asked), bytesPerSecond: 16_384 }))
    const servers = { "large.example": slow(large), "small.example": slow(small), "other.example": slow(other) }
    const clients = { open: 0 }
    return withServers(
      servers,
      (world) =>
        Effect.gen(function* () {
          const [first, ...others] = [
            yield* world.download(seeded(large, "http://large.example/")),
            yield* world.download(seeded(small, "http://small.example/")),
            yield* world.download(seeded(other, "http://other.example/"))
          ]
          const bytes = () => Object.values(servers).map((server) => server.bytes)
          const usedAtOnce: Array<number> = []
          const openAtOnce: Array<number> = []
          for (let second = 0; second < 600; second++) {
            const before = bytes()
            yield* world.advance("1 second")
            usedAtOnce.push(bytes().filter((count, index) => count > before[index]!).length)
            openAtOnce.push(clients.open)
          }

          // One ends and another begins within a second.
          assert.isAtMost(usedAtOnce.filter((count) => count > 1).length, 20)
          assert.isAtMost(Math.max(...usedAtOnce), 2)
          assert.strictEqual(Math.max(...openAtOnce), 1)
          for (const server of Object.values(servers)) assert.isAbove(server.bytes, 0)
          assert.deepStrictEqual([first!, ...others].flatMap(failures), [])
        }),
      { seed, most: 1, clients }
    )
  })

  it.effect("that limits each connection gets another one soon after a place is free", () => {
    const slow = (known: KnownTorrent, bytesPerSecond: number) =>
      Servers.make(known, (asked, file) => ({ ...Servers.serveFile(file!, asked), bytesPerSecond }))
    const server = slow(large, 8_192)
    const servers = { "seed.example": server, "small.example": slow(small, 4_096) }
    return withServers(
      servers,
      (world) =>
        Effect.gen(function* () {
          yield* world.download(seeded(large, url))
          const blocker = yield* world.download(seeded(small, "http://small.example/"))

          yield* world.until(blocker.isComplete, "10 minutes")
          const before = server.most
          yield* world.advance("20 seconds")

          assert.deepStrictEqual([before, server.most], [1, 2])
        }),
      { seed, most: 2 }
    )
  })

  it.effect("fault 56: gives up a connection for its descriptor, and has it again later", () => {
    const slow = Servers.make(large, (asked, file) => ({ ...Servers.serveFile(file!, asked), bytesPerSecond: 8_192 }))
    const descriptors = Descriptors.make()
    const clients = { open: 0 }
    return withServers(
      { "one.example": slow, "other.example": slow },
      (world) =>
        Effect.gen(function* () {
          const download = yield* world.download(seeded(large, "http://one.example/", "http://other.example/"))
          yield* world.advance("2 seconds")

          const before = clients.open
          for (const holder of [...descriptors.connections]) yield* holder
          yield* world.advance("2 seconds")
          const after = clients.open
          yield* world.advance("1 minute")

          assert.deepStrictEqual([before, after, clients.open], [2, 1, 2])
          assert.deepStrictEqual(failures(download), [])
        }),
      { seed, most: 2, clients }
    ).pipe(Effect.provideService(Descriptors.Descriptors, descriptors))
  })

  it.effect("goes on when the only buffer is returned", () => {
    const server = Servers.make(small)
    return withServers({ "seed.example": server }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(withSeed, { maxActivePieces: 1 })

        yield* world.until(download.isComplete, "10 seconds")

        assert.isTrue((yield* world.summary(download)).isRight)
        assert.isAtMost(server.asked.length, 8)
      })
    )
  })

  it.effect("is not asked over more connections because the storage holds it up", () => {
    const server = Servers.make(large, (asked, file) => ({
      ...Servers.serveFile(file!, asked),
      bytesPerSecond: 65_536
    }))
    return withServers({ "seed.example": server }, (world) =>
      Effect.gen(function* () {
        world.faults.failAll("write", FaultyStorage.diskFull)
        const download = yield* world.download(seeded(large, url), { maxActivePieces: 4 })
        yield* world.advance("2 minutes")
        world.faults.recover()
        const stored = () => download.events.some(({ _tag }) => _tag === "PieceStored")

        yield* world.until(stored, "2 minutes")
        yield* world.advance("3 seconds")

        assert.strictEqual(server.most, 1)
      })
    )
  })

  it.effect("fault 88: that lacked a file is asked for it again later", () => {
    let isThere = false
    const server = Servers.make(small, (asked, file) =>
      isThere || !asked.url.pathname.endsWith("a.bin")
        ? Servers.serveFile(file!, asked)
        : { status: 404, headers: {}, body: new Uint8Array() }
    )
    return withServers({ "seed.example": server }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(withSeed)
        yield* world.advance("10 minutes")
        isThere = true

        yield* world.until(download.isComplete, "1 hour")

        assert.isTrue((yield* world.summary(download)).isRight)
      })
    )
  })

  it.effect("is not found to be slow because it was not needed for a while", () => {
    const server = Servers.make(small, (asked, file) => ({ ...Servers.serveFile(file!, asked), delay: 5_000 }))
    return withServers({ "seed.example": server }, (world) =>
      Effect.gen(function* () {
        world.faults.failAll("write", FaultyStorage.diskFull)
        const download = yield* world.download(withSeed, { maxActivePieces: 1 })
        yield* world.advance("50 seconds")
        world.faults.recover()

        yield* world.until(download.isComplete, "5 minutes")

        assert.isTrue((yield* world.summary(download)).isRight)
        assert.deepStrictEqual(failures(download), [])
      })
    )
  })

  const wrong: ReadonlyArray<readonly [string, (asked: Servers.Asked, file: Uint8Array) => Servers.Answer, RegExp]> = [
    [
      "another range",
      (asked, file) => Servers.serveFile(file, { ...asked, range: [asked.range![0] + 1, asked.range![1]] }),
      /a range that was not asked for/
    ],
    [
      "a range without saying which",
      (asked, file) => ({ ...Servers.serveFile(file, asked), headers: {} }),
      /a range without saying which/
    ],
    [
      "a compressed range",
      (asked, file) => {
        const answer = Servers.serveFile(file, asked)
        return { ...answer, headers: { ...answer.headers, "content-encoding": "gzip" } }
      },
      /it compressed the file: gzip/
    ],
    [
      "a file of another length",
      (asked, file) => {
        const answer = Servers.serveFile(file, asked)
        return {
          ...answer,
          headers: { ...answer.headers, "content-range": `bytes ${asked.range!.join("-")}/12345678` }
        }
      },
      /another length than the torrent says/
    ],
    ["that its file is shorter", () => ({ status: 416, headers: {}, body: new Uint8Array() }), /shorter/],
    ["that it has no such file", () => ({ status: 404, headers: {}, body: new Uint8Array() }), /HTTP status 404/],
    ["an answer of no known kind", () => ({ status: 204, headers: {}, body: new Uint8Array() }), /HTTP status 204/]
  ]
  for (const [what, answer, why] of wrong) {
    it.effect(`fault 88: that answers with ${what} is asked a few times an hour at most`, () => {
      const server = Servers.make(small, (asked, file) => answer(asked, file!))
      return withServers({ "seed.example": server }, (world) =>
        Effect.gen(function* () {
          const download = yield* world.download(withSeed)

          yield* world.advance("50 minutes")
          const { storedPieces } = yield* download.torrent.status

          assert.strictEqual(storedPieces, 0)
          assert.match(failures(download)[0] ?? "", why)
          assert.isAtMost(server.asked.length, 8)
        })
      )
    })
  }

  it.effect("fault 88: that lacks one file of several sends the others", () => {
    const server = Servers.make(small, (asked, file) =>
      asked.url.pathname.endsWith("a.bin")
        ? { status: 404, headers: {}, body: new Uint8Array() }
        : Servers.serveFile(file!, asked)
    )
    return withServers({ "seed.example": server }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(withSeed)

        yield* world.advance("1 minute")
        const { storedPieces } = yield* download.torrent.status

        assert.strictEqual(storedPieces, geometry.pieceCount - Math.ceil(500_000 / 65_536))
      })
    )
  })

  it.effect("fault 89: that is busy is asked again when it says, and that breaks off soon", () => {
    const busy = Servers.make(small, (asked, file) =>
      asked.number < 2
        ? { status: 503, headers: { "retry-after": "120" }, body: new Uint8Array() }
        : Servers.serveFile(file!, asked)
    )
    const breaking = Servers.make(small, (asked, file) => ({ ...Servers.serveFile(file!, asked), breaksAfter: 32_768 }))
    return Effect.gen(function* () {
      yield* withServers({ "seed.example": busy }, (world) =>
        Effect.gen(function* () {
          const download = yield* world.download(withSeed)
          yield* world.advance("110 seconds")
          const early = busy.asked.length
          yield* world.until(download.isComplete, "10 minutes")

          assert.strictEqual(early, 1)
          assert.isTrue((yield* world.summary(download)).isRight)
        })
      )
      yield* withServers({ "seed.example": breaking }, (world) =>
        Effect.gen(function* () {
          const download = yield* world.download(withSeed)
          yield* world.until(download.isComplete, "30 minutes")

          assert.isTrue((yield* world.summary(download)).isRight)
        })
      )
    })
  })

  it.effect("fault 90: that a stranger named or that redirects inward leads to no server here", () => {
    const here = Servers.make(small)
    const outside = Servers.make(small, ({ url }) => ({
      status: 302,
      headers: { location: `http://127.0.0.1${url.pathname}` },
      body: new Uint8Array()
    }))
    const urls = [
      "http://outside.example/",
      "http://127.0.0.1/x?shutdown",
      "http://169.254.169.254/",
      "http://0.0.0.0/"
    ]
    return withServers(
      { "outside.example": outside, "127.0.0.1": here, "169.254.169.254": here, "0.0.0.0": here },
      (world) =>
        Effect.gen(function* () {
          const download = yield* world.download(seeded(small, ...urls))

          yield* world.advance("1 hour")

          assert.deepStrictEqual(here.asked, [])
          assert.strictEqual(outside.asked.length, 1)
          assert.strictEqual(failures(download).length, 4)
        })
    )
  })

  it.effect("fault 90: with a password or a token in its URL shows neither", () => {
    const server = Servers.make(small, (asked, file) =>
      asked.number === 0 ? { status: 500, headers: {}, body: new Uint8Array() } : Servers.serveFile(file!, asked)
    )
    const torrent = seeded(small, "http://user:hunter22@seed.example/f/?token=abcdefgh")
    return withServers({ "seed.example": server }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(torrent)

        yield* world.until(download.isComplete, "1 minute")

        const text = JSON.stringify(download.events)
        assert.include(text, "web seed http://seed.example/f/")
        for (const secret of ["user", "hunter22", "abcdefgh"]) assert.notInclude(text, secret)
        assert.strictEqual(server.asked[1]?.url.search, "?token=abcdefgh")
        const { authorization } = server.asked[1]!.headers
        assert.strictEqual(authorization, `Basic ${btoa("user:hunter22")}`)
      })
    )
  })
})
